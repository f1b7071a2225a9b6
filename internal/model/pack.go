package model

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"time"
)

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

// pack puts a flow into a row, in the places that the row has already.
func (p *Flows) pack(row *packedFlow, f *Flow) {
	if row.isNamed() {
		p.named--
	}
	*row = packedFlow{
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
		path:   p.packPath(row.path, f),
		tally:  p.packTally(row.tally, f),
		ends:   row.ends,
		large:  row.large,
	}
	if row.isNamed() {
		p.named++
	}
	if row.ends == 0 && f.Client.Addr.Is4() && f.Server.Addr.Is4() {
		client, server := f.Client.Addr.As4(), f.Server.Addr.As4()
		row.addr = [2]uint32{binary.BigEndian.Uint32(client[:]), binary.BigEndian.Uint32(server[:])}
	} else {
		row.ends = put(&p.ends, row.ends, [2]netip.Addr{f.Client.Addr, f.Server.Addr})
	}
	if row.large == 0 && small(&f.ToServer) && small(&f.ToClient) {
		row.sent = [2]packedCounter{pack(&f.ToServer), pack(&f.ToClient)}
	} else {
		row.large = put(&p.large, row.large, [2]Counters{f.ToServer, f.ToClient})
	}
}

func (r *packedFlow) isNamed() bool { return r.owner[0] > 0 && r.owner[1] > 0 }

// put returns the place of an item, from 1: that given, or that of one more if it is 0.
func put[T any](list *[]T, place uint32, item T) uint32 {
	if place == 0 {
		return add(list, item)
	}
	(*list)[place-1] = item
	return place
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

func (c *packedCounter) unpack(to *Counters) {
	to.Packets, to.Bytes, to.SKBs, to.PayloadBytes = uint64(c.packets), uint64(c.bytes), uint64(c.skbs), uint64(c.payload)
}

func (p *Flows) packPath(place uint32, f *Flow) uint32 {
	path := packedPath{
		srtt:      [2]time.Duration{f.ClientSRTT, f.ServerSRTT},
		cwnd:      [2]uint32{f.ClientCwnd, f.ServerCwnd},
		handshake: f.Handshake, accept: f.Accept, firstByte: f.FirstByte, connected: f.Connect.Count > 0,
		acceptQueue: f.AcceptQueue,
	}
	if place == 0 && path == (packedPath{}) {
		return 0
	}
	return put(&p.paths, place, path)
}

func (p *Flows) packTally(place uint32, f *Flow) uint32 {
	var was packedTally
	if place > 0 {
		was = p.tallies[place-1]
	} else if f.Turn.Count == 0 && f.Response.Count == 0 && f.Crossed == 0 && f.Health == nil && f.Breakdown == (Breakdown{}) {
		return 0
	}
	return put(&p.tallies, place, packedTally{
		turn: p.packLatency(&was.turn, &f.Turn), response: p.packLatency(&was.response, &f.Response),
		crossed: f.Crossed, health: f.Health, breakdown: f.Breakdown,
	})
}

// packLatency puts a histogram where another one was, if it is no wider.
func (p *Flows) packLatency(was *packedLatency, l *Latency) packedLatency {
	if l.Count == 0 {
		return packedLatency{}
	}
	from, to := Bucket(l.Min), Bucket(l.Max)+1
	packed := packedLatency{l.Count, l.Sum, l.Min, l.Max, was.at}
	if to-from > was.buckets() {
		packed.at = len(p.counts)
		p.counts = append(p.counts, make([]uint64, to-from)...)
	}
	counts := p.counts[packed.at:][:to-from]
	if l.Histogram == nil {
		counts[0] = l.Count
	} else {
		copy(counts, l.Histogram[from:to])
	}
	return packed
}

// buckets is how many of counts are the latency's.
func (l *packedLatency) buckets() int {
	if l.count == 0 {
		return 0
	}
	return Bucket(l.max) + 1 - Bucket(l.min)
}

// nameEnds fills in who is at the flow's ends.
func (p *Flows) nameEnds(row *packedFlow, f *Flow) {
	p.nameEnd(row, 0, &f.Client)
	p.nameEnd(row, 1, &f.Server)
}

func (p *Flows) nameEnd(row *packedFlow, end int, of *Endpoint) {
	of.Port = row.port[end]
	if row.owner[end] > 0 {
		of.Owner = p.owners[row.owner[end]-1]
	}
	if row.ends > 0 {
		of.Addr = p.ends[row.ends-1][end]
		return
	}
	var addr [4]byte
	binary.BigEndian.PutUint32(addr[:], row.addr[end])
	of.Addr = netip.AddrFrom4(addr)
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
