package loader

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// slowBytes is how much the kernel may tell of slow turns between two readings: 2,520 of them.
const slowBytes = 256 << 10

// slow is the ring buffer of slow turns. What has been read from it is gone.
type slow struct{ ring *ring }

func (l *Loader) openSlow() error {
	ring, err := openRing(l.coll.Maps["lt_slow_turns"])
	if err != nil {
		return fmt.Errorf("open slow turns: %w", err)
	}
	l.slow = &slow{ring: ring}
	l.onClose(ring.Close)
	return nil
}

// read appends what was told since it was called last, oldest first. What comes meanwhile is for the next
// call, so that it ends however fast the kernel tells.
func (s *slow) read(into []reading.SlowTurn) ([]reading.SlowTurn, error) {
	if s == nil {
		return into, nil
	}
	err := s.ring.read(func(record []byte) error {
		turn, err := decodeSlow(record)
		if err == nil {
			into = append(into, turn)
		}
		return err
	})
	return into, err
}

func decodeSlow(record []byte) (reading.SlowTurn, error) {
	if len(record) != int(unsafe.Sizeof(lotraceLtSlow{})) {
		return reading.SlowTurn{}, fmt.Errorf("read slow turns: %d bytes are no record", len(record))
	}
	from := (*lotraceLtSlow)(unsafe.Pointer(&record[0]))
	turn := reading.SlowTurn{
		Slot:    from.Slot,
		Key:     decodeKey(&from.Key),
		Client:  from.Client,
		AskedNS: from.AskedNs,
		Turn:    time.Duration(from.TurnNs),
	}
	if from.HasBreakdown != 0 {
		turn.Parts = &model.SlowParts{
			Delivery: time.Duration(from.DeliveryNs),
			Wait:     time.Duration(from.WaitNs),
			Think:    time.Duration(from.ThinkNs),
		}
	}
	return turn, nil
}
