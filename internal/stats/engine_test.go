package stats

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

func start(t *testing.T, s *fakeSource, c Config) *Engine {
	t.Helper()
	if c.MaxFlows == 0 {
		c.MaxFlows = 64
	}
	e, err := Start(s, c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func window(t *testing.T, e *Engine) *model.Window {
	t.Helper()
	w, err := e.Window(new(model.Flows))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func sweep(t *testing.T, e *Engine) {
	t.Helper()
	for range sweepInPlenty { // or it might do nothing, with so much room
		if err := e.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
}

func packets(n uint64) model.Count { return model.Count{SKBs: n, Packets: n, Bytes: 100 * n} }

func TestWindowsAreDifferences(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(slot, 1, model.FlagSYN) // before the first window: in none
	e := start(t, s, Config{})
	for range 3 {
		s.pass(time.Second)
		s.packet(slot, 1, model.FlagACK)
		s.packet(slot, 0, model.FlagACK)
	}
	first := window(t, e)
	s.pass(2 * time.Second)
	s.packet(slot, 1, model.FlagACK)
	second := window(t, e)

	if first.Totals != packets(6) || second.Totals != packets(1) {
		t.Errorf("totals %+v and %+v", first.Totals, second.Totals)
	}
	if first.Duration != 3*time.Second || second.Duration != 2*time.Second || !second.Start.Equal(first.End) {
		t.Errorf("windows of %v and %v; %v after %v", first.Duration, second.Duration, second.Start, first.End)
	}
	want := model.Counters{Packets: 1, SKBs: 1, Bytes: 100, PayloadBytes: 60}
	if diff := cmp.Diff(want, second.Flows.Slice()[0].ToServer); diff != "" {
		t.Error(diff)
	}
	if !first.Device.Agrees || !second.Device.Agrees || second.Device.Packets != 1 {
		t.Errorf("device %+v and %+v", *first.Device, *second.Device)
	}
	if third := window(t, e); third.Flows.Len() != 0 {
		t.Errorf("a flow without traffic is shown: %+v", third.Flows)
	}
}

// A flow that came and went between two windows is reported whole.
func TestShortFlowIsKept(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	slot := s.open(3, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(slot, 1, model.FlagSYN)
	s.packet(slot, 0, model.FlagSYN|model.FlagACK)
	s.packet(slot, 1, model.FlagFIN|model.FlagACK)
	s.packet(slot, 0, model.FlagFIN|model.FlagACK)
	sweep(t, e)
	if len(s.retired) != 0 {
		t.Fatal("freed while its last packets may be under way")
	}
	s.pass(2 * time.Second)
	sweep(t, e)
	if diff := cmp.Diff([]uint32{3}, s.retired); diff != "" {
		t.Fatal(diff)
	}
	// The slot's next user starts from zero.
	next := s.open(3, 41000, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(next, 1, model.FlagSYN)
	w := window(t, e)
	if w.Flows.Len() != 2 || w.Totals != packets(5) || !w.Device.Agrees {
		t.Fatalf("%d flows, totals %+v", w.Flows.Len(), w.Totals)
	}
	for _, f := range w.Flows.Slice() {
		if f.Client.Port == 40000 && (!f.Closed || f.State != "time-wait" || f.ToServer.Packets != 2) {
			t.Errorf("%+v", f)
		}
	}
}

func TestSameTuple(t *testing.T) {
	for _, test := range []struct {
		name string
		role reading.SlotRole
		rows int
	}{
		{"goes on", reading.SlotRoleNone, 1},
		{"is a new connection", reading.SlotRoleSYN, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newFakeSource()
			e := start(t, s, Config{})
			old := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
			s.packet(old, 1, model.FlagSYN)
			s.packet(old, 0, model.FlagRST)
			s.pass(2 * time.Second)
			sweep(t, e)
			s.packet(s.open(0, 40000, model.ProtoTCP, test.role), 1, model.FlagACK)
			w := window(t, e)
			if w.Flows.Len() != test.rows || w.Totals != packets(3) {
				t.Errorf("%d rows, totals %+v", w.Flows.Len(), w.Totals)
			}
		})
	}
}

func TestWhoIsFreed(t *testing.T) {
	for _, test := range []struct {
		name  string
		proto model.Proto
		flags uint8
		state reading.SlotState
		quiet time.Duration
		full  bool
		freed bool
	}{
		{"open connection", model.ProtoTCP, model.FlagACK, reading.SlotLive, 10 * time.Minute, false, false},
		{"forgotten connection", model.ProtoTCP, model.FlagACK, reading.SlotLive, 2 * time.Hour, false, true},
		{"idle connection, full table", model.ProtoTCP, model.FlagACK, reading.SlotLive, time.Minute, true, true},
		{"busy connection, full table", model.ProtoTCP, model.FlagACK, reading.SlotLive, time.Second, true, false},
		{"closed just now", model.ProtoTCP, model.FlagRST, reading.SlotLive, 500 * time.Millisecond, false, false},
		{"closed just now, full table", model.ProtoTCP, model.FlagRST, reading.SlotLive, 500 * time.Millisecond, true, true},
		{"taken over", model.ProtoTCP, model.FlagACK, reading.SlotOrphan, 0, false, true},
		{"datagrams", model.ProtoUDP, 0, reading.SlotLive, 50 * time.Second, false, false},
		{"old datagrams", model.ProtoUDP, 0, reading.SlotLive, 70 * time.Second, false, true},
		{"datagrams, full table", model.ProtoUDP, 0, reading.SlotLive, 5 * time.Second, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newFakeSource()
			slot := s.open(0, 40000, test.proto, reading.SlotRoleNone)
			slot.State = test.state
			s.packet(slot, 1, test.flags)
			maxFlows := 64
			if test.full {
				maxFlows = 1
			}
			e := start(t, s, Config{MaxFlows: maxFlows})
			s.pass(test.quiet)
			sweep(t, e)
			if freed := len(s.retired) == 1; freed != test.freed {
				t.Errorf("freed %v, want %v", freed, test.freed)
			}
		})
	}
}

func TestOverflow(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	s.packet(s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN), 1, model.FlagSYN)
	s.reason(reading.ReasonTableFull)
	s.reason(reading.ReasonTableFull)
	s.reason(reading.ReasonNotIP)
	w := window(t, e)
	want := map[string]model.Count{"table_full": packets(2), "not_ip": packets(1)}
	if diff := cmp.Diff(want, w.ByCause); diff != "" {
		t.Error(diff)
	}
	if w.Overflow != packets(3) || w.Totals != packets(4) || !w.Device.Agrees {
		t.Errorf("overflow %+v, totals %+v, device %+v", w.Overflow, w.Totals, *w.Device)
	}
	if w := window(t, e); len(w.ByCause) != 0 || w.Overflow != (model.Count{}) {
		t.Errorf("the next window inherits %+v", w.ByCause)
	}
}

// Rows beyond the bound are counted, under a cause of their own.
func TestReportIsBounded(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{MaxEnded: 2})
	for i := range uint32(5) {
		slot := s.open(i, 40000+uint16(i), model.ProtoTCP, reading.SlotRoleSYN)
		s.packet(slot, 1, model.FlagRST)
	}
	s.pass(2 * time.Second)
	sweep(t, e)
	w := window(t, e)
	if w.Flows.Len() != 2 || w.ByCause["report_full"] != packets(3) || w.Totals != packets(5) || !w.Device.Agrees {
		t.Errorf("%d rows, causes %+v, totals %+v", w.Flows.Len(), w.ByCause, w.Totals)
	}
}

func TestFiltered(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{
		Origin: model.Origin{Filter: "cport:40000"},
		Match:  func(f *model.Flow) bool { return f.Client.Port == 40000 },
	})
	s.packet(s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN), 1, model.FlagSYN)
	s.packet(s.open(1, 41000, model.ProtoTCP, reading.SlotRoleSYN), 1, model.FlagSYN)
	s.reason(reading.ReasonTableFull)
	s.reason(reading.ReasonMalformed) // no filter can have asked for it
	w := window(t, e)
	if w.Flows.Len() != 1 || w.Totals != packets(2) || w.Device != nil {
		t.Errorf("%d rows, totals %+v, device %v", w.Flows.Len(), w.Totals, w.Device)
	}
}

// The device may be ahead of the table when it is read, or behind, but only within its readings.
func TestDeviceAgreement(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, after uint64 // how far the readings at the end are from the true count of 10
		agrees        bool
	}{
		{"at rest", 0, 0, true},
		{"under way", 3, 4, true},
		{"one short", 0, ^uint64(0), false},
		{"one over", ^uint64(0), 4, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newFakeSource()
			e := start(t, s, Config{})
			slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
			for range 10 {
				s.packet(slot, 1, model.FlagACK)
			}
			s.now.Device.Before.Packets -= test.before
			s.now.Device.Before.Bytes -= 100 * test.before
			s.now.Device.After.Packets += test.after
			s.now.Device.After.Bytes += 100 * test.after
			if w := window(t, e); w.Device.Agrees != test.agrees {
				t.Errorf("agrees %v: totals %+v, device %+v", w.Device.Agrees, w.Totals, *w.Device)
			}
		})
	}
}

// The wall clock may be set while we count; durations and order do not follow it.
func TestClockSetBack(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	s.pass(time.Second)
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(slot, 1, model.FlagSYN)
	s.now.Wall = s.now.Wall.Add(-time.Hour)
	s.pass(time.Second)
	s.packet(slot, 1, model.FlagACK)
	w := window(t, e)
	f := w.Flows.Slice()[0]
	if w.Duration != 2*time.Second || f.LastSeen.Sub(f.FirstSeen) != time.Second || f.LastSeen != w.End {
		t.Errorf("duration %v, seen %v to %v, end %v", w.Duration, f.FirstSeen, f.LastSeen, w.End)
	}
}

func TestSourceErrors(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	s.fail = errors.New("gone")
	e.calls = sweepInPlenty - 1
	if err := e.Sweep(); !errors.Is(err, s.fail) {
		t.Errorf("sweep: %v", err)
	}
	if _, err := e.Window(new(model.Flows)); !errors.Is(err, s.fail) {
		t.Errorf("window: %v", err)
	}
	if _, err := Start(s, Config{}); !errors.Is(err, s.fail) {
		t.Errorf("start: %v", err)
	}
}

func BenchmarkWindow(b *testing.B) {
	s := newFakeSource()
	slots := make([]reading.Slot, 65536)
	for i := range slots {
		slots[i] = *s.open(0, uint16(i), model.ProtoTCP, reading.SlotRoleSYN)
		slots[i].Index = uint32(i)
	}
	source := &growing{fakeSource: s, slots: slots}
	e, err := Start(source, Config{MaxFlows: 65536})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Window(new(model.Flows)); err != nil {
			b.Fatal(err)
		}
	}
}

// growing counts a packet on every slot between readings.
type growing struct {
	*fakeSource
	slots []reading.Slot
}

func (g *growing) Read(r *reading.Reading) error {
	for i := range g.slots {
		g.slots[i].Dir[1].Packets++
	}
	r.Slots = r.Slots[:0]
	for i := range g.slots {
		r.Slots = append(r.Slots, g.slots[i].SlotCount)
	}
	return nil
}

func (g *growing) ReadSlot(to *reading.Slot) { *to = g.slots[to.Index] }
