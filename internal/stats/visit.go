package stats

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// marks say why a slot is to be visited: a flow that rests has none, and costs no more than to see that.
type marks uint8

const (
	unread  marks = 1 << iota // it has changed since it was visited
	changed                   // it has changed in this window
	// It has changed in the window before: a packet may have been half counted when that ended.
	changedBefore
	hasPlace // for turns or health, where something may come to without a packet
	unnamed  // an end's owner is unknown, and the flow does not rest
)

// askFor is how long after its newest packet owners of a flow are looked for in every reading.
const askFor = 5 * time.Second

// takeChanged takes over which slots a reading found changed, even one that failed: it says so once.
func (e *Engine) takeChanged() {
	for _, i := range e.now.Changed {
		e.marks[i] |= unread | changed
	}
	e.now.Changed = e.now.Changed[:0]
}

// visit goes over the slots of the newest reading that have any of the marks, in the order of their indexes.
func (e *Engine) visit(any marks, do func(*reading.Slot)) {
	for i := range e.now.Slots {
		mark := e.marks[i]
		if mark&(any|unread) == 0 {
			continue
		}
		if e.now.Slots[i].State == reading.SlotFree {
			e.table.free(uint32(i))
			e.marks[i] = 0
			continue
		}
		slot := e.slotAt(uint32(i))
		if mark&unread != 0 {
			e.meet(slot)
		}
		if (mark|e.marks[i])&any != 0 {
			do(slot)
		}
	}
}

// meet takes over what has changed on a slot.
func (e *Engine) meet(slot *reading.Slot) {
	mark := &e.marks[slot.Index]
	*mark &^= unread | hasPlace
	if slot.Exchange != 0 || slot.Health != 0 {
		*mark |= hasPlace
	}
	e.table.put(slot)
	e.tellClient(slot)
}

// restartMarks begins a window: what has counted until now is its base.
func (e *Engine) restartMarks() {
	for i := range e.now.Slots {
		mark := &e.marks[i]
		switch {
		case *mark == 0:
		case *mark&changed != 0:
			count := &e.now.Slots[i]
			e.base[i] = [2]model.Counters{count.Dir[0].Counters, count.Dir[1].Counters}
			*mark = *mark&^changed | changedBefore
		default:
			*mark &^= changedBefore
		}
	}
}
