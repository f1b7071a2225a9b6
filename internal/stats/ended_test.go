package stats

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Ports of clients.
const shown, excluded, hidden = 40000, 41000, 42000

func unknownOwner(f *model.Flow) bool { return f.Client.Owner == nil }

// filteredOverflows are flows that end, all but one without room, and how many packets are in the totals and hidden.
var filteredOverflows = []struct {
	name       string
	filter     string
	match      func(*model.Flow) bool
	hide       func(*model.Flow) bool
	ports      []uint16
	named      bool // by then it is known who the clients are
	total, hid uint64
}{
	{"filter", "process:x", func(f *model.Flow) bool { return f.Client.Port < excluded }, nil,
		[]uint16{excluded, shown, excluded + 1, shown + 1, shown + 2, excluded + 2}, true, 6, 0},
	{"nothing matches", "process:x", func(*model.Flow) bool { return false }, nil,
		[]uint16{shown, shown + 1, shown + 2}, true, 0, 0},
	{"hidden", "", nil, func(f *model.Flow) bool { return f.Client.Port >= hidden },
		[]uint16{shown, hidden, hidden + 1, shown + 1, hidden + 2}, true, 4, 3},
	{"both", "process:x", func(f *model.Flow) bool { return f.Client.Port >= excluded },
		func(f *model.Flow) bool { return f.Client.Port >= hidden },
		[]uint16{shown, excluded, hidden, shown + 1, excluded + 1, hidden + 1}, true, 4, 2},
	{"owners are known", "process:x", func(f *model.Flow) bool { return !unknownOwner(f) }, nil,
		[]uint16{shown, shown + 1, shown + 2}, true, 6, 0},
	{"owners are unknown", "process:x", func(f *model.Flow) bool { return !unknownOwner(f) }, nil,
		[]uint16{shown, shown + 1, shown + 2}, false, 0, 0},
	{"amounts", "turns>0", func(f *model.Flow) bool { return f.Turn.Count > 0 }, nil,
		[]uint16{shown, shown + 1, shown + 2}, true, 6, 0},
}

// Whatever there is no room for, totals are of what the filter asked for and nothing else, and every hidden
// packet is counted as hidden: a port says here what becomes of a flow.
func TestOverflowIsFiltered(t *testing.T) {
	known := &reading.Process{Comm: "known"}
	for _, test := range filteredOverflows {
		s := newFakeSource()
		e := start(t, s, Config{
			MaxEnded: 1, Origin: model.Origin{Filter: test.filter}, Match: test.match, Hide: test.hide,
			Owners: newFakeOwners(known), Slow: ms,
		})
		s.pass(time.Second)
		for i, port := range test.ports {
			slot := s.open(uint32(i), port, model.ProtoTCP, reading.SlotRoleSYN)
			if test.named {
				slot.Owner[1] = known
			}
			s.answer(s.exchange(slot, uint32(i)+1), ms, ms)
			s.packet(slot, 1, model.FlagSYN)
			s.packet(slot, 0, model.FlagRST)
			s.slow(slot, 2*ms)
		}
		s.pass(2 * time.Second)
		sweep(t, e)
		if len(s.retired) != len(test.ports) {
			t.Fatalf("%s: %v were freed", test.name, s.retired)
		}
		w := window(t, e)
		sum := w.Overflow
		for f := range w.Flows.All() {
			sum.Add(countOf(f.ToServer))
			sum.Add(countOf(f.ToClient))
		}
		if sum != w.Totals || w.Totals != packets(test.total) {
			t.Errorf("%s: rows and overflow make %+v, totals %+v, want %+v", test.name, sum, w.Totals, packets(test.total))
		}
		if w.Hidden != (model.Hidden{Flows: int(test.hid), Count: packets(2 * test.hid)}) {
			t.Errorf("%s: hidden %+v, want %d flows of 2 packets", test.name, w.Hidden, test.hid)
		}
		if w.Device != nil && !w.Device.Agrees {
			t.Errorf("%s: totals %+v, device %+v", test.name, w.Totals, *w.Device)
		}
		if want := int(test.total / 2); len(w.Slow) != want {
			t.Errorf("%s: %d slow turns, want %d", test.name, len(w.Slow), want)
		}
		if next := window(t, e); next.Hidden != (model.Hidden{}) || next.Totals != (model.Count{}) {
			t.Errorf("%s: the next window inherits %+v, %+v", test.name, next.Hidden, next.Totals)
		}
	}
}

// news is what may be told of a flow without a packet.
var news = []struct {
	name   string
	proto  model.Proto
	happen func(s *fakeSource, slot *reading.Slot, x *reading.Exchange, health *reading.Health)
	told   func(f *model.Flow) bool
}{
	{"drop", model.ProtoUDP, func(_ *fakeSource, _ *reading.Slot, _ *reading.Exchange, health *reading.Health) {
		health.Drops[0] = reading.Drop{Reason: 2, SKBs: 1}
	}, func(f *model.Flow) bool { return f.Health.Errors() == 1 && f.Health.Drops[0].SKBs == 1 }},
	{"timeout", model.ProtoTCP, func(_ *fakeSource, _ *reading.Slot, _ *reading.Exchange, health *reading.Health) {
		health.End[1].Timeouts++
	}, func(f *model.Flow) bool { return f.Health != nil && f.Health.Client.Timeouts == 1 }},
	{"turn", model.ProtoTCP, func(s *fakeSource, _ *reading.Slot, x *reading.Exchange, _ *reading.Health) {
		s.answer(x, 9*ms, 9*ms)
	}, func(f *model.Flow) bool { return f.Turn.Count == 1 && f.Turn.Min == 9*ms && f.Turn.Max == 9*ms }},
	{"crossed", model.ProtoTCP, func(s *fakeSource, _ *reading.Slot, x *reading.Exchange, _ *reading.Health) {
		if x.Answered == 0 {
			s.answer(x, ms, ms)
		}
		x.Asked++
		x.Crossed++
	}, func(f *model.Flow) bool { return f.Crossed == 1 }},
	{"back", model.ProtoTCP, func(s *fakeSource, _ *reading.Slot, x *reading.Exchange, _ *reading.Health) {
		if x.Answered == 0 {
			s.answer(x, ms, ms)
		}
		x.Breakdown.Backs++
		x.Breakdown.Back += 5
	}, func(f *model.Flow) bool { return f.Breakdown == model.Breakdown{Backs: 1, Back: 5} }},
	{"bytes", model.ProtoTCP, func(_ *fakeSource, slot *reading.Slot, _ *reading.Exchange, _ *reading.Health) {
		slot.Dir[1].Bytes += 7 // of a packet that is being counted
	}, func(f *model.Flow) bool { return f.ToServer.Bytes%100 == 7 }},
}

// expectNews ends a window, which must have one row that tells of it, and the next, which must have none.
func expectNews(t *testing.T, e *Engine, told func(*model.Flow) bool, packets uint64) {
	t.Helper()
	w := window(t, e)
	if w.Flows.Len() != 1 || !told(w.Flows.At(0)) || w.Flows.At(0).ToServer.Packets != packets {
		t.Errorf("told nothing of it with %d packets: %+v", packets, w.Flows.Slice())
	}
	if next := window(t, e); next.Flows.Len() != 0 {
		t.Errorf("told again: %+v", next.Flows.Slice())
	}
}

// newsRig is a flow that a window has told of, and nothing happened on since.
type newsRig struct {
	*fakeSource
	engine *Engine
	slot   *reading.Slot
}

func newNewsRig(t *testing.T, proto model.Proto) *newsRig {
	s := newFakeSource()
	r := &newsRig{fakeSource: s, slot: s.open(0, 40000, proto, reading.SlotRoleFirst)}
	s.answer(s.exchange(r.slot, 1), ms, ms)
	s.health(r.slot, 1)
	s.packet(r.slot, 1, 0)
	r.engine = start(t, s, Config{DropReason: reasonName})
	window(t, r.engine)
	s.pass(time.Second)
	return r
}

// free lets so much time pass that the flow's slot is free.
func (r *newsRig) free(t *testing.T) {
	t.Helper()
	r.retired = nil
	r.pass(2 * time.Hour)
	sweep(t, r.engine)
	if len(r.retired) != 1 {
		t.Fatalf("%v were freed", r.retired)
	}
}

// News of a flow after its last packet is told, once: while it has its slot, when that is freed, and
// when the flow goes on in another.
func TestNewsWithoutPackets(t *testing.T) {
	for _, n := range news {
		t.Run(n.name, func(t *testing.T) {
			r := newNewsRig(t, n.proto)
			n.happen(r.fakeSource, r.slot, r.exchanges[1], r.healths[1])
			expectNews(t, r.engine, n.told, 0)
		})
		t.Run(n.name+" of a freed slot", func(t *testing.T) {
			r := newNewsRig(t, n.proto)
			n.happen(r.fakeSource, r.slot, r.exchanges[1], r.healths[1])
			r.free(t)
			expectNews(t, r.engine, n.told, 0)
		})
		for _, freed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s of a second slot, freed %v", n.name, freed), func(t *testing.T) {
				r := newNewsRig(t, n.proto)
				r.packet(r.slot, 1, 0)
				r.free(t)
				on := r.open(1, 40000, n.proto, reading.SlotRoleNone)
				n.happen(r.fakeSource, on, r.exchange(on, 2), r.health(on, 2))
				if freed {
					r.free(t)
				}
				expectNews(t, r.engine, n.told, 1)
			})
		}
	}
}

// A connection's steps are its news, too.
func TestStepsWithoutPackets(t *testing.T) {
	for name, step := range map[string]struct {
		take func(*reading.Slot, uint64)
		took func(*model.Flow) time.Duration
	}{
		"connected":  {func(s *reading.Slot, ns uint64) { s.ConnectedNS = ns }, func(f *model.Flow) time.Duration { return f.Handshake }},
		"accepted":   {func(s *reading.Slot, ns uint64) { s.AcceptedNS = ns }, func(f *model.Flow) time.Duration { return f.Accept }},
		"first byte": {func(s *reading.Slot, ns uint64) { s.FirstByteNS = ns }, func(f *model.Flow) time.Duration { return f.FirstByte }},
	} {
		for _, freed := range []bool{false, true} {
			s := newFakeSource()
			e := start(t, s, Config{})
			slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
			s.packet(slot, 1, model.FlagSYN)
			window(t, e)
			s.pass(5 * time.Second)
			step.take(slot, s.nowNS())
			if freed {
				s.pass(2 * time.Hour)
				sweep(t, e)
			}
			w := window(t, e)
			if w.Flows.Len() != 1 || step.took(w.Flows.At(0)) != 5*time.Second || (w.Flows.At(0).Connect.Count == 1) != (name == "connected") {
				t.Errorf("%s, freed %v: %+v", name, freed, w.Flows.Slice())
			}
			s.pass(time.Second)
			if next := window(t, e); next.Flows.Len() != 0 {
				t.Errorf("%s, freed %v: told again: %+v", name, freed, next.Flows.Slice())
			}
		}
	}
}

// The count of a socket since the window began is known, though its flow's slot was freed meanwhile and it has
// another.
func TestSocketsGoOnWithTheirFlow(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoUDP, reading.SlotRoleFirst)
	s.now.Queues = []reading.Queue{{Slot: 0, End: 1, Drops: 100}}
	e := start(t, s, Config{})
	s.packet(slot, 1, 0)
	s.pass(time.Hour)
	sweep(t, e)
	s.packet(s.open(1, 40000, model.ProtoUDP, reading.SlotRoleFirst), 1, 0)
	s.now.Queues = []reading.Queue{{Slot: 1, End: 1, Drops: 103}}
	sameHealth(t, "both parts", onlyFlow(t, e).Health, &model.Health{Client: model.EndHealth{SocketDrops: 3}})
}

// A socket's drops need no packet in the window; bytes that wait in it do.
func TestQueuesWithoutPackets(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoUDP, reading.SlotRoleFirst)
	s.packet(slot, 1, 0)
	s.now.Queues = []reading.Queue{{Slot: 0, End: 0, Receive: 5, Drops: 1}}
	e := start(t, s, Config{})
	s.now.Queues = []reading.Queue{{Slot: 0, End: 0, Receive: 5, Drops: 3}}
	want := &model.Health{Server: model.EndHealth{ReceiveQueue: 5, SocketDrops: 2}}
	if diff := cmp.Diff(want, onlyFlow(t, e).Health); diff != "" {
		t.Error(diff)
	}
	if w := window(t, e); w.Flows.Len() != 0 {
		t.Errorf("nothing happened: %+v", w.Flows.Slice())
	}
}

// A step that is read before the window's clock has reached it is of that window alone.
func TestStepBeforeItsTime(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(slot, 1, model.FlagSYN)
	window(t, e)
	s.pass(time.Second)
	slot.AcceptedNS = s.nowNS() + 1
	for i, want := range []int{1, 0, 0} {
		if w := window(t, e); w.Flows.Len() != want {
			t.Errorf("window %d: %d rows, want %d", i, w.Flows.Len(), want)
		}
		s.pass(time.Second)
	}
}

// A slot whose tuple another connection takes over while a window waits for owners is in that window, and in no
// other.
func TestTakenOverWhileSettling(t *testing.T) {
	s := newFakeSource()
	owners := newFakeOwners()
	e := start(t, s, Config{Owners: owners})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(slot, 1, model.FlagSYN)
	owners.settle = func() { slot.State = reading.SlotOrphan }
	for i, want := range []uint64{1, 0} {
		w := window(t, e)
		if w.Totals != packets(want) || w.Flows.Len() != int(want) || !w.Device.Agrees {
			t.Errorf("window %d: %d rows, totals %+v, device %+v", i, w.Flows.Len(), w.Totals, *w.Device)
		}
	}
}

// An orphan whose last acknowledgement is counted after a window connects once all the same.
func TestOrphansConnectOnce(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	s.pass(time.Second)
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	slot.ConnectedNS = s.nowNS()
	s.packet(slot, 1, model.FlagSYN)
	slot.State = reading.SlotOrphan
	connects := window(t, e).Flows.At(0).Connect.Count
	s.packet(slot, 1, model.FlagACK)
	s.pass(time.Second)
	sweep(t, e)
	for f := range window(t, e).Flows.All() {
		connects += f.Connect.Count
	}
	if connects != 1 || len(s.retired) != 1 {
		t.Errorf("connected %d times, %v freed", connects, s.retired)
	}
}

// Turns of which no window is to tell are not kept.
func TestTurnsThatNobodyLists(t *testing.T) {
	s := newFakeSource()
	told := 0
	e := start(t, s, Config{SlowTurn: func(*reading.SlowTurn) { told++ }})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.slow(slot, time.Second)
	look(t, e)
	if told != 1 || len(e.slow.turns) != 0 {
		t.Errorf("told of %d, kept %d", told, len(e.slow.turns))
	}
}
