package reading

import (
	"net/netip"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// Health is what went wrong on one slot, cumulative, as the kernel counts it; by end, [i] is what
// Key.Addr[i], Key.Port[i] did.
type Health struct {
	Refused       uint32 // SYNs that a RST answered
	SYNRetries    uint32
	SYNACKRetries uint32
	End           [2]EndHealth
	Drops         [DropReasons]Drop
	OtherDrops    uint32 // for reasons beyond those
}

// EndHealth is one end's part of a Health.
type EndHealth struct {
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
	Parts   *model.SlowParts // nil: unknown
}
