package stats

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// A packed window stays as it is while the next one is counted and made, histograms included.
func TestPackedWindowStays(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	x := s.exchange(slot, 1)
	for i := range 4 {
		s.answer(x, time.Duration(i+1)*time.Millisecond, time.Second)
		s.packet(slot, 1, model.FlagACK)
		kept := window(t, e)
		if kept.Flows.Len() != 1 || kept.Flows.At(0).Turn.Max != time.Duration(i+1)*time.Millisecond {
			t.Fatalf("window %d: %d flows", i, kept.Flows.Len())
		}
		was := kept.Flows.Clone()

		s.answer(x, 100*time.Millisecond, time.Second)
		s.packet(slot, 0, model.FlagACK)
		if err := e.Sweep(); err != nil {
			t.Fatal(err)
		}
		s.answer(x, 100*time.Millisecond, time.Second)
		next := window(t, e)
		if diff := cmp.Diff(was.At(0), kept.Flows.At(0), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("window %d changed:\n%s", i, diff)
		}
		if next.Flows.At(0).Turn.Count != 2 {
			t.Errorf("%d turns in the next window", next.Flows.At(0).Turn.Count)
		}
	}
}
