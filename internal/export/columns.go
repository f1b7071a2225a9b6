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

// flowColumns are the columns of --by flow: those that fit a terminal, or all there are.
func flowColumns(s *model.Window, wide bool) []column[view.Row] {
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
	toServer := directionColumns("→ ", s, wide, func(f *view.Row) *model.Counters { return &f.ToServer })
	toClient := directionColumns("← ", s, wide, func(f *view.Row) *model.Counters { return &f.ToClient })
	signs := signColumns(s, wide, func(f *view.Row) (turn, response *model.Latency) { return &f.Turn, &f.Response },
		func(f *view.Row) *model.Tally { return &f.Tally })
	if !wide {
		return slices.Concat(columns, toServer, toClient, signs)
	}
	columns = append(columns, text("ROLE", func(f *view.Row) string { return human.OrDash(string(f.Flow.RoleSource)) }))
	columns = append(columns, toServer...)
	columns = append(columns,
		number("→ SRTT", func(f *view.Row) string { return unlessZero(f.Flow.ClientSRTT, human.Span) }),
		number("→ CWND", func(f *view.Row) string { return unlessZero(f.Flow.ClientCwnd, decimal) }))
	columns = append(columns, toClient...)
	columns = append(columns,
		number("← SRTT", func(f *view.Row) string { return unlessZero(f.Flow.ServerSRTT, human.Span) }),
		number("← CWND", func(f *view.Row) string { return unlessZero(f.Flow.ServerCwnd, decimal) }))
	columns = append(columns, signs...)
	return append(columns,
		number("CONNECT", func(f *view.Row) string { return unlessZero(f.Flow.Handshake, human.Latency) }),
		number("CROSSED", func(f *view.Row) string { return human.Amount(f.Crossed) }),
		number("FIRST", func(f *view.Row) string { return human.Age(f.Flow.FirstSeen, s.End) }),
		number("LAST", func(f *view.Row) string { return human.Age(f.Flow.LastSeen, s.End) }))
}

// serviceColumns are the columns of --by service. The name tells the process already, so only wide
// repeats it.
func serviceColumns(s *model.Window, wide bool) []column[view.Row] {
	endpoint := human.ShortAddress
	if wide {
		endpoint = fullEndpoint
	}
	columns := []column[view.Row]{
		text("SERVICE", func(v *view.Row) string { return human.Plain(v.Name) }),
		text("SERVER", func(v *view.Row) string { return endpoint(&v.Server) }),
		text("PROTO", func(v *view.Row) string { return v.Proto.String() }),
		number("FLOWS", func(v *view.Row) string { return human.Commas(uint64(v.Flows)) }),
		number("CLIENTS", func(v *view.Row) string { return human.Commas(uint64(v.Clients)) }),
	}
	columns = slices.Concat(columns,
		directionColumns("→ ", s, wide, func(v *view.Row) *model.Counters { return &v.ToServer }),
		directionColumns("← ", s, wide, func(v *view.Row) *model.Counters { return &v.ToClient }),
		signColumns(s, wide, func(v *view.Row) (turn, response *model.Latency) { return &v.Turn, &v.Response },
			func(v *view.Row) *model.Tally { return &v.Tally }))
	if !wide {
		return columns
	}
	return append(columns,
		latencyColumn("CONNECT", func(v *view.Row) *model.Latency { return &v.Connect }, quantile(0.50)),
		number("ACCEPTQ", func(v *view.Row) string { return acceptQueueText(v.AcceptQueue) }))
}

// pairColumns are the columns of --by pair.
func pairColumns(s *model.Window, wide bool) []column[view.Row] {
	columns := []column[view.Row]{
		text("CLIENT", pairClient),
		text("SERVICE", func(p *view.Row) string { return human.Plain(p.ServiceName) }),
	}
	if wide {
		columns = append(columns, text("SERVER", func(p *view.Row) string { return fullEndpoint(&p.Server) }))
	}
	columns = append(columns,
		text("PROTO", func(p *view.Row) string { return p.Proto.String() }),
		number("FLOWS", func(p *view.Row) string { return human.Commas(uint64(p.Flows)) }))
	columns = slices.Concat(columns,
		directionColumns("→ ", s, wide, func(p *view.Row) *model.Counters { return &p.ToServer }),
		directionColumns("← ", s, wide, func(p *view.Row) *model.Counters { return &p.ToClient }),
		signColumns(s, wide, func(p *view.Row) (turn, response *model.Latency) { return &p.Turn, &p.Response },
			func(p *view.Row) *model.Tally { return &p.Tally }))
	if !wide {
		return columns
	}
	return append(columns,
		latencyColumn("CONNECT", func(p *view.Row) *model.Latency { return &p.Connect }, quantile(0.50)),
		text("→ UNIT", func(p *view.Row) string { return ofOwner(p.Client.Owner, unit) }),
		text("→ CONTAINER", func(p *view.Row) string { return ofOwner(p.Client.Owner, human.Container) }),
		text("← UNIT", func(p *view.Row) string { return ofOwner(p.Server.Owner, unit) }),
		text("← CONTAINER", func(p *view.Row) string { return ofOwner(p.Server.Owner, human.Container) }))
}

// pairClient names the process with its PID: by name alone, two clients would be two equal rows.
func pairClient(p *view.Row) string {
	if p.Client.Owner == nil {
		return human.Plain(p.ClientName)
	}
	return human.Process(p.Client.Owner)
}

// processColumns are the columns of --by process.
func processColumns(s *model.Window, wide bool) []column[view.Row] {
	columns := []column[view.Row]{
		text("PROCESS", usageName),
		number("PID", func(u *view.Row) string { return ofOwner(u.Owner, pid) }),
	}
	if wide {
		columns = append(columns, number("UID", func(u *view.Row) string { return ofOwner(u.Owner, uid) }))
	}
	columns = append(columns, usageColumns(s, wide)...)
	if !wide {
		return columns
	}
	return append(columns,
		text("CGROUP", func(u *view.Row) string { return ofOwner(u.Owner, cgroup) }),
		text("UNIT", func(u *view.Row) string { return ofOwner(u.Owner, unit) }),
		text("CONTAINER", func(u *view.Row) string { return ofOwner(u.Owner, human.Container) }),
		text("EXE", func(u *view.Row) string { return ofOwner(u.Owner, exe) }),
		text("CMDLINE", func(u *view.Row) string { return ofOwner(u.Owner, cmdline) }))
}

// cgroupColumns are the columns of --by cgroup.
func cgroupColumns(s *model.Window, wide bool) []column[view.Row] {
	return append([]column[view.Row]{
		text("CGROUP", usageName),
		text("UNIT", func(u *view.Row) string { return ofOwner(u.Owner, unit) }),
		text("CONTAINER", func(u *view.Row) string { return ofOwner(u.Owner, human.Container) }),
	}, usageColumns(s, wide)...)
}

func usageName(u *view.Row) string { return human.Plain(u.Name) }

// usageColumns are what processes and cgroups have in common.
func usageColumns(s *model.Window, wide bool) []column[view.Row] {
	return slices.Concat(
		[]column[view.Row]{number("FLOWS", func(u *view.Row) string { return human.Commas(uint64(u.Flows)) })},
		directionColumns("→ ", s, wide, func(u *view.Row) *model.Counters { return &u.ToServer }),
		directionColumns("← ", s, wide, func(u *view.Row) *model.Counters { return &u.ToClient }),
		signColumns(s, wide, func(u *view.Row) (turn, response *model.Latency) { return &u.Turn, &u.Response },
			func(u *view.Row) *model.Tally { return &u.Tally }))
}

// directionColumns are the counters of one direction, their heads behind its arrow.
func directionColumns[T any](arrow string, s *model.Window, wide bool, of func(*T) *model.Counters) []column[T] {
	columns := []column[T]{
		number(arrow+"PACKETS", func(row *T) string { return human.Amount(of(row).Packets) }),
		number(arrow+"BYTES", func(row *T) string { return human.Size(of(row).Bytes) }),
	}
	if !wide {
		return columns
	}
	return append(columns,
		number(arrow+"PACKETS/S", func(row *T) string { return human.Rate(of(row).Packets, s.Duration, human.Amount) }),
		number(arrow+"BYTES/S", func(row *T) string { return human.Rate(of(row).Bytes, s.Duration, human.Size) }),
		number(arrow+"SKBS", func(row *T) string { return human.Amount(of(row).SKBs) }),
		number(arrow+"PAYLOAD", func(row *T) string { return human.Size(of(row).PayloadBytes) }),
		number(arrow+"RETRANS", func(row *T) string { return human.Amount(of(row).Retransmits) }))
}

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
