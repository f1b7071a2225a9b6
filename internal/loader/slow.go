package loader

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/lotrace/lotrace/internal/model"
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

// slowRecord is struct lt_slow, which the generator cannot see: no map holds it.
type slowRecord struct {
	Key                         lotraceLtKey
	Slot                        uint32
	Client, HasBreakdown        uint8
	_                           [6]uint8
	AskedNS, TurnNS             uint64
	DeliveryNS, WaitNS, ThinkNS uint64
}

const slowSize = int(unsafe.Sizeof(slowRecord{}))

// read appends what was told since it was called last, oldest first. What comes meanwhile is for the next
// call, so that it ends however fast the kernel tells.
func (s *slow) read(into []model.SlowTurn) ([]model.SlowTurn, error) {
	if s == nil {
		return into, nil
	}
	err := s.ring.read(func(record []byte) error {
		if len(record) != slowSize {
			return fmt.Errorf("read slow turns: %d bytes are no record", len(record))
		}
		into = append(into, decodeSlow((*slowRecord)(unsafe.Pointer(&record[0]))))
		return nil
	})
	return into, err
}

func decodeSlow(from *slowRecord) model.SlowTurn {
	turn := model.SlowTurn{
		Slot:    from.Slot,
		Key:     decodeKey(&from.Key),
		Client:  from.Client,
		AskedNS: from.AskedNS,
		Turn:    time.Duration(from.TurnNS),
	}
	if from.HasBreakdown != 0 {
		turn.Parts = &model.SlowParts{
			Delivery: time.Duration(from.DeliveryNS),
			Wait:     time.Duration(from.WaitNS),
			Think:    time.Duration(from.ThinkNS),
		}
	}
	return turn
}
