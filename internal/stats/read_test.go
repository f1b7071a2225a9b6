package stats

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Asking how far a flow is takes nothing from its window.
func TestProgressTakesNothing(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	e := start(t, s, Config{})
	x := s.exchange(slot, 3)
	s.packet(slot, 1, model.FlagACK)
	s.answer(x, 9*ms, 10*ms)
	look(t, e)
	of := s.sampleOf(slot)
	for range 3 {
		p, known := e.Progress(of)
		want := reading.Progress{Sent: [2]uint64{0, 60}, Asked: 1, Answered: 1, AnsweredNS: x.AnsweredNS}
		if !known || p != want {
			t.Errorf("known %v, %+v, want %+v", known, p, want)
		}
	}
	if f := onlyFlow(t, e); f.Turn.Min != 9*ms || f.Turn.Max != 9*ms || f.Turn.Sum != 9*ms {
		t.Errorf("from %v to %v, want 9 ms: reading took the extremes", f.Turn.Min, f.Turn.Max)
	}
	for name, other := range map[string]reading.Sample{
		"another key":    {MonoNS: of.MonoNS, Key: reading.SlotKey{}, Slot: 0},
		"an earlier one": {MonoNS: slot.CreatedNS - 1, Key: of.Key, Slot: 0},
		"in no slot":     {MonoNS: of.MonoNS, Key: of.Key, Slot: reading.NoSlot},
	} {
		if p, known := e.Progress(&other); known || p != (reading.Progress{}) {
			t.Errorf("%s: known %v, %+v", name, known, p)
		}
	}
	if ns, wall := e.Now(); ns != s.now.MonoNS || !wall.Equal(s.now.Wall) {
		t.Errorf("now %v, %v", ns, wall)
	}
}

// failing is a source whose readings fail while it is told to, and leave the reading as it was, as it should be or
// as it never may be.
type failing struct {
	*fakeSource
	err   error
	leave func(*reading.Reading)
}

func (f *failing) Read(r *reading.Reading) error {
	return f.spoil(r, f.fakeSource.Read(r))
}

func (f *failing) ReadSlots(r *reading.Reading) error {
	return f.spoil(r, f.fakeSource.ReadSlots(r))
}

func (f *failing) spoil(r *reading.Reading, err error) error {
	if f.err == nil {
		return err
	}
	f.leave(r)
	return f.err
}

var errGone = errors.New("gone")

// fails are calls that read, and fail.
var fails = map[string]func(*testing.T, *Engine){
	"window": func(t *testing.T, e *Engine) {
		if w, err := e.Window(new(model.Flows)); !errors.Is(err, errGone) {
			t.Errorf("%+v, %v", w, err)
		}
	},
	"sweep": func(t *testing.T, e *Engine) {
		e.calls = sweepInPlenty - 1
		if err := e.Sweep(); !errors.Is(err, errGone) {
			t.Error(err)
		}
	},
	"look": func(t *testing.T, e *Engine) {
		if err := e.Look(); !errors.Is(err, errGone) {
			t.Error(err)
		}
	},
}

// leaves are what a reading that fails may leave behind.
var leaves = map[string]func(*reading.Reading){
	"whole": func(*reading.Reading) {},
	"without slots": func(r *reading.Reading) {
		r.Slots = r.Slots[:0]
	},
	"nonsense": func(r *reading.Reading) {
		r.MonoNS, r.Wall = 1, time.Time{}
		r.Device, r.Reasons = model.DeviceSpan{After: model.DeviceCount{Packets: 1}}, [reading.ReasonCount]model.Count{}
		r.Unmeasured, r.Uncounted, r.SlowLost = 99, 99, 99
		r.Queues = append(r.Queues, reading.Queue{Slot: 0, Drops: 1000})
		for i := range r.Slots {
			r.Slots[i].Dir[0].Packets += 1000
		}
	},
}

// A reading that fails leaves the window as it is: with the next that does not, it is as if there had been none.
func TestFailedReadingsAreNone(t *testing.T) {
	whole := func(t *testing.T, fail func(*testing.T, *Engine), leave func(*reading.Reading)) []*model.Window {
		s := newFakeSource()
		f := &failing{fakeSource: s, leave: leave}
		e, err := Start(f, Config{MaxFlows: 64, Slow: ms})
		if err != nil {
			t.Fatal(err)
		}
		old := s.open(0, 40000, model.ProtoUDP, reading.SlotRoleFirst)
		x := s.exchange(old, 1)
		s.health(old, 1)
		var all []*model.Window
		for range 3 {
			slot := s.open(1, 40001, model.ProtoTCP, reading.SlotRoleSYN)
			s.packet(slot, 1, model.FlagSYN)
			s.packet(slot, 0, model.FlagRST)
			s.packet(old, 1, 0)
			s.answer(x, 3*ms, 4*ms)
			s.healths[1].OtherDrops++
			s.slow(old, 3*ms)
			s.now.Unmeasured++
			s.reason(reading.ReasonTableFull)
			s.now.Queues = []reading.Queue{{Slot: 0, End: 0, Drops: s.healths[1].OtherDrops}}
			s.pass(2 * time.Second)
			f.err = errGone
			fail(t, e)
			f.err = nil
			sweep(t, e)
			s.packet(old, 0, 0)
			s.slow(old, 4*ms)
			s.pass(time.Second)
			f.err = errGone
			fail(t, e)
			f.err = nil
			w := window(t, e)
			kept := *w
			kept.Flows = w.Flows.Clone()
			all = append(all, &kept)
		}
		return all
	}
	want := whole(t, func(*testing.T, *Engine) {}, nil)
	if len(want[2].Slow) != 2 || want[2].Totals.Packets != 5 || want[2].Flows.Len() != 2 {
		t.Fatalf("%+v", want[2])
	}
	for what, fail := range fails {
		for how, leave := range leaves {
			got := whole(t, fail, leave)
			if diff := cmp.Diff(want, got, byRows); diff != "" {
				t.Errorf("a %s failed and left a reading %s (-without +with):\n%s", what, how, diff)
			}
		}
	}
}

// A flow that was freed just before has its name still when a reading fails.
func TestFailedReadingsForgetNoName(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoUDP, reading.SlotRoleFirst)
	s.packet(slot, 1, 0)
	of := s.sampleOf(slot)
	e := start(t, s, Config{})
	s.pass(time.Hour)
	if err := e.Sweep(); err != nil || len(s.retired) != 1 {
		t.Fatalf("%v were freed, %v", s.retired, err)
	}
	s.fail = errors.New("gone")
	if err := e.Look(); !errors.Is(err, s.fail) {
		t.Fatal(err)
	}
	if _, known := e.FlowOf(of); !known {
		t.Error("forgotten")
	}
}

// Every slow turn is told, also by a reading that fails.
func TestSlowTurnsAreTold(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	var told []time.Duration
	e := start(t, s, Config{Slow: ms, SlowTurn: func(turn *reading.SlowTurn) { told = append(told, turn.Turn) }})
	s.slow(slot, ms)
	look(t, e)
	s.slow(slot, 2*ms)
	s.fail = errors.New("gone")
	if err := e.Look(); err == nil {
		t.Fatal("no error")
	}
	s.fail = nil
	s.slow(slot, 3*ms)
	window(t, e)
	if diff := cmp.Diff([]time.Duration{ms, 2 * ms, 3 * ms}, told); diff != "" {
		t.Error(diff)
	}
}

// Where sockets cannot be walked over, the window says so, and goes on; what they counted is in the next window.
func TestFailedWalks(t *testing.T) {
	lost := errors.New("lost")
	listening := func(drops uint64) []reading.Backlog {
		at := endpoint("127.0.0.1:80", nil)
		return []reading.Backlog{{Addr: at.Addr, Port: at.Port, Length: 1, Limit: 2, Drops: drops}}
	}
	s := newFakeSource()
	old := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleNone)
	young := s.open(1, 40001, model.ProtoTCP, reading.SlotRoleSYN)
	e := start(t, s, Config{})
	expect := func(what string, fails error, outOfOrder uint32, drops uint64, want [2]*model.Health, queue *model.AcceptQueue) {
		t.Helper()
		s.failQueues = fails
		s.now.Queues = []reading.Queue{{Slot: 0, End: 1, Receive: 7, OutOfOrder: outOfOrder}, {Slot: 1, End: 1, OutOfOrder: outOfOrder}}
		s.now.Backlogs = listening(drops)
		s.packet(old, 1, model.FlagACK)
		s.packet(young, 1, model.FlagACK)
		s.pass(time.Second)
		w := window(t, e)
		if !errors.Is(w.QueuesFailed, fails) {
			t.Errorf("%s: failed %v", what, w.QueuesFailed)
		}
		if w.Totals != packets(2) || !w.Device.Agrees {
			t.Errorf("%s: totals %+v, device %+v", what, w.Totals, w.Device)
		}
		for f := range w.Flows.All() {
			sameHealth(t, what, f.Health, want[f.Client.Port-40000])
			if diff := cmp.Diff(queue, f.AcceptQueue, byRows, cmpopts.IgnoreFields(model.AcceptQueue{}, "ListenKey")); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
	}
	health := func(receive, outOfOrder uint64) *model.Health {
		return &model.Health{Client: model.EndHealth{ReceiveQueue: receive, OutOfOrder: outOfOrder}}
	}
	expect("well", nil, 5, 10, [2]*model.Health{health(7, 5), health(0, 5)}, &model.AcceptQueue{Length: 1, Limit: 2, Overflows: 10})
	expect("failed", lost, 7, 12, [2]*model.Health{}, nil)
	expect("failed again", lost, 8, 13, [2]*model.Health{}, nil)
	expect("well again", nil, 9, 14, [2]*model.Health{health(7, 4), health(0, 4)}, &model.AcceptQueue{Length: 1, Limit: 2, Overflows: 4})
	expect("and again", nil, 9, 14, [2]*model.Health{health(7, 0), nil}, &model.AcceptQueue{Length: 1, Limit: 2})
}

// Without a walk when counting began nothing is taken for new that may be older.
func TestFailedFirstWalk(t *testing.T) {
	s := newFakeSource()
	s.failQueues = errors.New("lost")
	old := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleNone)
	e := start(t, s, Config{})
	at := endpoint("127.0.0.1:80", nil)
	for i, outOfOrder := range []uint64{0, 2} {
		s.failQueues = nil
		s.now.Queues = []reading.Queue{{Slot: 0, End: 1, Receive: 7, OutOfOrder: 100 + uint32(outOfOrder)}}
		s.now.Backlogs = []reading.Backlog{{Addr: at.Addr, Port: at.Port, Drops: 50 + outOfOrder}}
		s.packet(old, 1, model.FlagACK)
		w := window(t, e)
		if failed := w.QueuesFailed != nil; failed != (i == 0) {
			t.Errorf("window %d: %v", i, w.QueuesFailed)
		}
		sameHealth(t, "old", w.Flows.At(0).Health, &model.Health{Client: model.EndHealth{ReceiveQueue: 7, OutOfOrder: outOfOrder}})
		if q := w.Flows.At(0).AcceptQueue; q == nil || q.Overflows != outOfOrder {
			t.Errorf("window %d: %+v", i, q)
		}
	}
}

func endpoint(addrPort string, owner *model.Owner) model.Endpoint {
	ap := netip.MustParseAddrPort(addrPort)
	return model.Endpoint{Addr: ap.Addr(), Port: ap.Port(), Owner: owner}
}

func comm(e *model.Endpoint) string {
	if e.Owner == nil {
		return ""
	}
	return e.Owner.Comm
}

// byRows compares windows, flow by flow.
var byRows = cmp.Options{
	cmp.Transformer("Slice", (*model.Flows).Slice), cmpopts.EquateComparable(netip.Addr{}),
}
