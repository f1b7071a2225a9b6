package loader

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

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

// NextSeqForTest is the sequence number behind what an end of a slot has sent.
func NextSeqForTest(l *Loader, index uint32, end int) uint32 {
	return l.table.slots.at[index].Dir[end].NextSeq
}

// flowForTest is all that two loaders should agree on of a flow that both have seen.
type flowForTest struct {
	Slot     lotraceLtSlot
	Life     lotraceLtLife
	Exchange lotraceLtExchange
	Health   lotraceLtHealth
}

// DiffForTest says in what the slots of two loaders differ that saw the same packets. Round trips and windows may be three
// packets apart. Times are equal if TCP took them, and else as far apart as the two programs ran.
func DiffForTest(a, b *Loader) (string, error) {
	flows, err := a.table.flowsForTest()
	if err != nil {
		return "", err
	}
	others, err := b.table.flowsForTest()
	if err != nil {
		return "", err
	}
	for i := range min(len(flows), len(others)) {
		flows[i].level(&others[i])
	}
	return cmp.Diff(others, flows), nil
}

func (t *table) flowsForTest() (flows []flowForTest, err error) {
	used, err := t.reach()
	if err != nil {
		return nil, err
	}
	for i := range used {
		slot := &t.slots.at[i]
		if slot.use() == reading.SlotFree {
			continue
		}
		f := flowForTest{Slot: *slot, Life: t.ends.at[i]}
		if p := place(&slot.Exchange, t.exchanges.reached); p > 0 {
			f.Exchange = t.exchanges.at[p]
		}
		if p := place(&f.Life.Health, t.healths.reached); p > 0 {
			f.Health = t.healths.at[p]
		}
		f.Slot.State = uint32(slot.state())
		f.Slot.Exchange, f.Life.Health = min(1, slot.Exchange), min(1, f.Life.Health)
		flows = append(flows, f)
	}
	slices.SortFunc(flows, func(a, b flowForTest) int {
		return bytes.Compare(fmt.Append(nil, a.Slot.Key, a.Slot.State), fmt.Append(nil, b.Slot.Key, b.Slot.State))
	})
	return flows, nil
}

// level makes equal what need not be.
func (f *flowForTest) level(o *flowForTest) {
	times := [][2]*uint64{{&f.Life.CreatedNs, &o.Life.CreatedNs}, {&f.Life.AcceptedNs, &o.Life.AcceptedNs}}
	for i := range f.Slot.Dir {
		d, e := &f.Slot.Dir[i], &o.Slot.Dir[i]
		if (d.SrttUs8 == 0) == (e.SrttUs8 == 0) {
			d.SrttUs8, d.Cwnd, e.SrttUs8, e.Cwnd = 0, 0, 0, 0
		}
		times = append(times, [2]*uint64{&d.LastNs, &e.LastNs},
			[2]*uint64{&f.Health.ClosedNs[i], &o.Health.ClosedNs[i]},
			[2]*uint64{&f.Health.ClosedSinceNs[i], &o.Health.ClosedSinceNs[i]})
	}
	for _, t := range times {
		if apart := int64(*t[0] - *t[1]); apart > -int64(time.Second) && apart < int64(time.Second) {
			*t[0], *t[1] = 0, 0
		}
	}
}
