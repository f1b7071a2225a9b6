package stats

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// quietness is what says how long a quiet flow keeps its slot.
type quietness uint8

const (
	isFree quietness = iota
	isOrphan
	isClosed
	isIdleTCP
	isIdle
)

// patience is how long a quiet flow keeps its slot. The second column holds while the table, or the places for
// turns or for health, are more than half taken: room for new flows is worth more than a row that nothing happens on,
// and an old flow that speaks again gets a new slot and, within one window, the same row.
var patience = [...][2]time.Duration{
	isClosed:  {time.Second, 100 * time.Millisecond},
	isIdleTCP: {time.Hour, 30 * time.Second},
	isIdle:    {time.Minute, 3 * time.Second},
}

// maxRetire bounds the work of one sweep.
const maxRetire = 1 << 15

// table is what the slots take, and which of them may be retired, as far as they were read.
type table struct {
	slots                    []tableSlot // by index
	taken, exchanges, health int         // slots, and places
	over                     []uint32    // that retirable returned last
}

type tableSlot struct {
	lastNS           uint64
	quietness        quietness
	exchange, health bool
}

// put takes a slot over as it was read.
func (t *table) put(slot *reading.Slot) {
	kept := &t.slots[slot.Index]
	t.count(kept, -1)
	*kept = tableSlot{slot.LastNS(), quietnessOf(slot), slot.Exchange != 0, slot.Health != 0}
	t.count(kept, 1)
}

// free takes over that a slot is free.
func (t *table) free(index uint32) {
	t.count(&t.slots[index], -1)
	t.slots[index] = tableSlot{}
}

func (t *table) count(slot *tableSlot, n int) {
	if slot.quietness != isFree {
		t.taken += n
	}
	if slot.exchange {
		t.exchanges += n
	}
	if slot.health {
		t.health += n
	}
}

// retirable returns the slots that may be retired at now (CLOCK_MONOTONIC, ns), valid until the next call.
func (t *table) retirable(config *Config, now uint64) []uint32 {
	pressure := 0
	if t.isUnderPressure(config) {
		pressure = 1
	}
	t.over = t.over[:0]
	for i := range t.slots {
		slot := &t.slots[i]
		if slot.quietness == isFree {
			continue
		}
		quiet := slot.lastNS < now && now-slot.lastNS > uint64(patience[slot.quietness][pressure])
		if quiet || slot.quietness == isOrphan {
			if t.over = append(t.over, uint32(i)); len(t.over) == maxRetire {
				break
			}
		}
	}
	return t.over
}

// isUnderPressure reports whether the table, or the places for turns or for health, are more than half
// taken.
func (t *table) isUnderPressure(config *Config) bool {
	return t.taken > config.MaxFlows/2 ||
		config.Exchanges > 0 && t.exchanges > config.Exchanges/2 || config.HealthPlaces > 0 && t.health > config.HealthPlaces/2
}

func quietnessOf(slot *reading.Slot) quietness {
	switch {
	case slot.State == reading.SlotOrphan:
		return isOrphan
	case slot.Key.Proto != model.ProtoTCP:
		return isIdle
	case isOver(slot):
		return isClosed
	default:
		return isIdleTCP
	}
}
