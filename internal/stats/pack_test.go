package stats

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lotrace/lotrace/internal/model"
)

// A packed window stays as it is while the next one is counted and made, histograms included.
func TestPackedWindowStays(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{Pack: true})
	slot := s.open(0, 40000, model.ProtoTCP, model.SlotRoleSYN)
	x := s.talk(slot, 1)
	for i := range 4 {
		s.answer(x, time.Duration(i+1)*time.Millisecond, time.Second)
		s.packet(slot, 1, flagACK)
		kept := window(t, e)
		if kept.Packed.Len() != 1 || kept.Packed.At(0).Turn.Max != time.Duration(i+1)*time.Millisecond {
			t.Fatalf("window %d: %d flows", i, kept.Packed.Len())
		}
		was := kept.Packed.Clone()

		s.answer(x, 100*time.Millisecond, time.Second)
		s.packet(slot, 0, flagACK)
		if err := e.Sweep(); err != nil {
			t.Fatal(err)
		}
		s.answer(x, 100*time.Millisecond, time.Second)
		next := window(t, e)
		if diff := cmp.Diff(was.At(0), kept.Packed.At(0), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("window %d changed:\n%s", i, diff)
		}
		if next.Packed.At(0).Turn.Count != 2 {
			t.Errorf("%d turns in the next window", next.Packed.At(0).Turn.Count)
		}
	}
}

// What is packed is what would not be: the same rows and totals.
func TestPackedWindowIsTheSame(t *testing.T) {
	windows := func(pack bool) (all []*model.Snapshot, flows [][]model.Flow) {
		s := newFakeSource()
		e := start(t, s, Config{Pack: pack, Hide: func(f *model.Flow) bool { return f.Client.Port == 40002 }})
		for port := range uint16(3) {
			slot := s.open(uint32(port), 40000+port, model.ProtoTCP, model.SlotRoleSYN)
			x := s.talk(slot, uint32(port)+1)
			s.answer(x, time.Duration(port+1)*time.Millisecond, time.Second)
			s.packet(slot, 1, flagSYN)
		}
		for range 2 {
			s.packet(s.slots[1], 0, flagRST)
			s.pass(2 * time.Second)
			sweep(t, e)
			w := window(t, e)
			var rows []model.Flow
			for f := range w.All() {
				row := *f
				row.Turn.Histogram, row.Response.Histogram = slices.Clone(f.Turn.Histogram), slices.Clone(f.Response.Histogram)
				rows = append(rows, row)
			}
			all, flows = append(all, w), append(flows, rows)
			w.Flows, w.Packed = nil, nil
			s.slots[1] = s.open(1, 40001, model.ProtoTCP, model.SlotRoleSYN)
		}
		return all, flows
	}
	windowsPacked, packed := windows(true)
	windowsPlain, plain := windows(false)
	if diff := cmp.Diff(plain, packed, cmpopts.EquateComparable(netip.Addr{})); diff != "" || len(plain[0]) != 2 {
		t.Errorf("%d rows (-plain +packed):\n%s", len(plain[0]), diff)
	}
	if diff := cmp.Diff(windowsPlain, windowsPacked); diff != "" {
		t.Errorf("windows (-plain +packed):\n%s", diff)
	}
}
