package tui

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/view"
)

// column is one column of the table, and one thing that rows are sorted by.
type column struct {
	field   string // as Options.Sort has it
	measure string // whose head it has
	head    string // "" : it is no column, rows are only sorted by it
	width   int    // of a number; texts share what is left
	drop    int    // which goes first where there is no room: the largest; 0: none does
	text    bool   // left-aligned, and sorted in its order; numbers begin with the largest

	cell     func(m *Model, n *node) string
	compare  func(m *Model, a, b *node) int
	quantile float64 // compare is about that one, of turns
	ranked   bool    // compare is about what rank notes
	style    style
}

// columns is in the order of the screen. What usages call differently is in headOf.
var columns = withHeads([]*column{
	{field: "bytes", compare: byNumber(func(n *node) float64 { return perSecond(n.shown.toServer+n.shown.toClient, n) })},
	{field: "client", head: "CLIENT", text: true, cell: (*Model).clientCell, compare: byLabel},
	{field: "server", head: "SERVER", text: true, cell: (*Model).serverCell, compare: byLabel},
	{field: "proto", head: "PROTO", width: 5, drop: 9, text: true, cell: protoCell, compare: byLabel},
	{field: "sent", measure: "to_server.bytes_per_s", width: 7, style: toServer,
		cell:    func(_ *Model, n *node) string { return rateCell(n.shown.toServer, n, human.Size) },
		compare: byNumber(func(n *node) float64 { return perSecond(n.shown.toServer, n) })},
	{field: "received", measure: "to_client.bytes_per_s", width: 7, drop: 1, style: toClient,
		cell:    func(_ *Model, n *node) string { return rateCell(n.shown.toClient, n, human.Size) },
		compare: byNumber(func(n *node) float64 { return perSecond(n.shown.toClient, n) })},
	{field: "turns", measure: "turn.count_per_s", width: 6, drop: 4,
		cell: func(_ *Model, n *node) string {
			if v := perSecond(n.shown.turns, n); 0 < v && v < 99.95 {
				return strconv.FormatFloat(v, 'f', 1, 64)
			}
			return rateCell(n.shown.turns, n, human.Short)
		},
		compare: byNumber(func(n *node) float64 { return perSecond(n.shown.turns, n) })},
	{field: "p50", measure: "turn.p50_ns", width: 7, drop: 5, quantile: .5, cell: quantileCell(.5), compare: byQuantile},
	{field: "p99", measure: "turn.p99_ns", width: 7, drop: 3, quantile: .99, cell: quantileCell(.99), compare: byQuantile},
	{field: "errors", measure: "errors", width: 5, drop: 2, style: alarm,
		cell:    func(_ *Model, n *node) string { return countCell(n.shown.errors) },
		compare: byNumber(func(n *node) float64 { return float64(n.shown.errors) })},
	{field: "flows", measure: "flows", width: 5, drop: 6,
		cell:    func(m *Model, n *node) string { return countCell(uint64(n.connections(m))) },
		compare: func(m *Model, a, b *node) int { return cmp.Compare(a.connections(m), b.connections(m)) }},
})

// withHeads gives columns the heads of their measures.
func withHeads(columns []*column) []*column {
	for _, c := range columns {
		if m := view.MeasureNamed(c.measure); m != nil {
			c.head = cmp.Or(m.Live, m.Head)
		}
	}
	return columns
}

// The last column draws the newest frames, as many as there is room for; it is the first to go.
const (
	leastSpark = 8
	sparkDrop  = 8
)

func byNumber(of func(*node) float64) func(*Model, *node, *node) int {
	return func(_ *Model, a, b *node) int { return cmp.Compare(of(a), of(b)) }
}

func byLabel(_ *Model, a, b *node) int { return strings.Compare(a.label, b.label) }

func byQuantile(_ *Model, a, b *node) int { return cmp.Compare(a.quantile, b.quantile) }

func perSecond(count uint64, n *node) float64 {
	if n.truly <= 0 {
		return 0
	}
	return float64(count) / n.truly.Seconds()
}

// rateCell is calm where nothing happens.
func rateCell(count uint64, n *node, format func(uint64) string) string {
	if count == 0 {
		return "-"
	}
	return human.Rate(count, n.truly, format)
}

func countCell(n uint64) string {
	if n == 0 {
		return "-"
	}
	return human.Short(n)
}

func quantileCell(q float64) func(*Model, *node) string {
	return func(m *Model, n *node) string {
		if n.shown.turns == 0 {
			return "-"
		}
		n.past.latency(m.clock.frame, n.frames, &m.scratch)
		return human.Latency(m.scratch.Quantile(q))
	}
}

func protoCell(_ *Model, n *node) string {
	if n.position.IsRest() || n.kind == kindProcess || n.kind == kindCgroup {
		return ""
	}
	return n.proto.String()
}

// connections is how many flows the node had in the newest frame.
func (n *node) connections(m *Model) int {
	switch {
	case n.pass != m.pass:
		return 0
	case n.kind == kindFlow:
		return 1
	}
	return n.row.Flows
}

// clientCell names a row's first column: who asks, or whatever the row stands for.
func (m *Model) clientCell(n *node) string {
	switch n.kind {
	case kindService:
		return human.Counted(uint64(len(n.kids)), "client")
	case kindPair, kindProcess:
		switch {
		case n.position.IsRest():
			return "others"
		case n.client.Owner == nil && n.kind == kindPair && n.client.Addr.IsValid():
			return n.client.Addr.String()
		}
		return human.Process(n.client.Owner)
	case kindCgroup:
		switch {
		case n.position.IsRest():
			return "others"
		case n.client.Owner == nil || n.client.Owner.Cgroup == "":
			return "?"
		}
		return human.Plain(n.client.Owner.Cgroup)
	default:
		if m.group != groupFlow {
			return human.ShortAddress(&n.client)
		}
		return human.End(&n.client)
	}
}

// serverCell names the service, or says more of a usage.
func (m *Model) serverCell(n *node) string {
	switch n.kind {
	case kindFlow:
		return m.flowServer(n)
	case kindProcess, kindCgroup:
		return usageDetail(n)
	default:
		return serviceName(n)
	}
}

func serviceName(n *node) string {
	if n.position.IsRest() {
		return "others"
	}
	server := n.server
	if p := n.parent; p != nil && server.Owner == nil {
		server.Owner = p.server.Owner // one that has not accepted yet is known by its others
	}
	name := human.Plain(view.ServiceName(n.proto, &server))
	if !n.proto.HasPorts() || name == human.Address(&n.server) {
		return name
	}
	return name + " " + human.ShortAddress(&n.server)
}

// noBreak keeps words together that a name in front of them gives way to.
const noBreak = "\u00a0"

func (m *Model) flowServer(n *node) string {
	where := human.End(&n.server)
	if m.group != groupFlow {
		where = human.ShortAddress(&n.server)
	}
	switch {
	case n.flow.Closed:
		return where + " closed" + noBreak + n.closedFor(m.newest.End)
	case n.flow.State != "" && n.flow.State != "established":
		return where + " " + n.flow.State
	}
	return where
}

// usageDetail is the command line of a process, and the unit or container of a cgroup.
func usageDetail(n *node) string {
	o := n.client.Owner
	switch {
	case o == nil || n.position.IsRest():
		return ""
	case n.kind == kindProcess:
		return human.Plain(cmp.Or(o.Cmdline, o.Exe))
	}
	return human.Plain(cmp.Or(o.Unit, human.Container(o)))
}

// headOf is what the column is called in this grouping.
func (m *Model) headOf(c *column) string {
	if !m.group.isUsage() {
		return c.head
	}
	switch {
	case c.field == "client" && m.group == groupProcess:
		return "PROCESS"
	case c.field == "client":
		return "CGROUP"
	case c.field == "server" && m.group == groupProcess:
		return "COMMAND"
	case c.field == "server":
		return "UNIT"
	}
	return c.head
}
