package stats

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
)

// news is what may be told of a flow without a packet.
var news = []struct {
	name   string
	proto  model.Proto
	happen func(s *fakeSource, slot *model.Slot, x *model.Exchange, trouble *model.Trouble)
	told   func(f *model.Flow) bool
}{
	{"drop", model.ProtoUDP, func(_ *fakeSource, _ *model.Slot, _ *model.Exchange, trouble *model.Trouble) {
		trouble.Drops[0] = model.Drop{Reason: 2, SKBs: 1}
	}, func(f *model.Flow) bool { return f.Health.Errors() == 1 && f.Health.Drops[0].SKBs == 1 }},
	{"timeout", model.ProtoTCP, func(_ *fakeSource, _ *model.Slot, _ *model.Exchange, trouble *model.Trouble) {
		trouble.End[1].Timeouts++
	}, func(f *model.Flow) bool { return f.Health != nil && f.Health.Client.Timeouts == 1 }},
	{"turn", model.ProtoTCP, func(s *fakeSource, _ *model.Slot, x *model.Exchange, _ *model.Trouble) {
		s.answer(x, 9*ms, 9*ms)
	}, func(f *model.Flow) bool { return f.Turn.Count == 1 && f.Turn.Min == 9*ms && f.Turn.Max == 9*ms }},
	{"crossed", model.ProtoTCP, func(s *fakeSource, _ *model.Slot, x *model.Exchange, _ *model.Trouble) {
		if x.Answered == 0 {
			s.answer(x, ms, ms)
		}
		x.Asked++
		x.Crossed++
	}, func(f *model.Flow) bool { return f.Crossed == 1 }},
	{"back", model.ProtoTCP, func(s *fakeSource, _ *model.Slot, x *model.Exchange, _ *model.Trouble) {
		if x.Answered == 0 {
			s.answer(x, ms, ms)
		}
		x.Breakdown.Backs++
		x.Breakdown.Back += 5
	}, func(f *model.Flow) bool { return f.Breakdown == model.Breakdown{Backs: 1, Back: 5} }},
	{"bytes", model.ProtoTCP, func(_ *fakeSource, slot *model.Slot, _ *model.Exchange, _ *model.Trouble) {
		slot.Dir[1].Bytes += 7 // of a packet that is being counted
	}, func(f *model.Flow) bool { return f.ToServer.Bytes%100 == 7 }},
}

// expectNews ends a window, which must have one row that tells of it, and the next, which must have none.
func expectNews(t *testing.T, e *Engine, told func(*model.Flow) bool, packets uint64) {
	t.Helper()
	w := window(t, e)
	if len(w.Flows) != 1 || !told(&w.Flows[0]) || w.Flows[0].ToServer.Packets != packets {
		t.Errorf("told nothing of it with %d packets: %+v", packets, w.Flows)
	}
	if next := window(t, e); len(next.Flows) != 0 {
		t.Errorf("told again: %+v", next.Flows)
	}
}

// newsRig is a flow that a window has told of, and nothing happened on since.
type newsRig struct {
	*fakeSource
	engine *Engine
	slot   *model.Slot
}

func newNewsRig(t *testing.T, proto model.Proto) *newsRig {
	s := newFakeSource()
	r := &newsRig{fakeSource: s, slot: s.open(0, 40000, proto, model.SlotRoleFirst)}
	s.answer(s.talk(r.slot, 1), ms, ms)
	s.trouble(r.slot, 1)
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

// What happens on a flow after its last packet is told, once: while it has its slot, when that is freed, and
// when the flow goes on in another.
func TestNewsWithoutPackets(t *testing.T) {
	for _, n := range news {
		t.Run(n.name, func(t *testing.T) {
			r := newNewsRig(t, n.proto)
			n.happen(r.fakeSource, r.slot, r.exchanges[1], r.troubles[1])
			expectNews(t, r.engine, n.told, 0)
		})
		t.Run(n.name+" of a freed slot", func(t *testing.T) {
			r := newNewsRig(t, n.proto)
			n.happen(r.fakeSource, r.slot, r.exchanges[1], r.troubles[1])
			r.free(t)
			expectNews(t, r.engine, n.told, 0)
		})
		for _, freed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s of a second slot, freed %v", n.name, freed), func(t *testing.T) {
				r := newNewsRig(t, n.proto)
				r.packet(r.slot, 1, 0)
				r.free(t)
				on := r.open(1, 40000, n.proto, model.SlotRoleNone)
				n.happen(r.fakeSource, on, r.talk(on, 2), r.trouble(on, 2))
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
		take func(*model.Slot, uint64)
		took func(*model.Flow) time.Duration
	}{
		"connected":  {func(s *model.Slot, ns uint64) { s.ConnectedNS = ns }, func(f *model.Flow) time.Duration { return f.Connect }},
		"accepted":   {func(s *model.Slot, ns uint64) { s.AcceptedNS = ns }, func(f *model.Flow) time.Duration { return f.Accept }},
		"first byte": {func(s *model.Slot, ns uint64) { s.FirstByteNS = ns }, func(f *model.Flow) time.Duration { return f.FirstByte }},
	} {
		for _, freed := range []bool{false, true} {
			s := newFakeSource()
			e := start(t, s, Config{})
			slot := s.open(0, 40000, model.ProtoTCP, model.SlotRoleSYN)
			s.packet(slot, 1, flagSYN)
			window(t, e)
			s.pass(5 * time.Second)
			step.take(slot, s.nowNS())
			if freed {
				s.pass(2 * time.Hour)
				sweep(t, e)
			}
			w := window(t, e)
			if len(w.Flows) != 1 || step.took(&w.Flows[0]) != 5*time.Second || w.Flows[0].Connected != (name == "connected") {
				t.Errorf("%s, freed %v: %+v", name, freed, w.Flows)
			}
			s.pass(time.Second)
			if next := window(t, e); len(next.Flows) != 0 {
				t.Errorf("%s, freed %v: told again: %+v", name, freed, next.Flows)
			}
		}
	}
}

// What a socket counted since the window began is known, though its flow's slot was freed meanwhile and it has
// another.
func TestSocketsGoOnWithTheirFlow(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoUDP, model.SlotRoleFirst)
	s.now.Queues = []model.Queue{{Slot: 0, End: 1, Drops: 100}}
	e := start(t, s, Config{})
	s.packet(slot, 1, 0)
	s.pass(time.Hour)
	sweep(t, e)
	s.packet(s.open(1, 40000, model.ProtoUDP, model.SlotRoleFirst), 1, 0)
	s.now.Queues = []model.Queue{{Slot: 1, End: 1, Drops: 103}}
	sameHealth(t, "both parts", onlyFlow(t, e).Health, &model.Health{Client: model.EndHealth{SocketDrops: 3}})
}

// A socket's drops need no packet in the window; bytes that wait in it do.
func TestQueuesWithoutPackets(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoUDP, model.SlotRoleFirst)
	s.packet(slot, 1, 0)
	s.now.Queues = []model.Queue{{Slot: 0, End: 0, Receive: 5, Drops: 1}}
	e := start(t, s, Config{})
	s.now.Queues = []model.Queue{{Slot: 0, End: 0, Receive: 5, Drops: 3}}
	want := &model.Health{Server: model.EndHealth{ReceiveQueue: 5, SocketDrops: 2}}
	if diff := cmp.Diff(want, onlyFlow(t, e).Health); diff != "" {
		t.Error(diff)
	}
	if w := window(t, e); len(w.Flows) != 0 {
		t.Errorf("nothing happened: %+v", w.Flows)
	}
}
