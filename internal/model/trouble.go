package model

import (
	"net/netip"
	"time"
)

// Trouble is what went wrong on one slot, cumulative, as the kernel counts it; by end, [i] is what
// Key.Addr[i], Key.Port[i] did.
type Trouble struct {
	Refused       uint32 // SYNs that a RST answered
	SYNRetries    uint32
	SYNACKRetries uint32
	End           [2]EndTrouble
	Drops         [DropReasons]Drop
	OtherDrops    uint32 // for reasons beyond those
}

// EndTrouble is one end's part of a Trouble.
type EndTrouble struct {
	Resets        uint32 // RSTs of an established connection that this end sent
	Timeouts      uint32 // retransmissions that the timer asked for (RTO, RFC 6298)
	ZeroWindows   uint32 // how often its receive window closed
	Stalls        uint32 // how often its data waited for a delayed acknowledgement
	ClosedSinceNS uint64 // CLOCK_MONOTONIC; 0: its window is open
	ClosedNS      uint64 // how long its window was closed before that
	StalledNS     uint64 // how long its data waited
}

// DropReasons is how many reasons are kept apart for one flow.
const DropReasons = 4

// Drop is skbs that the kernel dropped for one reason; SKBs is 0 in a free one.
type Drop struct {
	Reason uint32 // enum skb_drop_reason of the running kernel
	SKBs   uint32
}

// Breakdown is where the time of turns went: Delivery, Wait and Think add up to the turns' sum. The zero
// value is none.
type Breakdown struct {
	Turns     uint64        // of which it is known
	Delivered uint64        // of these, turns whose Delivery is known; of the others it is part of Wait
	Delivery  time.Duration // sum: from a request's last payload to the server's socket
	Wait      time.Duration // sum: from there until the server's process read it
	Think     time.Duration // sum: from there to the first payload of the answer
	Backs     uint64        // answers of which Back is known
	Back      time.Duration // sum: from there until the client's process read it; after the turn
}

// Add adds o to b.
func (b *Breakdown) Add(o *Breakdown) {
	b.Turns += o.Turns
	b.Delivered += o.Delivered
	b.Delivery += o.Delivery
	b.Wait += o.Wait
	b.Think += o.Think
	b.Backs += o.Backs
	b.Back += o.Back
}

// Sub returns b less o; both cumulative, o the older.
func (b Breakdown) Sub(o *Breakdown) Breakdown {
	return Breakdown{
		Turns:     b.Turns - o.Turns,
		Delivered: b.Delivered - o.Delivered,
		Delivery:  b.Delivery - o.Delivery,
		Wait:      b.Wait - o.Wait,
		Think:     b.Think - o.Think,
		Backs:     b.Backs - o.Backs,
		Back:      b.Back - o.Back,
	}
}

// Queue is what one socket of a slot has in its queues, at the moment of a reading. Sockets with nothing
// to say have none.
type Queue struct {
	Slot       uint32 // Slot.Index
	End        uint8  // of the slot's key
	Receive    uint32 // bytes that its process has not read; UDP: the memory that they take
	Send       uint32 // TCP: bytes that the other side has not acknowledged
	OutOfOrder uint32 // TCP segments received out of order, cumulative (modulo 2^32)
	Drops      uint32 // UDP datagrams that found no room in its receive buffer, cumulative
}

// Backlog is the connections that wait for one listening TCP socket to accept them, at the moment of a
// reading. It is full when Length is above Limit.
type Backlog struct {
	Site   uint32     // as in SlotKey
	Addr   netip.Addr // as in Listener
	Port   uint16
	V6Only bool
	Length uint32
	Limit  uint32
	Drops  uint64 // attempts that it dropped, cumulative (modulo 2^32): nearly always because it was full
}

// SlowTurn is one turn that took longer than was asked for, as the kernel tells it.
type SlowTurn struct {
	Slot    uint32 // Slot.Index at that time
	Key     SlotKey
	Client  uint8  // index of the client end
	AskedNS uint64 // CLOCK_MONOTONIC of the request's newest payload
	Turn    time.Duration
	Parts   *SlowParts // nil: unknown
}

// SlowParts is where the time of one slow turn went; the sum is the turn.
type SlowParts struct{ Delivery, Wait, Think time.Duration }
