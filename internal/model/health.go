package model

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Health is what went wrong on a flow, or on all flows of a row, in one window. A nil *Health is one
// without anything to tell.
type Health struct {
	Refused       uint64 // SYNs that a RST answered
	SYNRetries    uint64
	SYNACKRetries uint64
	Client        EndHealth
	Server        EndHealth
	Drops         []DropCount // by reason, in the order of their names
	Lost          uint64      // skbs of Drops that nobody sends again: not TCP's
}

// EndHealth is one end's part of a Health.
type EndHealth struct {
	Resets       uint64        // RSTs of an established connection that this end sent
	Timeouts     uint64        // retransmissions that its timer asked for (RTO, RFC 6298)
	OutOfOrder   uint64        // TCP segments that reached it out of order
	SocketDrops  uint64        // datagrams that found no room in its socket, whoever sent them
	ZeroWindows  uint64        // how often its receive window closed
	ZeroWindow   time.Duration // how long it was closed, until now if it still is
	Stalls       uint64        // how often its data waited for a delayed acknowledgement (Nagle)
	Stalled      time.Duration // how long, in all
	ReceiveQueue uint64        // bytes that its process has not read, at the window's end
	SendQueue    uint64        // bytes that the other side has not acknowledged, at the window's end
}

// DropCount is skbs that the kernel dropped for one reason.
type DropCount struct {
	Reason string
	SKBs   uint64
}

// Errors is how often somebody did not get what was asked for: refused connections, resets, and lost
// datagrams, which both the kernel and their socket may have counted.
func (h *Health) Errors() uint64 {
	if h == nil {
		return 0
	}
	return h.Refused + h.Client.Resets + h.Server.Resets + max(h.Lost, h.Client.SocketDrops+h.Server.SocketDrops)
}

// Add adds o, which may be nil, to h.
func (h *Health) Add(o *Health) {
	if o == nil {
		return
	}
	h.Refused += o.Refused
	h.SYNRetries += o.SYNRetries
	h.SYNACKRetries += o.SYNACKRetries
	h.Client.Add(&o.Client)
	h.Server.Add(&o.Server)
	h.Lost += o.Lost
	for _, d := range o.Drops {
		h.Drop(d.Reason, d.SKBs)
	}
}

// Add adds o to e.
func (e *EndHealth) Add(o *EndHealth) {
	e.Resets += o.Resets
	e.Timeouts += o.Timeouts
	e.OutOfOrder += o.OutOfOrder
	e.SocketDrops += o.SocketDrops
	e.ZeroWindows += o.ZeroWindows
	e.ZeroWindow += o.ZeroWindow
	e.Stalls += o.Stalls
	e.Stalled += o.Stalled
	e.ReceiveQueue += o.ReceiveQueue
	e.SendQueue += o.SendQueue
}

// Clone returns a Health that shares nothing with h; nil of nil.
func (h *Health) Clone() *Health {
	if h == nil {
		return nil
	}
	c := *h
	c.Drops = slices.Clone(h.Drops)
	return &c
}

// Drop adds skbs to those dropped for the reason.
func (h *Health) Drop(reason string, skbs uint64) {
	i, known := slices.BinarySearchFunc(h.Drops, reason, func(d DropCount, reason string) int {
		return strings.Compare(d.Reason, reason)
	})
	if !known {
		h.Drops = slices.Insert(h.Drops, i, DropCount{Reason: reason})
	}
	h.Drops[i].SKBs += skbs
}

// IsZero reports whether there is nothing to tell.
func (h *Health) IsZero() bool {
	return h.Refused == 0 && h.SYNRetries == 0 && h.SYNACKRetries == 0 && len(h.Drops) == 0 &&
		h.Client == EndHealth{} && h.Server == EndHealth{}
}

// AcceptQueue is the connections that wait for the sockets that listen at one place to accept them, at the
// window's end, and those that found no room during the window.
type AcceptQueue struct {
	ListenKey
	Length    uint32
	Limit     uint32
	Overflows uint64
}

// Listening is the queues of all sockets that listen at a window's end, by port.
type Listening map[uint16][]*AcceptQueue

// Add adds a queue.
func (l Listening) Add(q *AcceptQueue) { l[q.Port] = append(l[q.Port], q) }

// At returns the queue of the sockets at that very place; nil if there are none.
func (l Listening) At(key ListenKey) *AcceptQueue {
	for _, queue := range l[key.Port] {
		if queue.ListenKey == key {
			return queue
		}
	}
	return nil
}

// Of returns the queue of the sockets that listen for the server, the closest match as the kernel has it; nil
// if none is known to.
func (l Listening) Of(site uint32, server netip.AddrPort) *AcceptQueue {
	var found *AcceptQueue
	best := 0
	for _, queue := range l[server.Port()] {
		if match := queue.Match(site, server.Addr()); match > best {
			found, best = queue, match
		}
	}
	return found
}

// ListenKey is where sockets listen. Several may do so at one place, and share the work.
type ListenKey struct {
	Site   uint32
	Addr   netip.Addr // unspecified: any address of its family, and IPv4 too unless V6Only
	Port   uint16
	V6Only bool
}

// Match is how closely a socket that listens there fits an address, as the kernel has it; 0: not at all.
func (l *ListenKey) Match(site uint32, addr netip.Addr) int {
	sameFamily := l.Addr.Is4() == addr.Is4()
	switch {
	case l.Site != site:
		return 0
	case l.Addr == addr:
		return 3
	case l.Addr.IsUnspecified() && sameFamily:
		return 2
	case l.Addr.IsUnspecified() && l.Addr.Is6() && !l.V6Only:
		return 1
	}
	return 0
}
