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
	if m.snapshot == nil {
		return
	}
	switch m.group {
	case groupProcess:
		m.collectUsage(kindProcess, processKey)
	case groupCgroup:
		m.collectUsage(kindCgroup, m.cgroupKey)
	case groupFlow:
		m.collectFlows()
	default:
		m.collectPairs()
	}
}

// matches asks whether the flow is to be shown at all.
func (m *Model) matches(f *model.Flow) bool {
	if m.filter == nil || m.filter.Match(f) {
		return true
	}
	m.unmatched++
	return false
}

// find returns the node of that name, ready for this collection, and whether it is new to it. Past maxNodes
// rest stands for it.
func (m *Model) find(k, rest key) (n *node, first bool) {
	n = m.nodes[k]
	if n == nil && m.counts[k.kind] >= maxNodes {
		if n = m.rests[k.kind]; n == nil {
			k = rest
		}
	}
	if n == nil {
		n = &node{key: k, open: k.kind == kindService, rank: unranked}
		if k.kind != kindService {
			n.past = new(history)
		}
		m.nodes[k] = n
		m.counts[k.kind]++
		if k.rest {
			m.rests[k.kind] = n
		}
	}
	if n.pass == m.pass {
		return n, false
	}
	n.begin(m.pass, m.clock.frame)
	return n, true
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
	m.begin(kindService)
	m.begin(kindPair)
	m.pairs, m.services = m.pairs[:0], m.services[:0]
	for i := range m.flows.Len() {
		f := m.flows.At(i)
		if !m.matches(f) {
			continue
		}
		n, first := m.find(pairKey(f), key{kind: kindPair, rest: true})
		if first {
			m.pairs = append(m.pairs, n)
			n.proto, n.client, n.server = f.Proto, f.Client, f.Server
		}
		n.client.Owner = view.Common(n.client.Owner, f.Client.Owner)
		n.server.Owner = view.Common(n.server.Owner, f.Server.Owner)
		n.client.Addr, n.server.Addr = only(n.client.Addr, f.Client.Addr), only(n.server.Addr, f.Server.Addr)
		n.add(f)
		n.flows = append(n.flows, int32(i))
	}
	for _, n := range m.pairs {
		s, first := m.find(n.key.service(), key{kind: kindService, rest: true})
		if first {
			m.services = append(m.services, s)
			s.proto, s.server = n.proto, n.server
		}
		s.server.Owner = view.Common(s.server.Owner, n.server.Owner)
		s.merge(n)
		s.adopt(n)
		n.parent = s
	}
	for _, n := range m.pairs {
		n.remember(&m.clock)
	}
	for _, s := range m.services {
		if s.solo == nil {
			s.remember(&m.clock)
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
		k := flowKey(f)
		known := m.nodes[k]
		if known == nil && m.counts[kindFlow] >= maxNodes {
			m.unlisted++
			continue
		}
		n, _ := m.find(k, k)
		if known == nil && f.FirstSeen.Before(m.snapshot.Start) {
			n.since = m.clock.now()
		}
		n.parent, n.proto, n.client, n.server = parent, f.Proto, f.Client, f.Server
		n.add(f)
		n.flows = append(n.flows, i)
		if n.flow == nil {
			n.flow = new(model.Flow)
		}
		*n.flow = *f
		n.flow.Turn.Histogram, n.flow.Response.Histogram = nil, nil
		n.remember(&m.clock)
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
func (m *Model) collectUsage(kind kind, keyOf func(*model.Owner) key) {
	rest := key{kind: kind, rest: true}
	m.begin(kind)
	m.pairs = m.pairs[:0]
	find := func(o *model.Owner) *node {
		n, first := m.find(keyOf(o), rest)
		if first {
			n.client.Owner = o
			m.pairs = append(m.pairs, n)
		}
		n.client.Owner = view.Common(n.client.Owner, o)
		return n
	}
	for i := range m.flows.Len() {
		f := m.flows.At(i)
		if !m.matches(f) {
			continue
		}
		client, server := find(f.Client.Owner), find(f.Server.Owner)
		client.now.toServer += f.ToServer.Bytes
		client.now.toClient += f.ToClient.Bytes
		server.now.toServer += f.ToClient.Bytes
		server.now.toClient += f.ToServer.Bytes
		client.addSigns(f)
		client.flows = append(client.flows, int32(i))
		if client != server {
			server.addSigns(f)
			server.flows = append(server.flows, int32(i))
		}
	}
	for _, n := range m.pairs {
		n.remember(&m.clock)
	}
}

// cgroupKey numbers cgroups by their paths.
func (m *Model) cgroupKey(o *model.Owner) key {
	k := key{kind: kindCgroup}
	if o == nil || o.Cgroup == "" {
		return k
	}
	id, known := m.cgroups[o.Cgroup]
	if !known {
		if len(m.cgroups) >= maxNodes {
			return key{kind: kindCgroup, rest: true}
		}
		id = uint32(len(m.cgroups) + 1)
		m.cgroups[o.Cgroup] = id
	}
	k.netns = id
	return k
}

// forget drops the nodes that were not seen for so long that nothing shows them any more.
func (m *Model) forget() {
	frames, _, _ := m.clock.window(max(m.window, leastMemory))
	for k, n := range m.nodes {
		last := n.frame + uint64(frames)
		if n.kind() == kindFlow && m.showClosed {
			last = n.frame + slots
		}
		if last > m.clock.frame || n == m.cursor {
			continue
		}
		delete(m.nodes, k)
		m.counts[k.kind]--
		if k.rest {
			m.rests[k.kind] = nil
		}
	}
}

// leastMemory is how long a row stays although nothing happens on it.
const leastMemory = 10 * time.Second

func (n *node) kind() kind { return n.key.kind }
