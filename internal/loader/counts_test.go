package loader

import (
	"slices"
	"testing"

	"github.com/lotrace/lotrace/internal/reading"
)

// changes are what packets do to a slot, by name.
var changes = map[string]struct {
	change func(*lotraceLtSlot, *lotraceLtLife)
	missed bool // by a reading of slots only
}{
	"packets":               {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Dir[0].Packets++ }},
	"bytes":                 {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Dir[1].Bytes++ }},
	"skbs":                  {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Dir[0].Skbs++ }},
	"payload":               {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Dir[1].PayloadBytes++ }},
	"retransmits":           {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Dir[0].Retransmits++ }},
	"bytes sent again":      {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Dir[1].RetransBytes++ }},
	"time of one end":       {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Dir[0].LastNs++ }},
	"time of the other end": {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Dir[1].LastNs-- }},
	"unlocked packets":      {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Unlocked[0].Packets++ }},
	"unlocked bytes":        {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Unlocked[1].Bytes++ }},
	"unlocked skbs":         {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Unlocked[0].Skbs++ }},
	"unlocked payload":      {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.Unlocked[1].PayloadBytes++ }},
	"flags":                 {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.TcpFlags[1] |= 1 }},
	"state":                 {change: func(s *lotraceLtSlot, _ *lotraceLtLife) { s.State = uint32(reading.SlotOrphan) }},
	"place of health":       {change: func(_ *lotraceLtSlot, l *lotraceLtLife) { l.Health = 2 }, missed: true},
	"another flow": {change: func(s *lotraceLtSlot, _ *lotraceLtLife) {
		*s = lotraceLtSlot{State: uint32(reading.SlotLive)}
		s.Dir[0].Bytes, s.Dir[0].LastNs = 5, 9 // as many in all
	}},
	"free": {change: func(s *lotraceLtSlot, l *lotraceLtLife) { *s, *l = lotraceLtSlot{}, lotraceLtLife{} }},
}

// A slot has changed once for whatever its packets write, and for nothing else.
func TestWhatChanges(t *testing.T) {
	for name, test := range changes {
		for _, slotsOnly := range []bool{true, false} {
			table := table{
				slots: array[lotraceLtSlot]{at: make([]lotraceLtSlot, 3)}, ends: array[lotraceLtLife]{at: make([]lotraceLtLife, 3)},
			}
			table.healths.reached = 3
			slot := &table.slots.at[1]
			slot.State = uint32(reading.SlotLive)
			slot.Dir[1].Bytes, slot.Dir[1].LastNs = 5, 7
			r := reading.Reading{Slots: make([]reading.SlotCount, 3)}
			for i := range r.Slots {
				r.Slots[i].Index = uint32(i)
			}
			changed := func() []uint32 {
				r.Changed = nil
				table.bringUpToDate(&r, slotsOnly)
				return r.Changed
			}
			if got := changed(); !slices.Equal(got, []uint32{1}) {
				t.Fatalf("at first %d", got)
			}
			if got := changed(); got != nil {
				t.Fatalf("again %d", got)
			}
			test.change(slot, &table.ends.at[1])
			if got, want := len(changed()) == 1, !slotsOnly || !test.missed; got != want {
				t.Errorf("%s, slots only %v: changed %v, want %v", name, slotsOnly, got, want)
			}
			var want reading.SlotCount
			if want.Index = 1; slot.State != 0 {
				want.State, want.Health = reading.SlotState(slot.State), r.Slots[1].Health
				decodeCount(&want, slot)
			}
			if r.Slots[1] != want || r.Counted != sumOf(&want) {
				t.Errorf("%s: %+v, want %+v, %+v in all", name, r.Slots[1], want, r.Counted)
			}
		}
	}
}
