package loader

import (
	"sync/atomic"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// read brings r's slots up to date. Where slots are all that is read, it may miss that a flow that rests has a place
// of health now.
func (t *table) read(r *reading.Reading, slotsOnly bool) error {
	r.Changed = r.Changed[:0]
	used, err := t.reach()
	if err != nil {
		return err
	}
	if cap(r.Slots) < used { // all that there may ever be; what is not used takes no memory
		r.Slots = append(make([]reading.SlotCount, 0, len(t.slots.at)), r.Slots...)
	}
	for i := len(r.Slots); i < used; i++ {
		r.Slots = append(r.Slots, reading.SlotCount{Index: uint32(i)})
	}
	t.bringUpToDate(r, slotsOnly)
	return nil
}

func (t *table) bringUpToDate(r *reading.Reading, slotsOnly bool) {
	for i := range r.Slots {
		slot, count := &t.slots.at[i], &r.Slots[i]
		now := reading.SlotCount{Index: uint32(i), State: slot.use(), Health: count.Health}
		if now.State == reading.SlotFree {
			if count.State == reading.SlotFree {
				continue
			}
			now.Health = 0
		} else {
			if !slotsOnly {
				now.Health = place(&t.ends.at[i].Health, t.healths.reached)
			}
			if count.State == now.State && count.Health == now.Health && isCounted(count, slot) {
				continue
			}
			decodeCount(&now, slot)
		}
		r.Counted = r.Counted.Sub(sumOf(count))
		r.Counted.Add(sumOf(&now))
		*count = now
		r.Changed = append(r.Changed, uint32(i))
	}
}

// isCounted reports whether a slot has nothing that is not in count. The counters of another flow may have the same
// sum, but it has sent at another time.
func isCounted(count *reading.SlotCount, slot *lotraceLtSlot) bool {
	return count.Sum == slot.sum() && count.TCPFlags == slot.TcpFlags &&
		count.Dir[0].LastNS == atomic.LoadUint64(&slot.Dir[0].LastNs) &&
		count.Dir[1].LastNS == atomic.LoadUint64(&slot.Dir[1].LastNs)
}

func (slot *lotraceLtSlot) sum() (sum uint64) {
	for i := range slot.Dir {
		dir, unlocked := &slot.Dir[i], &slot.Unlocked[i]
		sum += atomic.LoadUint64(&dir.Packets) + atomic.LoadUint64(&dir.Bytes) + atomic.LoadUint64(&dir.Skbs) +
			atomic.LoadUint64(&dir.PayloadBytes) + uint64(atomic.LoadUint32(&dir.Retransmits)) +
			atomic.LoadUint64(&dir.RetransBytes) +
			atomic.LoadUint64(&unlocked.Packets) + atomic.LoadUint64(&unlocked.Bytes) +
			atomic.LoadUint64(&unlocked.Skbs) + atomic.LoadUint64(&unlocked.PayloadBytes)
	}
	return sum
}

// use is the state of a slot that is of a flow; of another one it is free. One that is being made is live as soon as
// another CPU has counted in it.
func (slot *lotraceLtSlot) use() reading.SlotState {
	switch state := slot.state(); state {
	case reading.SlotLive, reading.SlotOrphan:
		return state
	case reading.SlotFree:
		if atomic.LoadUint32(&slot.Key.Site) != 0 && slot.hasPackets() {
			return reading.SlotLive
		}
	case reading.SlotRetiring:
	}
	return reading.SlotFree
}

func (slot *lotraceLtSlot) hasPackets() bool {
	var count reading.SlotCount
	decodeCount(&count, slot)
	return count.Dir[0].Packets+count.Dir[1].Packets > 0
}

// counted is what all flows have counted so far, those that are over included.
func (t *table) counted() (model.Count, error) {
	sum := t.retired
	used, err := t.reach()
	if err != nil {
		return sum, err
	}
	for i := range used {
		var count reading.SlotCount
		if slot := &t.slots.at[i]; slot.use() != reading.SlotFree {
			decodeCount(&count, slot)
			sum.Add(sumOf(&count))
		}
	}
	return sum, nil
}

// decodeCount reads a slot that the kernel may be writing. Each counter is whole; a packet being counted at this
// moment may be in some of them and not yet in others. Packets are counted first and read last: no bytes are of one
// that is not.
func decodeCount(to *reading.SlotCount, from *lotraceLtSlot) {
	to.TCPFlags = from.TcpFlags
	to.Sum = 0
	for i := range to.Dir {
		dir, unlocked := &from.Dir[i], &from.Unlocked[i]
		to.Dir[i].Counters = model.Counters{
			Bytes:        atomic.LoadUint64(&dir.Bytes) + atomic.LoadUint64(&unlocked.Bytes),
			SKBs:         atomic.LoadUint64(&dir.Skbs) + atomic.LoadUint64(&unlocked.Skbs),
			PayloadBytes: atomic.LoadUint64(&dir.PayloadBytes) + atomic.LoadUint64(&unlocked.PayloadBytes),
			Retransmits:  uint64(atomic.LoadUint32(&dir.Retransmits)),
			RetransBytes: atomic.LoadUint64(&dir.RetransBytes),
			Packets:      atomic.LoadUint64(&dir.Packets) + atomic.LoadUint64(&unlocked.Packets),
		}
		to.Dir[i].LastNS = atomic.LoadUint64(&dir.LastNs)
		c := &to.Dir[i].Counters
		to.Sum += c.Packets + c.Bytes + c.SKBs + c.PayloadBytes + c.Retransmits + c.RetransBytes
	}
}
