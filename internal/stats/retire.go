package stats

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// How long a quiet flow keeps its slot. The second column holds while the table, or the places for
// turns or for health, are more than half taken: room for new flows is worth more than a row that nothing happens on,
// and an old flow that speaks again gets a new slot and, within one window, the same row.
var patience = struct{ closed, idleTCP, idle [2]time.Duration }{
	closed:  [2]time.Duration{time.Second, 100 * time.Millisecond},
	idleTCP: [2]time.Duration{time.Hour, 30 * time.Second},
	idle:    [2]time.Duration{time.Minute, 3 * time.Second},
}

// maxRetire bounds the work of one sweep.
const maxRetire = 1 << 15

// census is what a reading's slots take, and which of them may be freed.
type census struct {
	slots, exchanges, healths int
	over                      [2][]uint32 // without and with pressure
	orphans                   []int       // places in the reading
}

func (c *census) reset() {
	*c = census{over: [2][]uint32{c.over[0][:0], c.over[1][:0]}, orphans: c.orphans[:0]}
}

// add looks at a slot, the reading's i-th, as it is at now (CLOCK_MONOTONIC, ns).
func (c *census) add(slot *reading.Slot, i int, now uint64) {
	c.slots++
	if slot.State == reading.SlotOrphan {
		c.orphans = append(c.orphans, i)
	}
	if slot.Exchange != 0 {
		c.exchanges++
	}
	if slot.Health != 0 {
		c.healths++
	}
	last := slot.LastNS()
	for pressure, over := range c.over {
		quiet := last < now && now-last > uint64(patienceWith(slot, pressure))
		if (quiet || slot.State == reading.SlotOrphan) && len(over) < maxRetire {
			c.over[pressure] = append(over, slot.Index)
		}
	}
}

// retirable is the slots that may be freed.
func (c *census) retirable(config *Config) []uint32 {
	if c.underPressure(config) {
		return c.over[1]
	}
	return c.over[0]
}

// underPressure reports whether the table, or the places for turns or for health, are more than half
// taken.
func (c *census) underPressure(config *Config) bool {
	return c.slots > config.MaxFlows/2 ||
		config.Exchanges > 0 && c.exchanges > config.Exchanges/2 || config.HealthPlaces > 0 && c.healths > config.HealthPlaces/2
}

func patienceWith(slot *reading.Slot, pressure int) time.Duration {
	switch {
	case slot.Key.Proto != model.ProtoTCP:
		return patience.idle[pressure]
	case isOver(slot):
		return patience.closed[pressure]
	default:
		return patience.idleTCP[pressure]
	}
}
