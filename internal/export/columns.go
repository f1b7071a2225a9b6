package export

import (
	"slices"
	"strconv"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
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
func flowColumns(s *model.Window, wide bool) []column[model.Flow] {
	endpoint, state := human.End, shortState
	if wide {
		endpoint, state = fullEndpoint, human.OrDash
	}
	columns := []column[model.Flow]{
		text("CLIENT", func(f *model.Flow) string { return endpoint(&f.Client) }),
		text("SERVER", func(f *model.Flow) string { return endpoint(&f.Server) }),
		text("PROTO", func(f *model.Flow) string { return f.Proto.String() }),
		text("STATE", func(f *model.Flow) string { return state(f.State) }),
	}
	toServer := directionColumns("→ ", s, wide, func(f *model.Flow) *model.Counters { return &f.ToServer })
	toClient := directionColumns("← ", s, wide, func(f *model.Flow) *model.Counters { return &f.ToClient })
	signs := signColumns(s, wide, func(f *model.Flow) (turn, response *model.Latency) { return &f.Turn, &f.Response }, flowSigns)
	if !wide {
		return slices.Concat(columns, toServer, toClient, signs)
	}
	columns = append(columns, text("ROLE", func(f *model.Flow) string { return human.OrDash(string(f.RoleSource)) }))
	columns = append(columns, toServer...)
	columns = append(columns,
		number("→ SRTT", func(f *model.Flow) string { return unlessZero(f.ClientSRTT, human.Span) }),
		number("→ CWND", func(f *model.Flow) string { return unlessZero(f.ClientCwnd, decimal) }))
	columns = append(columns, toClient...)
	columns = append(columns,
		number("← SRTT", func(f *model.Flow) string { return unlessZero(f.ServerSRTT, human.Span) }),
		number("← CWND", func(f *model.Flow) string { return unlessZero(f.ServerCwnd, decimal) }))
	columns = append(columns, signs...)
	return append(columns,
		number("CONNECT", func(f *model.Flow) string { return unlessZero(f.Handshake, human.Latency) }),
		number("CROSSED", func(f *model.Flow) string { return human.Amount(f.Crossed) }),
		number("FIRST", func(f *model.Flow) string { return human.Age(f.FirstSeen, s.End) }),
		number("LAST", func(f *model.Flow) string { return human.Age(f.LastSeen, s.End) }))
}

// serviceColumns are the columns of --by service. The name tells the process already, so only wide
// repeats it.
func serviceColumns(s *model.Window, wide bool) []column[model.Service] {
	endpoint := human.ShortAddress
	if wide {
		endpoint = fullEndpoint
	}
	columns := []column[model.Service]{
		text("SERVICE", func(v *model.Service) string { return human.Plain(v.Name) }),
		text("SERVER", func(v *model.Service) string { return endpoint(&v.Server) }),
		text("PROTO", func(v *model.Service) string { return v.Proto.String() }),
		number("FLOWS", func(v *model.Service) string { return human.Commas(uint64(v.Flows)) }),
		number("CLIENTS", func(v *model.Service) string { return human.Commas(uint64(v.Clients)) }),
	}
	columns = slices.Concat(columns,
		directionColumns("→ ", s, wide, func(v *model.Service) *model.Counters { return &v.ToServer }),
		directionColumns("← ", s, wide, func(v *model.Service) *model.Counters { return &v.ToClient }),
		signColumns(s, wide, func(v *model.Service) (turn, response *model.Latency) { return &v.Turn, &v.Response },
			func(v *model.Service) *model.Tally { return &v.Tally }))
	if !wide {
		return columns
	}
	return append(columns,
		latencyColumn("CONNECT", func(v *model.Service) *model.Latency { return &v.Connect }, quantile(0.50)),
		number("ACCEPTQ", func(v *model.Service) string { return acceptQueueText(v.AcceptQueue) }))
}

// pairColumns are the columns of --by pair.
func pairColumns(s *model.Window, wide bool) []column[model.Pair] {
	columns := []column[model.Pair]{
		text("CLIENT", pairClient),
		text("SERVICE", func(p *model.Pair) string { return human.Plain(p.ServiceName) }),
	}
	if wide {
		columns = append(columns, text("SERVER", func(p *model.Pair) string { return fullEndpoint(&p.Server) }))
	}
	columns = append(columns,
		text("PROTO", func(p *model.Pair) string { return p.Proto.String() }),
		number("FLOWS", func(p *model.Pair) string { return human.Commas(uint64(p.Flows)) }))
	columns = slices.Concat(columns,
		directionColumns("→ ", s, wide, func(p *model.Pair) *model.Counters { return &p.ToServer }),
		directionColumns("← ", s, wide, func(p *model.Pair) *model.Counters { return &p.ToClient }),
		signColumns(s, wide, func(p *model.Pair) (turn, response *model.Latency) { return &p.Turn, &p.Response },
			func(p *model.Pair) *model.Tally { return &p.Tally }))
	if !wide {
		return columns
	}
	return append(columns,
		latencyColumn("CONNECT", func(p *model.Pair) *model.Latency { return &p.Connect }, quantile(0.50)),
		text("→ UNIT", func(p *model.Pair) string { return ofOwner(p.Client, unit) }),
		text("→ CONTAINER", func(p *model.Pair) string { return ofOwner(p.Client, human.Container) }),
		text("← UNIT", func(p *model.Pair) string { return ofOwner(p.Server.Owner, unit) }),
		text("← CONTAINER", func(p *model.Pair) string { return ofOwner(p.Server.Owner, human.Container) }))
}

// pairClient names the process with its PID: by name alone, two clients would be two equal rows.
func pairClient(p *model.Pair) string {
	if p.Client == nil {
		return human.Plain(p.ClientName)
	}
	return human.Process(p.Client)
}

// processColumns are the columns of --by process.
func processColumns(s *model.Window, wide bool) []column[model.Usage] {
	columns := []column[model.Usage]{
		text("PROCESS", usageName),
		number("PID", func(u *model.Usage) string { return ofOwner(u.Owner, pid) }),
	}
	if wide {
		columns = append(columns, number("UID", func(u *model.Usage) string { return ofOwner(u.Owner, uid) }))
	}
	columns = append(columns, usageColumns(s, wide)...)
	if !wide {
		return columns
	}
	return append(columns,
		text("CGROUP", func(u *model.Usage) string { return ofOwner(u.Owner, cgroup) }),
		text("UNIT", func(u *model.Usage) string { return ofOwner(u.Owner, unit) }),
		text("CONTAINER", func(u *model.Usage) string { return ofOwner(u.Owner, human.Container) }),
		text("EXE", func(u *model.Usage) string { return ofOwner(u.Owner, exe) }),
		text("CMDLINE", func(u *model.Usage) string { return ofOwner(u.Owner, cmdline) }))
}

// cgroupColumns are the columns of --by cgroup.
func cgroupColumns(s *model.Window, wide bool) []column[model.Usage] {
	return append([]column[model.Usage]{
		text("CGROUP", usageName),
		text("UNIT", func(u *model.Usage) string { return ofOwner(u.Owner, unit) }),
		text("CONTAINER", func(u *model.Usage) string { return ofOwner(u.Owner, human.Container) }),
	}, usageColumns(s, wide)...)
}

func usageName(u *model.Usage) string { return human.Plain(u.Name) }

// usageColumns are what processes and cgroups have in common.
func usageColumns(s *model.Window, wide bool) []column[model.Usage] {
	return slices.Concat(
		[]column[model.Usage]{number("FLOWS", func(u *model.Usage) string { return human.Commas(uint64(u.Flows)) })},
		directionColumns("→ ", s, wide, func(u *model.Usage) *model.Counters { return &u.ToServer }),
		directionColumns("← ", s, wide, func(u *model.Usage) *model.Counters { return &u.ToClient }),
		signColumns(s, wide, func(u *model.Usage) (turn, response *model.Latency) { return &u.Turn, &u.Response },
			func(u *model.Usage) *model.Tally { return &u.Tally }))
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
