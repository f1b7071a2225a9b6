package stats

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// health gives a slot a place for its health.
func (s *fakeSource) health(slot *reading.Slot, place uint32) *reading.Health {
	slot.Health = place
	s.healths[place] = new(reading.Health)
	return s.healths[place]
}

func (s *fakeSource) nowNS() uint64 { return s.now.MonoNS }

// onlyFlow is the one flow of a window.
func onlyFlow(t *testing.T, e *Engine) model.Flow {
	t.Helper()
	flows := window(t, e).Flows.Slice()
	if len(flows) != 1 {
		t.Fatalf("%d flows, want 1", len(flows))
	}
	return flows[0]
}

func sameHealth(t *testing.T, what string, got, want *model.Health) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

func reasonName(reason uint32) string {
	return map[uint32]string{2: "no_socket", 7: "socket_rcvbuff", 9: "netfilter_drop"}[reason]
}

// An error is told once, in its window, by who did it: the client is end 1 of the key.
func TestHealthIsDifferences(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	e := start(t, s, Config{DropReason: reasonName})
	expect := func(what string, want *model.Health) {
		t.Helper()
		s.packet(slot, 1, model.FlagACK)
		sameHealth(t, what, onlyFlow(t, e).Health, want)
	}
	expect("no place", nil)

	health := s.health(slot, 3)
	*health = reading.Health{Refused: 1, SYNRetries: 2, SYNACKRetries: 3, OtherDrops: 4}
	health.End[0] = reading.EndHealth{Resets: 5, Timeouts: 6, ZeroWindows: 7, ClosedNS: 8, Stalls: 9, StalledNS: 10}
	health.End[1].Resets = 11
	health.Drops[0] = reading.Drop{Reason: 7, SKBs: 12}
	s.pass(time.Second)
	expect("all at once", &model.Health{
		Refused: 1, SYNRetries: 2, SYNACKRetries: 3,
		Client: model.EndHealth{Resets: 11},
		Server: model.EndHealth{Resets: 5, Timeouts: 6, ZeroWindows: 7, ZeroWindow: 8, Stalls: 9, Stalled: 10},
		Drops:  []model.DropCount{{Reason: "other", SKBs: 4}, {Reason: "socket_rcvbuff", SKBs: 12}},
	})
	expect("nothing more", nil)

	health.Refused++
	health.End[0].StalledNS += 40
	health.Drops[0].SKBs += 2
	health.Drops[1] = reading.Drop{Reason: 2, SKBs: 1}
	expect("some more", &model.Health{
		Refused: 1, Server: model.EndHealth{Stalled: 40},
		Drops: []model.DropCount{{Reason: "no_socket", SKBs: 1}, {Reason: "socket_rcvbuff", SKBs: 2}},
	})
}

// Kernels count in 32 bits, which come round.
func TestHealthComesRound(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	e := start(t, s, Config{})
	health, x := s.health(slot, 1), s.exchange(slot, 1)
	health.End[1].Timeouts = ^uint32(0)
	s.answer(x, time.Millisecond, time.Millisecond)
	x.Breakdown = model.Breakdown{Turns: 1<<32 - 1, Think: 50}
	s.packet(slot, 1, model.FlagACK)
	window(t, e)
	health.End[1].Timeouts += 3
	s.answer(x, time.Millisecond, time.Millisecond)
	x.Breakdown = model.Breakdown{Turns: 4, Think: 60}
	s.packet(slot, 1, model.FlagACK)
	f := onlyFlow(t, e)
	if f.Health == nil || f.Health.Client.Timeouts != 3 || f.Breakdown != (model.Breakdown{Turns: 5, Think: 10}) {
		t.Errorf("health %+v, breakdown %+v", f.Health, f.Breakdown)
	}
}

// Whether a drop is a loss depends on who would send again.
func TestDropsOfDatagramsAreErrors(t *testing.T) {
	for proto, want := range map[model.Proto]uint64{model.ProtoTCP: 0, model.ProtoUDP: 5, model.ProtoICMP: 5} {
		s := newFakeSource()
		e := start(t, s, Config{})
		slot := s.open(0, 40000, proto, reading.SlotRoleFirst)
		health := s.health(slot, 1)
		health.Drops[0], health.OtherDrops = reading.Drop{Reason: 77, SKBs: 3}, 2
		s.packet(slot, 1, 0)
		f := onlyFlow(t, e)
		if f.Health.Errors() != want {
			t.Errorf("%v: got %d errors, want %d: %+v", proto, f.Health.Errors(), want, f.Health)
		}
		if f.Health.Drops[1].Reason != "reason_77" {
			t.Errorf("%v: a reason without a name goes by %q", proto, f.Health.Drops[1].Reason)
		}
	}
}

// A closed window counts while it is closed, in each window as much as was in it.
func TestClosedWindows(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(slot, 1, model.FlagACK)
	e := start(t, s, Config{})
	health := s.health(slot, 1)
	server := &health.End[0]
	expect := func(what string, times uint64, closed time.Duration) {
		t.Helper()
		f := onlyFlow(t, e)
		want := model.Health{Server: model.EndHealth{ZeroWindows: times, ZeroWindow: closed}}
		sameHealth(t, what, f.Health, &want)
	}
	s.pass(300 * time.Millisecond)
	server.ZeroWindows, server.ClosedSinceNS = 1, s.nowNS()
	s.pass(700 * time.Millisecond)
	expect("closed, and nothing was sent", 1, 700*time.Millisecond)
	s.pass(time.Second)
	expect("still closed", 0, time.Second)
	s.pass(200 * time.Millisecond)
	server.ClosedNS, server.ClosedSinceNS = 1_900e6, 0
	s.packet(slot, 0, model.FlagACK)
	s.pass(300 * time.Millisecond)
	expect("opened", 0, 200*time.Millisecond)
	if flows := window(t, e).Flows.Slice(); len(flows) != 0 {
		t.Errorf("silent and open, yet shown: %+v", flows)
	}

	// The end of the connection ends the wait.
	server.ZeroWindows, server.ClosedSinceNS = 2, s.nowNS()
	s.pass(100 * time.Millisecond)
	s.packet(slot, 1, model.FlagRST)
	s.pass(5 * time.Second)
	expect("reset meanwhile", 1, 100*time.Millisecond)
	s.pass(time.Second)
	if flows := window(t, e).Flows.Slice(); len(flows) != 0 {
		t.Errorf("over, yet shown: %+v", flows)
	}
}

// A reader may find the time in both halves, or in neither; neither makes it longer than the window, nor
// negative.
func TestClosedWindowsReadInBetween(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	e := start(t, s, Config{})
	end := &s.health(slot, 1).End[1]
	expect := func(what string, want time.Duration) {
		t.Helper()
		s.packet(slot, 1, model.FlagACK)
		s.pass(time.Second)
		h := onlyFlow(t, e).Health
		if h == nil {
			h = new(model.Health)
		}
		if h.Client.ZeroWindow != want {
			t.Errorf("%s: closed for %v, want %v", what, h.Client.ZeroWindow, want)
		}
	}
	end.ClosedSinceNS = s.nowNS()
	expect("closed", time.Second)
	end.ClosedNS = uint64(time.Second)
	expect("in both", time.Second)
	end.ClosedNS, end.ClosedSinceNS = 0, 0
	expect("in neither", 0)
	end.ClosedSinceNS = s.nowNS() + uint64(time.Hour)
	expect("after the clock was read", 0)
}

// The health of a flow until its slot was freed is in the window, and the place is given back, for another
// to begin at zero.
func TestHealthOfEndedFlows(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(slot, 1, model.FlagSYN)
	s.packet(slot, 0, model.FlagRST)
	s.health(slot, 5).Refused = 1
	s.pass(time.Minute)
	sweep(t, e)
	if len(s.releasedHealth) != 1 || s.releasedHealth[0] != 5 {
		t.Fatalf("released %v, want place 5", s.releasedHealth)
	}
	// The same ports go on, so that both make one row; another flow takes the place.
	on := s.open(1, 40000, model.ProtoTCP, reading.SlotRoleNone)
	s.packet(on, 1, model.FlagACK)
	s.health(on, 6).End[1].Resets = 2
	next := s.open(2, 40001, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(next, 1, model.FlagSYN)
	s.health(next, 5).Refused = 1
	for _, f := range window(t, e).Flows.Slice() {
		want := &model.Health{Refused: 1}
		if f.Client.Port == 40000 {
			want.Client.Resets = 2
		}
		sameHealth(t, f.Client.AddrPort().String(), f.Health, want)
	}
}

func TestBeginnings(t *testing.T) {
	type times struct {
		connect, accept, firstByte time.Duration
		connected                  bool
	}
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		role  reading.SlotRole
		flags uint8 // the client's
		want  [2]times
	}{
		{"seen", reading.SlotRoleSYN, model.FlagSYN, [2]times{{ms, 2 * ms, 0, true}, {ms, 2 * ms, 3 * ms, false}}},
		{"SYN-ACK came first", reading.SlotRoleSYN, model.FlagACK, [2]times{}},
		{"older", reading.SlotRoleNone, model.FlagACK, [2]times{}},
	} {
		s := newFakeSource()
		e := start(t, s, Config{})
		s.pass(time.Second)
		slot := s.open(0, 40000, model.ProtoTCP, test.role)
		slot.ConnectedNS, slot.AcceptedNS = s.nowNS()+uint64(ms), s.nowNS()+uint64(2*ms)
		s.pass(time.Second)
		for i, want := range test.want {
			s.packet(slot, 1, test.flags)
			f := onlyFlow(t, e)
			if got := (times{f.Handshake, f.Accept, f.FirstByte, f.Connect.Count == 1}); got != want {
				t.Errorf("%s, window %d: got %+v, want %+v", test.name, i, got, want)
			}
			slot.FirstByteNS = slot.CreatedNS + uint64(3*ms)
			s.pass(time.Second)
		}
	}
}

// A handshake that ends just as a window does is in one of the two.
func TestConnectedOnce(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	s.pass(time.Second)
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	slot.ConnectedNS = s.nowNS() + 1 // after the clock was read, before the slot
	n := 0
	for range 3 {
		s.packet(slot, 1, model.FlagSYN)
		for f := range window(t, e).Flows.All() {
			n += int(f.Connect.Count)
		}
		s.pass(time.Second)
	}
	if n != 1 {
		t.Errorf("connected %d times", n)
	}
}

// Nothing to tell costs nothing.
func TestHealthyFlowsAllocateNothing(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	e := start(t, s, Config{})
	if n := testing.AllocsPerRun(100, func() { e.tallyOf(slot) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestUncounted(t *testing.T) {
	s := newFakeSource()
	s.now.Uncounted = 4
	e := start(t, s, Config{})
	s.now.Uncounted = 6
	if w := window(t, e); w.Uncounted != 2 {
		t.Errorf("%d flows untold, want 2", w.Uncounted)
	}
}
