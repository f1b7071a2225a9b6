package loader

import (
	"fmt"

	"github.com/lotrace/lotrace/internal/model"
)

// MarkForTest and FinishForTest are the two halves of Retire, so that something can come between them.
func MarkForTest(l *Loader, slot *model.Slot) error {
	if !l.table.mark(slot.Index) {
		return fmt.Errorf("slot %d was not live", slot.Index)
	}
	return nil
}

func FinishForTest(l *Loader, slot *model.Slot) error {
	if err := l.table.unlink(slot.Index); err != nil {
		return err
	}
	_, err := l.Retire([]model.Slot{*slot}, nil)
	return err
}
