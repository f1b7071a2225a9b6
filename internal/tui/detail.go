package tui

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// detail is all there is to say about the row that the cursor is on.
func (m *Model) detail() []string {
	n := m.cursor
	if n == nil {
		return []string{"", "  the row has gone"}
	}
	parts := m.inspect(n)
	lines := []string{"", m.paint(strong, m.titleOf(n))}
	lines = append(lines, m.health(n, parts)...)
	lines = append(lines, "")
	lines = append(lines, m.ends(n)...)
	lines = append(lines, "")
	lines = append(lines, m.rates(n)...)
	lines = append(lines, m.latencies(n, parts)...)
	return append(lines, m.slowTurns(n)...)
}

// parts is what a node's flows did in the newest frame.
type parts struct {
	model.Tally
	queue *model.AcceptQueue
}

func (m *Model) inspect(n *node) *parts {
	switch {
	case m.newest.Window == nil || n.pass != m.pass:
		return &parts{}
	case n.kind == kindFlow:
		f := m.flows.At(n.place).Clone()
		return &parts{f.Tally, f.AcceptQueue}
	}
	return &parts{n.row.Tally, n.row.AcceptQueue}
}

func (m *Model) titleOf(n *node) string {
	title := m.clientCell(n)
	switch n.kind {
	case kindFlow:
		title = human.End(&n.client) + " → " + human.End(&n.server)
	case kindService, kindPair:
		title += " → " + m.serverCell(n)
	default:
	}
	pieces := []string{title, protoCell(m, n)}
	if n.kind == kindFlow {
		pieces = append(pieces, n.flow.State)
	} else {
		pieces = append(pieces, human.Counted(uint64(n.connections(m)), "flow"))
	}
	if n.pass != m.pass {
		pieces = append(pieces, "silent")
	}
	return m.list(pieces, m.width)
}

// ends puts both ends side by side.
func (m *Model) ends(n *node) []string {
	var client, server []string
	heads := [2]string{"CLIENT", "SERVER"}
	switch n.kind {
	case kindProcess, kindCgroup:
		client, heads = ownerFields(n.client.Owner), [2]string{strings.ToUpper(m.group.String()), ""}
		server = make([]string, len(client))
	case kindService:
		client, server = make([]string, len(ownerLabels)), ownerFields(n.server.Owner)
		client[0] = m.clientCell(n)
	default:
		client, server = ownerFields(n.client.Owner), ownerFields(n.server.Owner)
	}
	const label = 13
	half := (m.width - label - 2) / 2
	put := func(name, a, b string) string {
		return "  " + m.paint(faint, fit(name, label-2)) + fit(a, half) + "  " + fit(b, half)
	}
	lines := []string{strings.Repeat(" ", label) + m.paint(strong, fit(heads[0], half)) + "  " + m.paint(strong, heads[1])}
	for i, name := range ownerLabels {
		if client[i] != "" && client[i] != "-" || server[i] != "" && server[i] != "-" {
			lines = append(lines, put(name, client[i], server[i]))
		}
	}
	if f := m.oneFlow(n); f != nil {
		a, b := socketFields(f)
		for i, name := range socketLabels {
			lines = append(lines, put(name, a[i], b[i]))
		}
	}
	return lines
}

// oneFlow is the node's flow, if it has one only.
func (m *Model) oneFlow(n *node) *model.Flow {
	switch {
	case n.kind == kindFlow:
		return n.flow
	case n.pass == m.pass && n.kind == kindPair && n.row.Flows == 1:
		for i := range m.flows.Len() {
			if at := m.rolls[kindPair].Of(i); at >= 0 && m.rolls[kindPair].At(int(at)) == n.row {
				return m.flows.At(i)
			}
		}
	}
	return nil
}

var (
	ownerLabels  = []string{"process", "command", "executable", "user", "cgroup", "unit", "container"}
	socketLabels = []string{"address", "state", "sent", "queues", "srtt, cwnd", "sent again"}
)

func ownerFields(o *model.Owner) []string {
	if o == nil {
		return []string{"unknown", "", "", "", "", "", ""}
	}
	user := ""
	if o.UID != model.NoUID {
		user = strconv.FormatUint(uint64(o.UID), 10)
	}
	container := human.Container(o)
	if o.ContainerName != "" && o.Container != "" {
		container += " " + o.Container[:min(12, len(o.Container))]
	}
	fields := []string{human.Process(o), o.Cmdline, o.Exe, user, o.Cgroup, o.Unit, container}
	for i, f := range fields[1:] {
		fields[i+1] = human.OrDash(human.Plain(f))
	}
	return fields
}

func socketFields(f *model.Flow) (client, server []string) {
	health := f.Health
	if health == nil {
		health = &model.Health{}
	}
	client = socketOf(&f.Client, &f.ToServer, &health.Client, f.ClientSRTT, f.ClientCwnd)
	server = socketOf(&f.Server, &f.ToClient, &health.Server, f.ServerSRTT, f.ServerCwnd)
	client[1], server[1] = human.OrDash(f.State), ""
	return client, server
}

func socketOf(e *model.Endpoint, sent *model.Counters, h *model.EndHealth, srtt time.Duration, cwnd uint32) []string {
	path, again := "-", "-"
	if srtt > 0 || cwnd > 0 {
		path = fmt.Sprintf("%s, %d segments", human.Latency(srtt), cwnd)
	}
	if sent.Retransmits > 0 {
		again = human.Counted(sent.Retransmits, "segment") + ", " + human.Size(sent.RetransBytes)
	}
	return []string{
		human.Address(e), "",
		human.Counted(sent.Packets, "packet") + ", " + human.Size(sent.Bytes),
		human.Size(h.ReceiveQueue) + " unread, " + human.Size(h.SendQueue) + " unacked",
		path, again,
	}
}

// rates draws what both ends sent in the last minute, mirrored.
func (m *Model) rates(n *node) []string {
	var up, down [slots]uint64
	var mostUp, mostDown uint64
	for i := range slots {
		back := uint64(slots - 1 - i)
		if m.clock.frame <= back {
			continue
		}
		frame := m.clock.frame - back
		s := n.past.at(frame)
		up[i], down[i] = m.clock.rate(frame, s.toServer), m.clock.rate(frame, s.toClient)
		mostUp, mostDown = max(mostUp, up[i]), max(mostDown, down[i])
	}
	rows, wide := 2, 1
	if m.height >= 40 {
		rows = 5
	}
	if m.width >= slots*2+30 {
		wide = 2
	}
	most := max(mostUp, mostDown)
	label := func(arrow string, now uint64, s style) string {
		return "  " + m.paint(s, arrow+" "+human.Size(now)+"/s")
	}
	var lines []string
	for i, text := range tower(up[:], most, rows, wide, false) {
		said := ""
		if i == rows-1 {
			said = label("→", up[slots-1], toServer)
		}
		lines = append(lines, "  "+m.paint(toServer, text)+said)
	}
	for i, text := range tower(down[:], most, rows, wide, true) {
		said := ""
		if i == 0 {
			said = label("←", down[slots-1], toClient)
		}
		lines = append(lines, "  "+m.paint(toClient, text)+said)
	}
	return append(lines, "  "+m.paint(faint, fmt.Sprintf("the last %s; at most → %s/s, ← %s/s",
		human.Span(m.clock.lasting(slots)), human.Size(mostUp), human.Size(mostDown))))
}

// latencies are those of the window that is shown; responses and parts those of the newest frame.
func (m *Model) latencies(n *node, p *parts) []string {
	var turn model.Latency
	n.past.latency(m.clock.frame, n.frames, &turn)
	var lines []string
	for _, l := range []struct {
		name string
		of   *model.Latency
	}{{"turn", &turn}, {"response", &p.Response}, {"connect", &p.Connect}} {
		if l.of.Count > 0 {
			lines = append(lines, "  "+m.paint(strong, fit(l.name, 9))+" "+quantiles(l.of, m.width))
		}
	}
	room := max(10, min(60, m.width-40))
	if turn.Count > 0 {
		lines = append(lines, human.Bars(&turn, room)...)
	}
	for i, text := range human.Parts(&p.Breakdown, p.Turn.Count, room) {
		name := ""
		if i == 0 {
			name = "parts"
		}
		lines = append(lines, "  "+m.paint(strong, fit(name, 9))+" "+text)
	}
	if len(lines) > 0 {
		lines = append([]string{""}, lines...)
	}
	return lines
}

func quantiles(l *model.Latency, columns int) string {
	text := fmt.Sprintf("p50 %s  p90 %s  p99 %s  max %s  of %s", human.Latency(l.Quantile(.5)), human.Latency(l.Quantile(.9)),
		human.Latency(l.Quantile(.99)), human.Latency(l.Max), human.Commas(l.Count))
	if columns >= 100 {
		text = "min " + human.Latency(l.Min) + "  " + text
	}
	return text
}

func (m *Model) health(n *node, p *parts) []string {
	server := cmp.Or(m.serverCell(n), "the server")
	if m.group.isUsage() {
		server = "servers"
	}
	var lines []string
	for _, wrong := range human.HealthLines(server, p.Health, p.queue) {
		lines = append(lines, "  "+m.paint(alarm, "! ")+wrong)
	}
	return lines
}
