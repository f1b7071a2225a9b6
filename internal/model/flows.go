package model

import (
	"encoding/binary"
	"iter"
	"math"
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

	flow       Flow // what At returned last
	histograms [2][HistogramBuckets]uint64
}

type packedFlow struct {
	addr        [2]uint32 // client, server
	owner       [2]uint32
	first, last int64 // nanoseconds since origin
	began       uint64
	lastNS      [2]uint64
	sent        [2]packedCounter // by client, by server
	ends, large uint32
	path, tally uint32
	port        [2]uint16
	site        uint32 // place in sites
	flags       [2]uint8
	proto       Proto
	kind        Kind
	state, role uint8
	closed      bool
}

type packedSite struct{ number, netns uint32 }

type packedCounter struct{ packets, bytes, skbs, payload uint32 }

// packedPath is what TCP alone has.
type packedPath struct {
	srtt                         [2]time.Duration
	cwnd                         [2]uint32
	handshake, accept, firstByte time.Duration
	connected                    bool // in this window
	acceptQueue                  *AcceptQueue
}

type packedTally struct {
	turn, response packedLatency
	crossed        uint64
	health         *Health
	breakdown      Breakdown
}

type packedLatency struct {
	count         uint64
	sum, min, max time.Duration
	at            int // in counts: buckets from that of min to that of max
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

// Reset empties the list, which keeps its memory.
func (p *Flows) Reset() {
	p.rows, p.ends, p.large = p.rows[:0], p.ends[:0], p.large[:0]
	clear(p.paths)
	clear(p.tallies)
	clear(p.owners)
	clear(p.numbers)
	p.sites = p.sites[:0]
	p.paths, p.tallies, p.counts, p.owners = p.paths[:0], p.tallies[:0], p.counts[:0], p.owners[:0]
	p.newest = [2]uint32{}
}

// Grow makes room for n flows in all, and little more.
func (p *Flows) Grow(n int) {
	if cap(p.rows) < n {
		p.rows = append(make([]packedFlow, 0, n+n/16), p.rows...)
	}
}

// Append adds a copy of a flow. Its times must be within a century of the others', and where it has counted a
// handshake, that was its own.
func (p *Flows) Append(f *Flow) {
	if len(p.rows) == 0 {
		p.origin = f.LastSeen
	}
	p.rows = append(p.rows, packedFlow{
		owner:  [2]uint32{p.ownerPlace(0, f.Client.Owner), p.ownerPlace(1, f.Server.Owner)},
		first:  int64(f.FirstSeen.Sub(p.origin)),
		last:   int64(f.LastSeen.Sub(p.origin)),
		began:  f.BeganNS,
		lastNS: f.LastNS,
		site:   p.sitePlace(f.Site, f.Netns),
		kind:   f.Kind,
		flags:  f.TCPFlags,
		port:   [2]uint16{f.Client.Port, f.Server.Port},
		proto:  f.Proto,
		state:  place(&p.states, f.State),
		role:   place(&p.roles, f.RoleSource),
		closed: f.Closed,
		path:   p.addPath(f),
		tally:  p.addTally(f),
	})
	row := &p.rows[len(p.rows)-1]
	if f.Client.Addr.Is4() && f.Server.Addr.Is4() {
		client, server := f.Client.Addr.As4(), f.Server.Addr.As4()
		row.addr = [2]uint32{binary.BigEndian.Uint32(client[:]), binary.BigEndian.Uint32(server[:])}
	} else {
		row.ends = add(&p.ends, [2]netip.Addr{f.Client.Addr, f.Server.Addr})
	}
	if small(&f.ToServer) && small(&f.ToClient) {
		row.sent = [2]packedCounter{pack(&f.ToServer), pack(&f.ToClient)}
	} else {
		row.large = add(&p.large, [2]Counters{f.ToServer, f.ToClient})
	}
}

// add returns the place of what it appends, from 1.
func add[T any](list *[]T, item T) uint32 {
	*list = append(*list, item)
	return uint32(len(*list))
}

// place finds one of a few names.
func place[T comparable](list *[]T, name T) uint8 {
	at := slices.Index(*list, name)
	if at < 0 {
		return uint8(add(list, name)) - 1
	}
	return uint8(at)
}

// sitePlace finds a site from the newest one on: rows of one often come together.
func (p *Flows) sitePlace(number, netns uint32) uint32 {
	site := packedSite{number, netns}
	for i := len(p.sites) - 1; i >= 0; i-- {
		if p.sites[i] == site {
			return uint32(i)
		}
	}
	return add(&p.sites, site) - 1
}

// ownerPlace is from 1; 0 is unknown. Flows of one owner often come together.
func (p *Flows) ownerPlace(end int, o *Owner) uint32 {
	if o == nil {
		return 0
	}
	if newest := p.newest[end]; newest > 0 && p.owners[newest-1] == o {
		return newest
	}
	at, known := p.numbers[o]
	if !known {
		if p.numbers == nil {
			p.numbers = make(map[*Owner]uint32)
		}
		at = add(&p.owners, o)
		p.numbers[o] = at
	}
	p.newest[end] = at
	return at
}

func small(c *Counters) bool {
	return max(c.Packets, c.Bytes, c.SKBs, c.PayloadBytes) <= math.MaxUint32 && c.Retransmits == 0 && c.RetransBytes == 0
}

func pack(c *Counters) packedCounter {
	return packedCounter{uint32(c.Packets), uint32(c.Bytes), uint32(c.SKBs), uint32(c.PayloadBytes)}
}

func (c *packedCounter) unpack() Counters {
	return Counters{Packets: uint64(c.packets), Bytes: uint64(c.bytes), SKBs: uint64(c.skbs), PayloadBytes: uint64(c.payload)}
}

func (p *Flows) addPath(f *Flow) uint32 {
	path := packedPath{
		srtt:      [2]time.Duration{f.ClientSRTT, f.ServerSRTT},
		cwnd:      [2]uint32{f.ClientCwnd, f.ServerCwnd},
		handshake: f.Handshake, accept: f.Accept, firstByte: f.FirstByte, connected: f.Connect.Count > 0,
		acceptQueue: f.AcceptQueue,
	}
	if path == (packedPath{}) {
		return 0
	}
	return add(&p.paths, path)
}

func (p *Flows) addTally(f *Flow) uint32 {
	if f.Turn.Count == 0 && f.Response.Count == 0 && f.Crossed == 0 && f.Health == nil && f.Breakdown == (Breakdown{}) {
		return 0
	}
	return add(&p.tallies, packedTally{
		turn: p.packLatency(&f.Turn), response: p.packLatency(&f.Response),
		crossed: f.Crossed, health: f.Health, breakdown: f.Breakdown,
	})
}

func (p *Flows) packLatency(l *Latency) packedLatency {
	if l.Count == 0 {
		return packedLatency{}
	}
	packed := packedLatency{l.Count, l.Sum, l.Min, l.Max, len(p.counts)}
	if l.Histogram == nil {
		p.counts = append(p.counts, l.Count)
	} else {
		p.counts = append(p.counts, l.Histogram[Bucket(l.Min):Bucket(l.Max)+1]...)
	}
	return packed
}

// Named is how many flows have owners at both ends.
func (p *Flows) Named() (n int) {
	for i := range p.Len() {
		if owner := p.rows[i].owner; owner[0] > 0 && owner[1] > 0 {
			n++
		}
	}
	return n
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
	*f = Flow{
		Site:       p.sites[row.site].number,
		Netns:      p.sites[row.site].netns,
		Kind:       row.kind,
		Proto:      row.proto,
		TCPFlags:   row.flags,
		BeganNS:    row.began,
		LastNS:     row.lastNS,
		State:      p.states[row.state],
		RoleSource: p.roles[row.role],
		Client:     Endpoint{Port: row.port[0]},
		Server:     Endpoint{Port: row.port[1]},
		FirstSeen:  p.origin.Add(time.Duration(row.first)),
		LastSeen:   p.origin.Add(time.Duration(row.last)),
		Closed:     row.closed,
	}
	p.nameEnds(row, f)
	if row.large > 0 {
		f.ToServer, f.ToClient = p.large[row.large-1][0], p.large[row.large-1][1]
	} else {
		f.ToServer, f.ToClient = row.sent[0].unpack(), row.sent[1].unpack()
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

// nameEnds fills in who is at the flow's ends.
func (p *Flows) nameEnds(row *packedFlow, f *Flow) {
	for end, of := range [...]*Endpoint{&f.Client, &f.Server} {
		if row.owner[end] > 0 {
			of.Owner = p.owners[row.owner[end]-1]
		}
		if row.ends > 0 {
			of.Addr = p.ends[row.ends-1][end]
			continue
		}
		var addr [4]byte
		binary.BigEndian.PutUint32(addr[:], row.addr[end])
		of.Addr = netip.AddrFrom4(addr)
	}
}

// key returns the key of flow i without unpacking the rest of it.
func (p *Flows) key(i int) FlowKey {
	row := &p.rows[i]
	f := Flow{
		Site: p.sites[row.site].number, Kind: row.kind, Proto: row.proto,
		Client: Endpoint{Port: row.port[0]}, Server: Endpoint{Port: row.port[1]},
	}
	p.nameEnds(row, &f)
	return f.Key()
}

func (t *packedPath) unpack(f *Flow) {
	f.ClientSRTT, f.ServerSRTT, f.ClientCwnd, f.ServerCwnd = t.srtt[0], t.srtt[1], t.cwnd[0], t.cwnd[1]
	f.Handshake, f.Accept, f.FirstByte = t.handshake, t.accept, t.firstByte
	if t.connected {
		f.Connect = Single(t.handshake)
	}
	f.AcceptQueue = t.acceptQueue
}

func (p *Flows) latency(which int, l *packedLatency) Latency {
	if l.count == 0 {
		return Latency{}
	}
	histogram := &p.histograms[which]
	clear(histogram[:])
	from, to := Bucket(l.min), Bucket(l.max)+1
	copy(histogram[from:to], p.counts[l.at:])
	return Latency{Count: l.count, Sum: l.sum, Min: l.min, Max: l.max, Histogram: histogram[:]}
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
