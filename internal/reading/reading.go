// Package reading is the contract between the boundary, which reads the kernel, and the engine, which makes windows of
// what was read: raw, cumulative, by index of a slot or by place. Nobody who shows anything needs it.
package reading

import (
	"iter"
	"net/netip"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// SlotState is the life of a flow's slot as a reader meets it; the values are those of
// enum lt_slot_state.
type SlotState uint32

// The states.
const (
	SlotFree SlotState = iota
	SlotLive
	SlotOrphan   // final counts; a newer connection took the tuple over
	SlotRetiring // being read for the last time
)

// SlotRole is what the kernel knows of who is the client; the values are those of enum lt_role.
type SlotRole uint8

// The roles.
const (
	SlotRoleNone  SlotRole = iota // first seen in mid-life
	SlotRoleSYN                   // a SYN or SYN-ACK was seen
	SlotRoleFirst                 // who sent first
	SlotRoleTold                  // none seen; user space said who
)

// Reason is why the handling of a packet ended; the values are those of enum lt_reason.
type Reason int

// The reasons. All but ReasonCounted and ReasonFiltered are overflow: in the totals, in no flow.
const (
	ReasonCounted Reason = iota
	ReasonFiltered
	ReasonTableFull
	ReasonIndexFull
	ReasonIndexRace
	ReasonNotIP
	ReasonTruncated
	ReasonMalformed
	ReasonHeaderChain
	ReasonCount // how many there are
)

// String returns the reason's name in reports.
func (r Reason) String() string {
	names := [ReasonCount]string{
		"counted", "filtered", "table_full", "index_full", "index_race",
		"not_ip", "truncated", "malformed", "header_chain",
	}
	if r < 0 || r >= ReasonCount {
		return "unknown"
	}
	return names[r]
}

// IsOverflow reports whether packets that ended so are in the totals but in no flow.
func (r Reason) IsOverflow() bool { return r != ReasonCounted && r != ReasonFiltered }

// HasKey reports whether the packet's tuple was read before its handling ended.
func (r Reason) HasKey() bool { return r <= ReasonIndexRace }

// SlotKey is a flow's name as the kernel keeps it: IPv4 as v4-mapped IPv6, the smaller
// (address, port) first. It holds no pointer, so tables of it cost the garbage collector nothing.
type SlotKey struct {
	Addr  [2][16]byte
	Port  [2]uint16
	Site  uint32 // Site.Number
	Proto model.Proto
}

// Endpoint returns end i (0 or 1) of the key, IPv4 unmapped.
func (k *SlotKey) Endpoint(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(k.Addr[i]).Unmap(), k.Port[i])
}

// SlotDir is what one end of a slot has sent, cumulative.
type SlotDir struct {
	model.Counters
	LastNS uint64 // CLOCK_MONOTONIC; 0 if nothing was sent
}

// SlotCount is what a slot had counted at the moment of a reading. Dir[i] is what Key.Addr[i],
// Key.Port[i] sent. It holds no pointer.
type SlotCount struct {
	Index    uint32
	State    SlotState
	Health   uint32 // place of what went wrong, from 1; 0: nothing did
	TCPFlags [2]uint8
	Sum      uint64 // of all counters, which only grow
	Dir      [2]SlotDir
}

// LastNS is the time of the newest packet of either direction, CLOCK_MONOTONIC.
func (s *SlotCount) LastNS() uint64 { return max(s.Dir[0].LastNS, s.Dir[1].LastNS) }

// Slot is one flow as the kernel counts it.
type Slot struct {
	SlotCount
	Key         SlotKey
	CreatedNS   uint64 // CLOCK_MONOTONIC of the first packet, as are the three that follow; 0: not yet
	ConnectedNS uint64 // TCP whose SYN was seen: the client's acknowledgement of the SYN-ACK
	AcceptedNS  uint64 // the first sign of a process at the server's socket
	FirstByteNS uint64 // the server's first payload
	Client      uint8  // index of the client end; meaningful unless Role is SlotRoleNone
	Role        SlotRole
	Exchange    uint32           // place of its requests and answers, from 1; 0: it has none
	SRTT        [2]time.Duration // TCP, by end; 0 unknown
	Cwnd        [2]uint32        // TCP, by end, segments; 0 unknown
	Owner       [2]*Process      // who sends as Key.Addr[i], Key.Port[i]; nil: not seen
}

// Reading is everything the kernel side has counted, cumulative, at one moment. Readers reuse it: the next reading
// brings Slots up to date, and overwrites its other slices.
type Reading struct {
	MonoNS  uint64           // CLOCK_MONOTONIC
	Wall    time.Time        // the same moment by the wall clock
	Device  model.DeviceSpan // After: at or after the moment every packet in Slots had reached the device
	Slots   []SlotCount      // by Index, as far as any was ever in use; a free one is zero but for its Index
	Changed []uint32         // of Slots those that are not as they were, in their order, even where reading failed later
	Counted model.Count      // of Slots, all together
	Reasons ReasonCounts
	Ingress *model.Count // nil unless stages are counted

	Unmeasured uint64 // flows whose turns found no place
	Uncounted  uint64 // flows whose health found none
	Samples    model.SampleCounts

	Queues   []Queue    // sockets with something in theirs
	Backlogs []Backlog  // listening TCP sockets, each of those that share a port
	Slow     []SlowTurn // since the reading before, oldest first
	SlowLost uint64     // slow turns that there was no room for
}

// ReasonCounts says how the handling of how many packets ended, by Reason.
type ReasonCounts [ReasonCount]model.Count

// Sum is of all packets.
func (r *ReasonCounts) Sum() model.Count {
	var sum model.Count
	for _, count := range r {
		sum.Add(count)
	}
	return sum
}

// Slot returns what a slot had counted; nil: it was free.
func (r *Reading) Slot(index uint32) *SlotCount {
	if int(index) >= len(r.Slots) || r.Slots[index].State == SlotFree {
		return nil
	}
	return &r.Slots[index]
}

// InUse goes over the slots that were in use.
func (r *Reading) InUse() iter.Seq[*SlotCount] {
	return func(yield func(*SlotCount) bool) {
		for i := range r.Slots {
			if count := &r.Slots[i]; count.State != SlotFree && !yield(count) {
				return
			}
		}
	}
}

// Listener is a socket that waits for others: a listening TCP or an unconnected UDP socket.
type Listener struct {
	Site   uint32 // as in SlotKey
	Proto  model.Proto
	Addr   netip.Addr // unspecified: any address of its family, and IPv4 too unless V6Only
	Port   uint16
	V6Only bool
}
