package view

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
)

// Key names a row of one view for as long as its flows last, whatever becomes known of them. It holds neither
// pointers nor padding, so that it is hashed, compared and copied as one piece of memory.
type Key struct {
	ends  [2][16]byte // by flow as model.FlowKey has them; by others an identity of what is at the client's end, and the server
	began uint64      // by flow
	site  uint32
	ports [2]uint16
	proto uint16
	kind  uint16
	rest  uint16 // 1: of flows that there is no other row for
	view  uint16 // By.number
}

// Identify returns what tells processes apart, and sorts by their age; of an unknown one it is zero, and of the
// kernel itself, which was never started, the next.
func Identify(o *model.Owner) (identity [16]byte) {
	if o == nil {
		return identity
	}
	identity[0] = 1
	if o.TGID != 0 {
		binary.BigEndian.PutUint64(identity[4:], o.StartNS)
		binary.BigEndian.PutUint32(identity[12:], o.TGID)
	}
	return identity
}

func serviceKey(k *Key, f *model.Flow) {
	k.ends[1], k.ports[1] = f.Server.Addr.As16(), f.Server.Port
	k.site, k.kind, k.proto = f.Site, uint16(f.Kind), uint16(f.Proto)
}

// pairKey has all unknown clients of a service in one pair.
func pairKey(k *Key, f *model.Flow) {
	serviceKey(k, f)
	k.ends[0] = Identify(f.Client.Owner)
}

// flowKey is the flow's identity.
func flowKey(f *model.Flow) Key {
	id := f.ID()
	return Key{
		ends: id.Addr, ports: id.Port, began: id.BeganNS,
		site: id.Site, kind: uint16(id.Kind), proto: uint16(id.Proto), view: byFlow,
	}
}

func processKey(k *Key, o *model.Owner) { k.ends[0] = Identify(o) }

// seeds make paths of cgroups identities of this process; 128 bits are never equal by chance.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func cgroupKey(k *Key, o *model.Owner) {
	if o == nil || o.Cgroup == "" {
		return
	}
	for i, seed := range seeds {
		binary.BigEndian.PutUint64(k.ends[0][8*i:], maphash.String(seed, o.Cgroup))
	}
}

// service is what the keys of all pairs of one service have in common.
func (k *Key) service() Key {
	s := *k
	s.ends[0] = [16]byte{}
	return s
}

// IsRest reports whether the row is that of By.Rest.
func (k *Key) IsRest() bool { return k.rest == 1 }

// Position is where a row comes among those that nothing else tells apart. It has what is no part of the row's key.
type Position struct {
	Key
	turned bool // by flow: the server is the first of the ends
	cgroup string
}

// Position returns the row's.
func (r *Row) Position() Position {
	p := Position{Key: r.Key}
	switch r.view {
	case byFlow:
		p.turned = r.Client.AddrPort().Compare(r.Server.AddrPort()) > 0
	case byCgroup:
		p.cgroup = r.cgroupPath()
	}
	return p
}

// Compare brings rows into one order.
func (p *Position) Compare(o *Position) int {
	if c := cmp.Or(cmp.Compare(p.view, o.view), compareProto(model.Proto(p.proto), model.Proto(o.proto))); c != 0 {
		return c
	}
	if p.view == byFlow {
		if c := p.clientEnd().Compare(o.clientEnd()); c != 0 {
			return c
		}
	}
	if c := p.serverEnd().Compare(o.serverEnd()); c != 0 {
		return c
	}
	if p.view == byCgroup {
		return strings.Compare(p.cgroup, o.cgroup)
	}
	return cmp.Or(bytes.Compare(p.ends[0][:], o.ends[0][:]), cmp.Compare(p.site, o.site), cmp.Compare(p.began, o.began))
}

// CompareService brings rows into an order that has those of one service together, where they have services.
func (p *Position) CompareService(o *Position) int {
	if p.view == byCgroup {
		return 0
	}
	return cmp.Or(cmp.Compare(p.proto, o.proto), p.compareEnd(o, 1), cmp.Compare(p.site, o.site), p.compareEnd(o, 0))
}

// at is where the client's end, 0, and the server's, 1, are in the key.
func (p *Position) at(end int) int {
	if p.turned {
		return 1 - end
	}
	return end
}

func (p *Position) compareEnd(o *Position, end int) int {
	a, b := p.at(end), o.at(end)
	return cmp.Or(bytes.Compare(p.ends[a][:], o.ends[b][:]), cmp.Compare(p.ports[a], o.ports[b]))
}

// clientEnd is the zero AddrPort but by flow.
func (p *Position) clientEnd() netip.AddrPort {
	if p.view != byFlow {
		return netip.AddrPort{}
	}
	return p.end(0)
}

func (p *Position) serverEnd() netip.AddrPort { return p.end(1) }

func (p *Position) end(end int) netip.AddrPort {
	i := p.at(end)
	return netip.AddrPortFrom(netip.AddrFrom16(p.ends[i]).Unmap(), p.ports[i])
}

func compareProto(a, b model.Proto) int {
	if a == b {
		return 0
	}
	return strings.Compare(a.String(), b.String())
}
