package export

import (
	"slices"
	"strconv"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

// column is one column of a view of T, for people.
type column[T any] struct {
	head     string
	text     bool // left-aligned; a number otherwise
	optional bool // left out where it does not fit; no column that must stay comes after it
	cell     func(*T) string
}

func text[T any](head string, cell func(*T) string) column[T] {
	return column[T]{head: head, text: true, cell: cell}
}

func number[T any](head string, cell func(*T) string) column[T] {
	return column[T]{head: head, cell: cell}
}

// identity is the columns that say which row it is: those before its measures, and those behind them.
type identity struct{ before, behind []column[view.Row] }

// columnsOf are the columns that fit a terminal, or all there are.
func (l *layout) columnsOf(s *model.Window, wide bool) []column[view.Row] {
	id := l.identity(s, wide)
	if wide {
		return slices.Concat(id.before, l.wideMeasures(s), id.behind)
	}
	return slices.Concat(id.before, l.fewMeasures(s), id.behind)
}

func flowIdentity(s *model.Window, wide bool) identity {
	endpoint, state := human.End, shortState
	if wide {
		endpoint, state = fullEndpoint, human.OrDash
	}
	columns := []column[view.Row]{
		text("CLIENT", func(f *view.Row) string { return endpoint(&f.Client) }),
		text("SERVER", func(f *view.Row) string { return endpoint(&f.Server) }),
		text("PROTO", func(f *view.Row) string { return f.Proto.String() }),
		text("STATE", func(f *view.Row) string { return state(f.Flow.State) }),
	}
	if !wide {
		return identity{before: columns}
	}
	return identity{
		append(columns, text("ROLE", func(f *view.Row) string { return human.OrDash(string(f.Flow.RoleSource)) })),
		[]column[view.Row]{
			number("FIRST", func(f *view.Row) string { return human.Age(f.Flow.FirstSeen, s.End) }),
			number("LAST", func(f *view.Row) string { return human.Age(f.Flow.LastSeen, s.End) }),
		},
	}
}

// serviceIdentity has the process in the name, so only wide repeats it.
func serviceIdentity(_ *model.Window, wide bool) identity {
	endpoint := human.ShortAddress
	if wide {
		endpoint = fullEndpoint
	}
	return identity{before: []column[view.Row]{
		text("SERVICE", rowName),
		text("SERVER", func(v *view.Row) string { return endpoint(&v.Server) }),
		text("PROTO", func(v *view.Row) string { return v.Proto.String() }),
	}}
}

func pairIdentity(_ *model.Window, wide bool) identity {
	columns := []column[view.Row]{
		text("CLIENT", pairClient),
		text("SERVICE", func(p *view.Row) string { return human.Plain(p.ServiceName) }),
	}
	proto := text("PROTO", func(p *view.Row) string { return p.Proto.String() })
	if !wide {
		return identity{before: append(columns, proto)}
	}
	return identity{
		append(columns, text("SERVER", func(p *view.Row) string { return fullEndpoint(&p.Server) }), proto),
		[]column[view.Row]{
			text("→ UNIT", func(p *view.Row) string { return ofOwner(p.Client.Owner, unit) }),
			text("→ CONTAINER", func(p *view.Row) string { return ofOwner(p.Client.Owner, human.Container) }),
			text("← UNIT", func(p *view.Row) string { return ofOwner(p.Server.Owner, unit) }),
			text("← CONTAINER", func(p *view.Row) string { return ofOwner(p.Server.Owner, human.Container) }),
		},
	}
}

// pairClient names the process with its PID: by name alone, two clients would be two equal rows.
func pairClient(p *view.Row) string {
	if p.Client.Owner == nil {
		return human.Plain(p.ClientName)
	}
	return human.Process(p.Client.Owner)
}

func processIdentity(_ *model.Window, wide bool) identity {
	columns := []column[view.Row]{
		text("PROCESS", rowName),
		number("PID", func(u *view.Row) string { return ofOwner(u.Owner, pid) }),
	}
	if !wide {
		return identity{before: columns}
	}
	return identity{
		append(columns, number("UID", func(u *view.Row) string { return ofOwner(u.Owner, uid) })),
		[]column[view.Row]{
			text("CGROUP", func(u *view.Row) string { return ofOwner(u.Owner, cgroup) }),
			text("UNIT", func(u *view.Row) string { return ofOwner(u.Owner, unit) }),
			text("CONTAINER", func(u *view.Row) string { return ofOwner(u.Owner, human.Container) }),
			text("EXE", func(u *view.Row) string { return ofOwner(u.Owner, exe) }),
			text("CMDLINE", func(u *view.Row) string { return ofOwner(u.Owner, cmdline) }),
		},
	}
}

func cgroupIdentity(*model.Window, bool) identity {
	return identity{before: []column[view.Row]{
		text("CGROUP", rowName),
		text("UNIT", func(u *view.Row) string { return ofOwner(u.Owner, unit) }),
		text("CONTAINER", func(u *view.Row) string { return ofOwner(u.Owner, human.Container) }),
	}}
}

func rowName(r *view.Row) string { return human.Plain(r.Name) }

// shortState is the word ss prints in its own table, where it differs from that of its filters.
func shortState(state string) string {
	if state == "established" {
		return "estab"
	}
	return human.OrDash(state)
}

func unlessZero[T comparable](v T, format func(T) string) string {
	var zero T
	if v == zero {
		return "-"
	}
	return format(v)
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// fullEndpoint is the address and, where it is known, the process.
func fullEndpoint(e *model.Endpoint) string {
	if human.Nameless(e.Owner) {
		return human.Address(e)
	}
	return human.Address(e) + " " + human.Process(e.Owner)
}
