package tui

import (
	"cmp"
	"slices"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

// How much is remembered. What does not fit is added up in one row for the rest, or for single flows
// counted and not listed.
const (
	maxNodes = 4096 // of each kind
	maxFlows = 1000 // flows listed at once, the largest
)

// collect adds up the newest frame's flows under the nodes that the grouping asks for. It may be done
// again for the same frame, after something else was asked for.
func (m *Model) collect() {
	m.pass++
	m.unmatched, m.unlisted = 0, 0
	if m.newest.Window == nil {
		return
	}
	switch m.group {
	case groupProcess:
		m.collectUsage(kindProcess)
	case groupCgroup:
		m.collectUsage(kindCgroup)
	case groupFlow:
		m.collectFlows()
	default:
		m.collectPairs()
	}
}

// matches asks the filter whether the flow is to be shown at all.
func (m *Model) matches(f *model.Flow) bool {
	if m.filter.Match(f) {
		return true
	}
	m.unmatched++
	return false
}

// admit returns the node of that name, which it makes if there is room for one; nil if there is none.
func (m *Model) admit(kind kind, k *view.Key) *node {
	n := m.nodes[*k]
	if n == nil && m.counts[kind] < maxNodes {
		n = m.newNode(kind, *k)
	}
	return n
}

func (m *Model) newNode(kind kind, k view.Key) *node {
	n := &node{kind: kind, open: kind == kindService, rank: unranked}
	if kind != kindService {
		n.past = new(history)
	}
	m.nodes[k] = n
	m.counts[kind]++
	return n
}

// find returns the node of that name, ready for this collection.
func (m *Model) find(kind kind, k view.Key) *node {
	n := m.nodes[k]
	if n == nil { // that for the rest
		n = m.newNode(kind, k)
	}
	n.begin(m.pass, m.clock.frame)
	return n
}

// roll empties the roll-up of a kind, and makes it anew if there is none.
func (m *Model) roll(kind kind) *view.Roll {
	r := m.rolls[kind]
	if r == nil {
		r = view.NewRoll(kinds[kind])
		r.Slot = func(k *view.Key) *view.Slot {
			if n := m.admit(kind, k); n != nil {
				return &n.slot
			}
			return nil
		}
		m.rolls[kind] = r
	}
	r.Match = nil
	if m.filter != nil {
		r.Match = m.matches
	}
	r.Reset()
	r.Only(m.measures())
	return r
}

// listed are the measures that rows are listed and sorted by; a detail shows others, too.
var listed = slices.DeleteFunc(slices.Clone(view.Measures), func(m *view.Measure) bool {
	return m.Sort == "" && !slices.ContainsFunc(columns, func(c *column) bool { return c.measure == m.Name })
})

// measures are those that rows of the screen need.
func (m *Model) measures() []*view.Measure {
	if m.mode == modeDetail {
		return view.Measures
	}
	return listed
}

// nodesOf returns a node for each row of a kind, in their order.
func (m *Model) nodesOf(kind kind, nodes []*node) []*node {
	m.begin(kind)
	nodes = nodes[:0]
	r := m.rolls[kind]
	for i := range r.Len() {
		row := r.At(i)
		n := m.find(kind, row.Key)
		n.row, n.position = row, row.Position()
		n.proto, n.client, n.server = row.Proto, row.Client, row.Server
		if kind == kindProcess || kind == kindCgroup {
			n.client.Owner = row.Owner
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// begin notes since when nodes of a kind are kept up without a gap.
func (m *Model) begin(k kind) {
	if tick := m.clock.tick; m.collected[k] != tick {
		if m.collected[k]+1 != tick {
			m.begun[k] = m.clock.now()
		}
		m.collected[k] = tick
	}
}

func (m *Model) collectPairs() {
	pairs, services := m.roll(kindPair), m.roll(kindService)
	pairs.Add(m.flows)
	services.Merge(pairs)
	m.pairs, m.services = m.nodesOf(kindPair, m.pairs), m.nodesOf(kindService, m.services)
	for i, n := range m.pairs {
		n.parent = m.services[services.Of(i)]
		n.parent.adopt(n)
	}
	for _, n := range m.pairs {
		n.remember(&m.clock, &n.row.Tally)
	}
	for _, s := range m.services {
		if s.solo == nil {
			s.remember(&m.clock, &s.row.Tally)
		}
	}
	m.listOpenPairs()
}

// listOpenPairs makes nodes of the largest flows of pairs that are open.
func (m *Model) listOpenPairs() {
	if !slices.ContainsFunc(m.pairs, func(n *node) bool { return n.open }) {
		return
	}
	pairs := m.rolls[kindPair]
	for f := range m.flows.Len() {
		if at := pairs.Of(f); at >= 0 && m.pairs[at].open {
			m.pairs[at].flows = append(m.pairs[at].flows, int32(f))
		}
	}
	for _, n := range m.pairs {
		if n.open {
			m.listFlows(n, n.flows)
		}
	}
}

func (m *Model) collectFlows() {
	m.all = m.all[:0]
	for i := range m.flows.Len() {
		if m.filter == nil || m.matches(m.flows.At(i)) {
			m.all = append(m.all, int32(i))
		}
	}
	m.listFlows(nil, m.all)
}

// listFlows makes nodes of the largest flows.
func (m *Model) listFlows(parent *node, flows []int32) {
	m.begin(kindFlow)
	listed := m.largest(flows, maxFlows)
	m.unlisted += len(flows) - len(listed)
	for _, i := range listed {
		f := m.flows.At(int(i))
		k := view.Flow.KeyOf(f)
		known := m.nodes[k] != nil
		if m.admit(kindFlow, &k) == nil {
			m.unlisted++
			continue
		}
		n := m.find(kindFlow, k)
		if !known && f.FirstSeen.Before(m.newest.Start) {
			n.since = m.clock.now()
		}
		n.parent, n.position = parent, view.RowOf(f).Position()
		n.proto, n.client, n.server = f.Proto, f.Client, f.Server
		n.place = int(i)
		if n.flow == nil {
			n.flow = new(model.Flow)
		}
		*n.flow = *f
		n.flow.Turn.Histogram, n.flow.Response.Histogram = nil, nil
		n.remember(&m.clock, &f.Tally)
	}
}

// largest picks the flows with the most bytes; which of equals is as good as any, but always the same.
func (m *Model) largest(flows []int32, most int) []int32 {
	if len(flows) <= most {
		return flows
	}
	bytes := func(i int32) uint64 { return m.flows.Bytes(int(i)) }
	compare := func(a, b int32) int { return cmp.Or(cmp.Compare(bytes(b), bytes(a)), cmp.Compare(a, b)) }
	m.top = m.top[:0]
	for _, i := range flows {
		if len(m.top) == most {
			if compare(i, m.top[most-1]) > 0 {
				continue
			}
			m.top = m.top[:most-1]
		}
		at, _ := slices.BinarySearchFunc(m.top, i, compare)
		m.top = slices.Insert(m.top, at, i)
	}
	return m.top
}

// collectUsage adds up both ends of each flow under their owners.
func (m *Model) collectUsage(kind kind) {
	m.roll(kind).Add(m.flows)
	m.pairs = m.nodesOf(kind, m.pairs)
	for _, n := range m.pairs {
		n.remember(&m.clock, &n.row.Tally)
	}
}

// forget drops the nodes that were not seen for so long that nothing shows them any more.
func (m *Model) forget() {
	frames, _, _ := m.clock.window(max(m.window, leastMemory))
	for k, n := range m.nodes {
		last := n.frame + uint64(frames)
		if n.kind == kindFlow && m.showClosed {
			last = n.frame + slots
		}
		if last > m.clock.frame || n == m.cursor {
			continue
		}
		delete(m.nodes, k)
		m.counts[n.kind]--
	}
}

// leastMemory is how long a row stays although nothing happens on it.
const leastMemory = 10 * time.Second
