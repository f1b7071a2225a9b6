package stats

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// How long a window waits for owners to be looked up.
const settleOwners = 15 * time.Millisecond

// speechTime is how long a young flow's ends have to speak for themselves, before anybody is sent to
// look who holds their sockets: most do so within their first microseconds.
const speechTime = 250 * time.Millisecond

// noticeOwners asks early for what the next window will show: a process may end any moment.
func (e *Engine) noticeOwners() {
	if e.config.Owners == nil {
		return
	}
	for i := range e.now.Slots {
		slot := &e.now.Slots[i]
		for int(slot.Index) >= len(e.noticed) {
			e.noticed = append(e.noticed, [2]*model.Process{})
		}
		noticed := &e.noticed[slot.Index]
		for end, process := range slot.Owner {
			if process == nil || process != noticed[end] {
				e.ownerOf(slot, end)
			}
		}
		*noticed = slot.Owner
	}
}

// ownerOf is the owner of an end as far as it is known now.
func (e *Engine) ownerOf(slot *model.Slot, end int) *model.Owner {
	switch process := slot.Owner[end]; {
	case e.config.Owners == nil:
		return nil
	case process != nil:
		return e.config.Owners.Owner(process)
	case e.isYoung(slot):
		return nil
	}
	return e.config.Owners.Holder(&slot.Key, end, slot.CreatedNS)
}

// isYoung reports whether a flow's silent end may yet speak.
func (e *Engine) isYoung(slot *model.Slot) bool {
	if slot.CreatedNS+uint64(speechTime) < e.now.MonoNS || slot.Key.Proto != model.ProtoTCP {
		return false
	}
	_, closed := TCPState(slot.TCPFlags[0], slot.TCPFlags[1], 0, 0)
	return !closed
}
