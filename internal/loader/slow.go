package loader

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/lotrace/lotrace/internal/model"
)

// slowBytes is how much the kernel may tell of slow turns between two readings: 2,520 of them.
const slowBytes = 256 << 10

// slow is the ring buffer of slow turns. What has been read from it is gone.
type slow struct {
	ring   *ringbuf.Reader
	record ringbuf.Record
}

func (l *Loader) openSlow() error {
	ring, err := ringbuf.NewReader(l.coll.Maps["lt_slow_turns"])
	if err != nil {
		return fmt.Errorf("open slow turns: %w", err)
	}
	ring.SetDeadline(time.Unix(0, 0)) // past: nobody waits for what is not there yet
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

const (
	slowSize       = int(unsafe.Sizeof(slowRecord{}))
	ringHeaderSize = 8 // BPF_RINGBUF_HDR_SZ
)

// read appends what was told since it was called last, oldest first. What comes meanwhile is for the next
// call, so that it ends however fast the kernel tells.
func (s *slow) read(into []model.SlowTurn) ([]model.SlowTurn, error) {
	if s == nil {
		return into, nil
	}
	for range s.ring.AvailableBytes() / (ringHeaderSize + slowSize) {
		if err := s.ring.ReadInto(&s.record); err != nil {
			return into, fmt.Errorf("read slow turns: %w", err)
		}
		var record slowRecord
		if copy(unsafe.Slice((*byte)(unsafe.Pointer(&record)), slowSize), s.record.RawSample) != slowSize {
			return into, fmt.Errorf("read slow turns: %d bytes are no record", len(s.record.RawSample))
		}
		into = append(into, decodeSlow(&record))
	}
	return into, nil
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
