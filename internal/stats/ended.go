package stats

import (
	"cmp"
	"slices"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// parts is what the window has of flows that are over before it is.
type parts struct {
	ended   []endedSlot                    // flows whose slot was freed in this window, or taken over by its end
	byKey   map[reading.SlotKey]int        // the newest of ended per key
	silent  map[reading.SlotKey]silentSlot // those of which the window has nothing to say, for FlowOf
	cut     map[string]model.Count         // counted, but past MaxEnded
	orphans []reading.Slot                 // of the newest reading, while its window is made
	order   []int                          // what byAge returned last
}

// silentSlot is a flow that has no slot any more, and no part of the window.
type silentSlot struct {
	slot reading.Slot
	ends ends
}

// endedSlot is a flow that has no slot any more; Dir holds the window's part.
type endedSlot struct {
	reading.Slot
	ends    ends
	tally   model.Tally // but for what Dir holds
	sockets *sockets    // nil: nothing is known of them
}

// byAge returns the places of slots, the oldest first: a part of a flow goes to an older one.
func (e *Engine) byAge(slots []reading.Slot) []int {
	e.parts.order = e.parts.order[:0]
	for i := range slots {
		e.parts.order = append(e.parts.order, i)
	}
	slices.SortFunc(e.parts.order, func(i, j int) int { return cmp.Compare(slots[i].CreatedNS, slots[j].CreatedNS) })
	return e.parts.order
}

// endOrphans keeps the window's part of flows whose tuple others took over, as if they were freed: what goes on
// with one of them finds it, whether or not there was time to free it.
func (e *Engine) endOrphans() {
	e.parts.orphans = e.parts.orphans[:0]
	for _, i := range e.census.orphans {
		e.parts.orphans = append(e.parts.orphans, *e.slotAt(i))
	}
	for _, i := range e.byAge(e.parts.orphans) {
		slot := &e.parts.orphans[i]
		e.takePart(slot)
		tally := e.tallyOf(slot)
		e.keep(slot, &tally)
	}
}

// keep holds an ended flow's part of the window until the window is shown.
func (e *Engine) keep(slot *reading.Slot, tally *model.Tally) {
	ends := e.endsOf(slot)
	if !isDue(slot, ends, tally) {
		if e.config.Samples && len(e.parts.silent) < e.config.MaxEnded {
			e.parts.silent[slot.Key] = silentSlot{*slot, *ends}
		}
		return
	}
	ends.steps = stepsOf(slot)
	if older := e.olderPart(slot); older != nil {
		older.merge(slot, ends, tally)
		return
	}
	if len(e.parts.ended) >= e.config.MaxEnded {
		e.countOnly(slot, tally)
		return
	}
	e.parts.byKey[slot.Key] = len(e.parts.ended)
	e.parts.ended = append(e.parts.ended, endedSlot{*slot, *ends, *tally, e.queues.of(slot)})
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
	cut := e.parts.cut[model.ReportFull]
	cut.Add(sum)
	e.parts.cut[model.ReportFull] = cut
}

// olderPart returns the part of the slot's flow that ended in this window; nil: there is none.
func (e *Engine) olderPart(slot *reading.Slot) *endedSlot {
	if i, ok := e.parts.byKey[slot.Key]; ok && continues(slot) {
		return &e.parts.ended[i]
	}
	return nil
}

// continues reports whether a slot goes on with an earlier one of its key, rather than being a new
// connection on the same ports.
func continues(slot *reading.Slot) bool { return slot.Role != reading.SlotRoleSYN }

// merge adds the newer part of a flow to the older one, which alone may have a handshake.
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
