package stats

import (
	"cmp"
	"slices"

	"github.com/lotrace/lotrace/internal/model"
)

// endedSlot is a flow that has no slot any more; Dir holds the window's part.
type endedSlot struct {
	model.Slot
	ends    ends
	talk    talk
	sockets *sockets // nil: nothing is known of them
}

// byAge returns the places of slots, the oldest first: a part of a flow goes to an older one.
func (e *Engine) byAge(slots []model.Slot) []int {
	e.order = e.order[:0]
	for i := range slots {
		e.order = append(e.order, i)
	}
	slices.SortFunc(e.order, func(i, j int) int { return cmp.Compare(slots[i].CreatedNS, slots[j].CreatedNS) })
	return e.order
}

// endOrphans keeps the window's part of flows whose tuple others took over, as if they were freed: what goes on
// with one of them finds it, whether or not there was time to free it.
func (e *Engine) endOrphans() {
	e.orphans = e.orphans[:0]
	for _, i := range e.census.orphans {
		e.orphans = append(e.orphans, *e.slotAt(i))
	}
	for _, i := range e.byAge(e.orphans) {
		slot := &e.orphans[i]
		e.takePart(slot)
		talk := e.talkOf(slot)
		e.keep(slot, &talk)
	}
}

// keep holds an ended flow's part of the window until the window is shown.
func (e *Engine) keep(slot *model.Slot, talk *talk) {
	if !e.isDue(slot, talk) {
		return
	}
	if older := e.olderPart(slot); older != nil {
		older.merge(slot, e.endsOf(slot), talk)
		return
	}
	if len(e.ended) >= e.config.MaxEnded {
		e.countOnly(slot, talk)
		return
	}
	e.byKey[slot.Key] = len(e.ended)
	e.ended = append(e.ended, endedSlot{*slot, *e.endsOf(slot), *talk, e.queues.of(slot)})
}

// countOnly counts an ended flow for which there is no room as its row would have been counted: not at all if
// the filter leaves it out, and as hidden if it is to be hidden. It is asked about now, for nothing of it will
// be there when the window ends. Owners that are unknown by now are unknown to the filter, as they are in a
// row, though until the window's end they might have become known.
func (e *Engine) countOnly(slot *model.Slot, talk *talk) {
	ends := e.endsOf(slot)
	e.fill(&e.row, slot, ends, e.ownersOf(slot, ends))
	e.addSigns(&e.row, slot, ends, talk)
	sum := sumOf(slot)
	if !e.isShown(&e.row, slot) || sum == (model.Count{}) {
		return
	}
	cut := e.cut["report_full"]
	cut.Add(sum)
	e.cut["report_full"] = cut
}

// olderPart returns the part of the slot's flow that ended in this window; nil: there is none.
func (e *Engine) olderPart(slot *model.Slot) *endedSlot {
	if i, ok := e.byKey[slot.Key]; ok && continues(slot) {
		return &e.ended[i]
	}
	return nil
}

// continues reports whether a slot goes on with an earlier one of its key, rather than being a new
// connection on the same ports.
func continues(slot *model.Slot) bool { return slot.Role != model.SlotRoleSYN }

// merge adds the newer part of a flow to the older one, which alone may have a handshake.
func (to *endedSlot) merge(from *model.Slot, ends *ends, talk *talk) {
	to.talk.add(talk)
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
