package loader

import (
	"fmt"

	"github.com/lotrace/lotrace/internal/reading"
)

// MarkForTest and FinishForTest are the two halves of Retire, so that something can come between them.
func MarkForTest(l *Loader, slot *reading.Slot) error {
	if !l.table.mark(slot.Index) {
		return fmt.Errorf("slot %d was not live", slot.Index)
	}
	return nil
}

func FinishForTest(l *Loader, slot *reading.Slot) error {
	if err := l.table.unlink(slot.Index); err != nil {
		return err
	}
	_, err := l.Retire([]uint32{slot.Index}, nil)
	return err
}

// SlotsForTest is all that there is to say of the slots of the newest reading.
func SlotsForTest(l *Loader, r *reading.Reading) []reading.Slot { return l.table.slotsOf(r) }

func (t *table) slotsOf(r *reading.Reading) (slots []reading.Slot) {
	for count := range r.InUse() {
		slots = append(slots, reading.Slot{SlotCount: *count})
		t.readSlot(&slots[len(slots)-1])
	}
	return slots
}

// BreakWalksForTest makes all walks over sockets fail from now on.
func BreakWalksForTest(l *Loader) error {
	for i := range l.queues.walks {
		if err := l.queues.walks[i].iter.Close(); err != nil {
			return err
		}
	}
	return nil
}
