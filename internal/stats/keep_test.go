package stats

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lotrace/lotrace/internal/model"
)

// With KeepRows a window stays as it is while the next one is counted and made, histograms included.
func TestKeepRows(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{KeepRows: true})
	slot := s.open(0, 40000, model.ProtoTCP, model.SlotRoleSYN)
	x := s.talk(slot, 1)
	for i := range 4 {
		s.answer(x, time.Duration(i+1)*time.Millisecond, time.Second)
		s.packet(slot, 1, flagACK)
		kept := window(t, e)
		if len(kept.Flows) != 1 || kept.Flows[0].Turn.Max != time.Duration(i+1)*time.Millisecond {
			t.Fatalf("window %d: %+v", i, kept.Flows)
		}
		was := *kept
		was.Flows = cloneFlows(kept.Flows)

		s.answer(x, 100*time.Millisecond, time.Second)
		s.packet(slot, 0, flagACK)
		if err := e.Sweep(); err != nil {
			t.Fatal(err)
		}
		s.answer(x, 100*time.Millisecond, time.Second)
		next := window(t, e)
		if diff := cmp.Diff(was.Flows, kept.Flows, cmpopts.EquateComparable(was.Flows[0].Client.Addr)); diff != "" {
			t.Errorf("window %d changed:\n%s", i, diff)
		}
		if next.Flows[0].Turn.Count != 2 {
			t.Errorf("%d turns in the next window", next.Flows[0].Turn.Count)
		}
	}
}

func cloneFlows(flows []model.Flow) []model.Flow {
	clone := append([]model.Flow(nil), flows...)
	for i := range clone {
		clone[i].Turn.Histogram = append([]uint64(nil), clone[i].Turn.Histogram...)
		clone[i].Response.Histogram = append([]uint64(nil), clone[i].Response.Histogram...)
	}
	return clone
}
