package stats

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// How long a window waits for owners to be looked up, and then for who took over from those that turned
// out to have ended.
const (
	settleOwners  = 10 * time.Millisecond
	settleHolders = 5 * time.Millisecond
)

// speechTime is how long a young flow's ends have to speak for themselves, before anybody is sent to
// look who holds their sockets: most do so within their first microseconds.
const speechTime = 250 * time.Millisecond

// names is who is behind the ends of flows.
type names struct {
	ends    []ends            // by slot index
	owners  [][2]*model.Owner // of the slots that are due, when a window is shown
	version uint64            // of the owners' answers that are in there

	asking    bool // whether answers about processes are remembered
	processes map[*reading.Process]process
}

// process is what is known of a process in one round of asking.
type process struct {
	owner *model.Owner
	gone  bool
}

// ends is what was found out about a slot's owners beyond what the slot says itself.
type ends struct {
	createdNS uint64              // of the flow that it is about
	firstSeen time.Duration       // createdNS by the wall clock of the moment when it was noticed, since Engine.begun
	steps     uint8               // stepsOf, as far as a row was made
	connected bool                // a row counted its handshake
	judged    reading.SlotRole    // from 1: what the kernel knew when the client was told last; 0: not yet
	waiting   [2]bool             // nobody need have connected or accepted its socket yet
	asked     [2]*reading.Process // who was looked up last
	held      [2]*model.Owner     // who held the socket when somebody looked
}

// endsOf returns what is kept beside the slot, anew if that was about an earlier flow.
func (e *Engine) endsOf(slot *reading.Slot) *ends {
	kept := &e.names.ends[slot.Index]
	if kept.createdNS != slot.CreatedNS {
		*kept = ends{createdNS: slot.CreatedNS, firstSeen: e.wall(slot.CreatedNS).Sub(e.begun)}
	}
	return kept
}

// settle has what the window will show looked up, once more, and waits a moment for it.
func (e *Engine) settle() {
	e.rows.due = e.rows.due[:0]
	e.beginAsking()
	e.visit(changed|changedBefore|hasPlace, func(slot *reading.Slot) {
		e.rows.due = append(e.rows.due, slot.Index)
		e.askOwners(slot)
	})
	defer e.endAsking()
	if e.config.Owners == nil {
		return
	}
	// An owner that turns out to have ended may have left its sockets to another process.
	for _, limit := range []time.Duration{settleOwners, settleHolders} {
		e.config.Owners.Settle(limit)
		if e.config.Owners.Version() != e.names.version {
			e.beginAsking()
			for _, i := range e.rows.due {
				e.askOwners(e.slotAt(i))
			}
		}
	}
}

// beginAsking begins a round, in which each process is asked about once.
func (e *Engine) beginAsking() {
	if e.config.Owners != nil {
		e.names.version = e.config.Owners.Version()
	}
	e.names.owners = e.names.owners[:0]
	e.names.asking = true
	clear(e.names.processes)
}

func (e *Engine) endAsking() { e.names.asking = false }

// askOwners asks who is behind the ends of the next flow that is due.
func (e *Engine) askOwners(slot *reading.Slot) {
	ends := e.endsOf(slot)
	ends.waiting = [2]bool{mayWait(slot, 0), mayWait(slot, 1)}
	ends.asked = slot.Owner
	e.names.owners = append(e.names.owners, e.ownersOf(slot, ends))
}

// process asks about a process.
func (e *Engine) process(p *reading.Process) process {
	if !e.names.asking {
		return e.askProcess(p)
	}
	known, asked := e.names.processes[p]
	if !asked {
		if e.names.processes == nil {
			e.names.processes = make(map[*reading.Process]process)
		}
		known = e.askProcess(p)
		e.names.processes[p] = known
	}
	return known
}

func (e *Engine) askProcess(p *reading.Process) process {
	owner, gone := e.config.Owners.Process(p)
	return process{owner, gone}
}

// isNews reports whether nobody was asked yet who is behind the end, or to no avail.
func isNews(slot *reading.Slot, ends *ends, end int) bool {
	process := slot.Owner[end]
	return process != ends.asked[end] || process == nil && ends.held[end] == nil
}

// noticeOwners asks, early, for those of the owners that the next window will show: a process may end
// any moment.
func (e *Engine) noticeOwners(slot *reading.Slot) {
	if e.config.Owners == nil {
		return
	}
	ends := e.endsOf(slot)
	mark := &e.marks[slot.Index]
	*mark &^= unnamed
	for end := range slot.Owner {
		ends.waiting[end] = mayWait(slot, end)
		if isNews(slot, ends, end) && e.ownerOf(slot, ends, end) == nil && slot.LastNS()+uint64(askFor) > e.now.MonoNS {
			*mark |= unnamed
		}
	}
	ends.asked = slot.Owner
}

func (e *Engine) ownersOf(slot *reading.Slot, ends *ends) [2]*model.Owner {
	return [2]*model.Owner{e.ownerOf(slot, ends, 0), e.ownerOf(slot, ends, 1)}
}

// ownerOf is the owner of an end as far as it is known now. What the socket said in its owner's own
// context comes first. Who was found to hold it counts where it never spoke, and where who spoke
// has ended and left it to another.
func (e *Engine) ownerOf(slot *reading.Slot, ends *ends, end int) *model.Owner {
	if e.config.Owners == nil {
		return nil
	}
	var spoke process
	if slot.Owner[end] != nil {
		if spoke = e.process(slot.Owner[end]); !spoke.gone {
			return spoke.owner
		}
	}
	if e.mayBeHeld(slot) {
		if held := e.config.Owners.Holder(&slot.Key, end, oldest(slot), ends.waiting[end]); held != nil {
			ends.held[end] = held
			return held
		}
	}
	if slot.Owner[end] != nil {
		return spoke.owner
	}
	return ends.held[end]
}

// mayWait reports whether the slot, with all that was counted so far, has no sign that the end's socket
// is connected: for TCP, that somebody has accepted it. What is older than its slot may have shown one
// before.
func mayWait(slot *reading.Slot, end int) bool {
	if slot.Key.Proto != model.ProtoTCP {
		return true
	}
	opened := slot.Role == reading.SlotRoleSYN && int(slot.Client) != end
	spoke := slot.Owner[end] != nil || slot.Dir[end].PayloadBytes > 0 || slot.TCPFlags[end]&model.FlagFIN != 0
	return opened && !spoke
}

// mayBeHeld reports whether somebody can be found who holds the flow's sockets: not when they are
// closed, for then the addresses may be another's, and not while the flow is so young that its ends
// will speak for themselves. Those of older flows may have done so before.
func (e *Engine) mayBeHeld(slot *reading.Slot) bool {
	if slot.State != reading.SlotLive {
		return false
	}
	if slot.Key.Proto != model.ProtoTCP {
		return true
	}
	return !isOver(slot) && oldest(slot)+uint64(speechTime) < e.now.MonoNS
}

// oldest is a time at which the flow already was (CLOCK_MONOTONIC, ns). A connection whose SYN nobody
// saw is older than its slot.
func oldest(slot *reading.Slot) uint64 {
	if slot.Key.Proto == model.ProtoTCP && slot.Role != reading.SlotRoleSYN {
		return 0
	}
	return slot.CreatedNS
}
