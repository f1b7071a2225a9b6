package model

import (
	"iter"
	"net/netip"
	"slices"
	"time"
)

// Flows is a list of flows, packed into a fifth of the memory of a []Flow as long as most of them do little.
// It holds few pointers, so that it costs the garbage collector nothing. The zero value is an empty list. It
// is for one goroutine.
type Flows struct {
	rows   []packedFlow
	origin time.Time // what the rows' times are counted from

	// Parts that not every row has: rows hold their places, from 1.
	ends    [][2]netip.Addr // unless both are of IPv4
	large   [][2]Counters   // unless 32 bits are enough, and nothing was sent again
	paths   []packedPath
	tallies []packedTally
	counts  []uint64 // of the tallies' histograms

	sites   []packedSite
	states  []string
	roles   []RoleSource
	owners  []*Owner
	numbers map[*Owner]uint32 // places in owners
	newest  [2]uint32         // owners of the row appended last
	named   int               // rows with owners at both ends

	flow       Flow // what At returned last
	histograms [2][HistogramBuckets]uint64
}

// NewFlows returns a list of the flows given.
func NewFlows(flows ...Flow) *Flows {
	p := new(Flows)
	for i := range flows {
		p.Append(&flows[i])
	}
	return p
}

// Len is how many flows there are. Of a nil list, as of an empty one, it is 0.
func (p *Flows) Len() int {
	if p == nil {
		return 0
	}
	return len(p.rows)
}

// fewFlows is up to how many flows memory does not matter.
const fewFlows = 4096

// Reset empties the list, which keeps its memory, unless it had far more flows once.
func (p *Flows) Reset() {
	if cap(p.rows) > 4*max(len(p.rows), fewFlows) {
		*p = Flows{}
		return
	}
	p.rows, p.ends, p.large = p.rows[:0], p.ends[:0], p.large[:0]
	clear(p.paths)
	clear(p.tallies)
	clear(p.owners)
	clear(p.numbers)
	p.sites = p.sites[:0]
	p.paths, p.tallies, p.counts, p.owners = p.paths[:0], p.tallies[:0], p.counts[:0], p.owners[:0]
	p.newest, p.named = [2]uint32{}, 0
}

// Grow makes room for n flows in all, and little more.
func (p *Flows) Grow(n int) {
	if cap(p.rows) < n {
		p.rows = append(make([]packedFlow, 0, n+n/16), p.rows...)
	}
}

// Named is how many flows have owners at both ends. Of a nil list, as of an empty one, it is 0.
func (p *Flows) Named() int {
	if p == nil {
		return 0
	}
	return p.named
}

// Errors is how often somebody did not get what was asked for, on all flows.
func (p *Flows) Errors() (n uint64) {
	if p == nil {
		return 0
	}
	for i := range p.tallies {
		n += p.tallies[i].health.Errors()
	}
	return n
}

// HasBreakdown reports whether it is known of any flow where the time of its turns went.
func (p *Flows) HasBreakdown() bool {
	return p != nil && slices.ContainsFunc(p.tallies, func(t packedTally) bool { return t.breakdown != (Breakdown{}) })
}

// Bytes is what both ends of flow i have sent.
func (p *Flows) Bytes(i int) uint64 {
	row := &p.rows[i]
	if row.large > 0 {
		sent := &p.large[row.large-1]
		return sent[0].Bytes + sent[1].Bytes
	}
	return uint64(row.sent[0].bytes) + uint64(row.sent[1].bytes)
}

// Append adds a copy of a flow. Its times must be within a century of the others', and where it has counted a
// handshake, that was its own.
func (p *Flows) Append(f *Flow) {
	if len(p.rows) == 0 {
		p.origin = f.LastSeen
	}
	p.rows = append(p.rows, packedFlow{})
	p.pack(&p.rows[len(p.rows)-1], f)
}

// Set makes flow i a copy of another, which may be the one that At returned last.
func (p *Flows) Set(i int, f *Flow) { p.pack(&p.rows[i], f) }

// All goes over the flows. Each is valid until the next, or the next call of At, as are its histograms.
func (p *Flows) All() iter.Seq[*Flow] {
	return func(yield func(*Flow) bool) {
		for i := range p.Len() {
			if !yield(p.At(i)) {
				return
			}
		}
	}
}

// At returns flow i, valid until the next call. Its histograms may be read only until then, too.
func (p *Flows) At(i int) *Flow {
	row, f := &p.rows[i], &p.flow
	*f = Flow{} // field by field takes half as long as from a second Flow
	site := &p.sites[row.site]
	f.Site, f.Netns, f.Kind, f.Proto = site.number, site.netns, row.kind, row.proto
	f.TCPFlags, f.State, f.Closed = row.flags, p.states[row.state], row.closed
	f.RoleSource = p.roles[row.role]
	f.BeganNS, f.LastNS = row.began, row.lastNS
	f.FirstSeen, f.LastSeen = p.origin.Add(time.Duration(row.first)), p.origin.Add(time.Duration(row.last))
	p.nameEnds(row, f)
	if row.large > 0 {
		f.ToServer, f.ToClient = p.large[row.large-1][0], p.large[row.large-1][1]
	} else {
		row.sent[0].unpack(&f.ToServer)
		row.sent[1].unpack(&f.ToClient)
	}
	if row.path > 0 {
		p.paths[row.path-1].unpack(f)
	}
	if row.tally > 0 {
		tally := &p.tallies[row.tally-1]
		f.Turn, f.Response = p.latency(0, &tally.turn), p.latency(1, &tally.response)
		f.Crossed, f.Health, f.Breakdown = tally.crossed, tally.health, tally.breakdown
	}
	return f
}

// key returns the key of flow i without unpacking the rest of it.
func (p *Flows) key(i int) FlowKey {
	row := &p.rows[i]
	f := Flow{
		Site: p.sites[row.site].number, Kind: row.kind, Proto: row.proto,
	}
	p.nameEnds(row, &f)
	return f.Key()
}

// Slice returns the flows one by one, each a copy.
func (p *Flows) Slice() []Flow {
	flows := make([]Flow, 0, p.Len())
	for f := range p.All() {
		flows = append(flows, f.Clone())
	}
	return flows
}

// Clone returns a list of the same flows. It shares with this one their owners, health and accept queues, which
// nobody changes once a row has them.
// Of a nil list it is an empty one.
func (p *Flows) Clone() *Flows {
	if p == nil {
		return new(Flows)
	}
	c := *p
	c.flow = Flow{}
	c.rows, c.ends, c.large = slices.Clone(p.rows), slices.Clone(p.ends), slices.Clone(p.large)
	c.paths, c.tallies, c.counts = slices.Clone(p.paths), slices.Clone(p.tallies), slices.Clone(p.counts)
	c.owners, c.numbers = slices.Clone(p.owners), nil
	c.sites, c.states, c.roles = slices.Clone(p.sites), slices.Clone(p.states), slices.Clone(p.roles)
	return &c
}
