package loader

import (
	"fmt"
	"sync/atomic"

	"github.com/lotrace/lotrace/internal/reading"
)

// minHealthPlaces is the least number of flows whose health is counted at once, however small the table.
const minHealthPlaces = 1 << 10

// HealthPlaces is of how many flows health is counted at once, in a table of so many: most have
// nothing of it, but a client that is refused and tries again at once has a flow each time.
func HealthPlaces(maxFlows int) int { return max(minHealthPlaces, maxFlows/4) }

// ReadHealth reads what went wrong at a place (reading.Slot.Health), which stays valid until it is
// released.
func (l *Loader) ReadHealth(place uint32, into *reading.Health) {
	from := &l.table.healths.at[place]
	into.Refused = atomic.LoadUint32(&from.Refused)
	into.SYNRetries = atomic.LoadUint32(&from.SynRetries)
	into.SYNACKRetries = atomic.LoadUint32(&from.SynackRetries)
	into.OtherDrops = atomic.LoadUint32(&from.OtherDrops)
	for i := range into.End {
		into.End[i] = reading.EndHealth{
			Resets:        atomic.LoadUint32(&from.Resets[i]),
			Timeouts:      atomic.LoadUint32(&from.Timeouts[i]),
			ZeroWindows:   atomic.LoadUint32(&from.ZeroWindows[i]),
			Stalls:        atomic.LoadUint32(&from.Stalls[i]),
			ClosedSinceNS: atomic.LoadUint64(&from.ClosedSinceNs[i]),
			ClosedNS:      atomic.LoadUint64(&from.ClosedNs[i]),
			StalledNS:     atomic.LoadUint64(&from.StalledNs[i]),
		}
	}
	for i := range into.Drops {
		into.Drops[i] = readDrop(&from.Drops[i])
	}
}

// readDrop reads the number first. The kernel writes the reason first, so there is none without its reason: that would
// be of another one, and again of its own in the next reading.
func readDrop(from *lotraceLtDrop) reading.Drop {
	skbs := atomic.LoadUint32(&from.Skbs)
	return reading.Drop{Reason: atomic.LoadUint32(&from.Reason), SKBs: skbs}
}

// ReleaseHealth gives a place back. Its slot must have been freed.
func (l *Loader) ReleaseHealth(place uint32) error {
	l.table.healths.at[place] = lotraceLtHealth{}
	if err := l.table.healthsFree.Put(nil, place-1); err != nil {
		return fmt.Errorf("give place of health back: %w", err)
	}
	return nil
}
