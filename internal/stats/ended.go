package stats

import (
	"cmp"
	"slices"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// ended is what the window has of flows that are over before it is.
type ended struct {
	slots    []endedSlot                    // flows whose slot was retired in this window, or taken over by its end
	byKey    map[reading.SlotKey]int        // the newest of slots per key
	silent   map[reading.SlotKey]silentSlot // those of which the window has nothing to say, for FlowOf
	overflow map[string]model.Count         // counted, but past MaxEnded
	orphans  []reading.Slot                 // of the newest reading, while its window is made
	order    []int                          // what byAge returned last
}

func newEnded() ended {
	return ended{
		byKey: make(map[reading.SlotKey]int), silent: make(map[reading.SlotKey]silentSlot),
		overflow: make(map[string]model.Count),
	}
}

func (e *ended) reset() {
	e.slots = e.slots[:0]
	clear(e.byKey)
	clear(e.silent)
	clear(e.overflow)
}

// silentSlot is a flow that has no slot any more, and nothing in the window.
type silentSlot struct {
	slot reading.Slot
	ends ends
}

// endedSlot is a flow that has no slot any more; Dir holds what came in the window.
type endedSlot struct {
	reading.Slot
	ends    ends
	tally   model.Tally // but for what Dir holds
	sockets *sockets    // nil: nothing is known of them
}

// byAge returns the places of slots, the oldest first: a flow's later slot goes on with its earlier one.
func (e *Engine) byAge(slots []reading.Slot) []int {
	e.ended.order = e.ended.order[:0]
	for i := range slots {
		e.ended.order = append(e.ended.order, i)
	}
	slices.SortFunc(e.ended.order, func(i, j int) int { return cmp.Compare(slots[i].CreatedNS, slots[j].CreatedNS) })
	return e.ended.order
}

// endOrphans keeps what came in the window of flows whose tuple others took over, as if they were retired: what goes
// on with one of them finds it, whether or not there was time to retire it.
func (e *Engine) endOrphans() {
	e.ended.orphans = e.ended.orphans[:0]
	for _, i := range e.rows.due {
		if e.now.Slots[i].State == reading.SlotOrphan {
			e.ended.orphans = append(e.ended.orphans, *e.slotAt(i))
		}
	}
	for _, i := range e.byAge(e.ended.orphans) {
		slot := &e.ended.orphans[i]
		e.subtractBase(slot)
		tally := e.tallyOf(slot)
		e.keep(slot, &tally)
	}
}

// keep holds what came of an ended flow in the window until the window is shown.
func (e *Engine) keep(slot *reading.Slot, tally *model.Tally) {
	ends := e.endsOf(slot)
	if !isDue(slot, ends, tally) {
		if e.config.Samples && len(e.ended.silent) < e.config.MaxEnded {
			e.ended.silent[slot.Key] = silentSlot{*slot, *ends}
		}
		return
	}
	ends.steps = stepsOf(slot)
	if older := e.earlier(slot); older != nil {
		older.merge(slot, ends, tally)
		return
	}
	if len(e.ended.slots) >= e.config.MaxEnded {
		e.countOnly(slot, tally)
		return
	}
	e.ended.byKey[slot.Key] = len(e.ended.slots)
	e.ended.slots = append(e.ended.slots, endedSlot{*slot, *ends, *tally, e.queues.of(slot)})
	ends.connected = slot.ConnectedNS != 0 // the row is made of the copy, and an orphan keeps its slot
}

// countOnly counts an ended flow for which there is no room as its row would have been counted: not at all if
// the filter leaves it out, and as hidden if it is to be hidden. It is asked about now, for nothing of it will
// be there when the window ends. Owners that are unknown by now are unknown to the filter, as they are in a
// row, though until the window's end they might have become known.
func (e *Engine) countOnly(slot *reading.Slot, tally *model.Tally) {
	ends := e.endsOf(slot)
	e.fill(&e.rows.next, slot, ends, e.ownersOf(slot, ends))
	e.addTally(&e.rows.next, slot, ends, tally)
	sum := sumOf(slot)
	if !e.isShown(&e.rows.next, slot) || sum == (model.Count{}) {
		return
	}
	all := e.ended.overflow[model.ReportFull]
	all.Add(sum)
	e.ended.overflow[model.ReportFull] = all
}

// earlier returns the slot that the flow had earlier in this window; nil: none.
func (e *Engine) earlier(slot *reading.Slot) *endedSlot {
	if i, ok := e.ended.byKey[slot.Key]; ok && continues(slot) {
		return &e.ended.slots[i]
	}
	return nil
}

// continues reports whether a slot goes on with an earlier one of its key, rather than being a new
// connection on the same ports.
func continues(slot *reading.Slot) bool { return slot.Role != reading.SlotRoleSYN }

// merge adds a flow's later slot to its earlier one, which alone may have a handshake.
func (to *endedSlot) merge(from *reading.Slot, ends *ends, tally *model.Tally) {
	to.tally.Add(tally)
	for i := range to.Dir {
		to.Dir[i].Counters.Add(from.Dir[i].Counters)
		to.TCPFlags[i] |= from.TCPFlags[i]
		if from.Dir[i].LastNS > to.Dir[i].LastNS {
			to.Dir[i].LastNS = from.Dir[i].LastNS
			to.SRTT[i], to.Cwnd[i] = from.SRTT[i], from.Cwnd[i]
		}
		if from.Owner[i] != nil {
			to.Owner[i] = from.Owner[i]
		}
		if ends.held[i] != nil {
			to.ends.held[i] = ends.held[i]
		}
	}
}
