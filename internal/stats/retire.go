package stats

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// How long a quiet flow keeps its slot. The second column holds while the table, or the places for
// turns or for troubles, are more than half taken: room for new flows is worth more than a row that nothing happens on,
// and an old flow that speaks again gets a new slot and, within one window, the same row.
var patience = struct{ closed, idleTCP, idle [2]time.Duration }{
	closed:  [2]time.Duration{time.Second, 100 * time.Millisecond},
	idleTCP: [2]time.Duration{time.Hour, 30 * time.Second},
	idle:    [2]time.Duration{time.Minute, 3 * time.Second},
}

// maxRetire bounds the work of one sweep.
const maxRetire = 1 << 15

// retirable appends to into the slots that may be freed at now (CLOCK_MONOTONIC, ns).
func retirable(into, slots []model.Slot, now uint64, c Config) []model.Slot {
	pressure := 0
	if underPressure(slots, c) {
		pressure = 1
	}
	for i := range slots {
		slot := &slots[i]
		if len(into) == maxRetire {
			break
		}
		last := slot.LastNS()
		if slot.State == model.SlotOrphan || last < now && now-last > uint64(patienceWith(slot, pressure)) {
			into = append(into, *slot)
		}
	}
	return into
}

// underPressure reports whether the table, or the places for turns or for troubles, are more than half
// taken.
func underPressure(slots []model.Slot, c Config) bool {
	if len(slots) > c.MaxFlows/2 {
		return true
	}
	exchanges, troubles := 0, 0
	for i := range slots {
		if slots[i].Exchange != 0 {
			exchanges++
		}
		if slots[i].Trouble != 0 {
			troubles++
		}
	}
	return c.Exchanges > 0 && exchanges > c.Exchanges/2 || c.Troubles > 0 && troubles > c.Troubles/2
}

func patienceWith(slot *model.Slot, pressure int) time.Duration {
	if slot.Key.Proto != model.ProtoTCP {
		return patience.idle[pressure]
	}
	if _, closed := TCPState(slot.TCPFlags[0], slot.TCPFlags[1], 0, 0); closed {
		return patience.closed[pressure]
	}
	return patience.idleTCP[pressure]
}
