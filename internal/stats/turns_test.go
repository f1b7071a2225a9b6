package stats

import (
	"net/netip"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// answer counts a turn, and the response before it, as the kernel does.
func (s *fakeSource) answer(x *reading.Exchange, turn, response time.Duration) {
	if x.Asked > 0 {
		s.latency(&x.Response, time.Duration(x.AnsweredNS-x.AskedNS))
	}
	x.Asked++
	x.Answered++
	x.AskedNS = s.now.MonoNS
	x.AnsweredNS = s.now.MonoNS + uint64(response)
	s.latency(&x.Turn, turn)
}

func (s *fakeSource) latency(l *reading.ExchangeLatency, d time.Duration) {
	l.SumNS += uint64(d)
	l.Histogram[model.Bucket(d)]++
	if l.MinNS == 0 || uint64(d) < l.MinNS {
		l.MinNS = uint64(d)
	}
	l.MaxNS = max(l.MaxNS, uint64(d))
}

func (s *fakeSource) exchange(slot *reading.Slot, place uint32) *reading.Exchange {
	slot.Exchange = place
	s.exchanges[place] = new(reading.Exchange)
	return s.exchanges[place]
}

func TestTurnsAreDifferences(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	x := s.exchange(slot, 3)
	expect := func(turns, responses uint64, shortest, longest time.Duration) {
		t.Helper()
		s.packet(slot, 1, model.FlagACK)
		f := window(t, e).Flows.Slice()[0]
		if f.Turn.Count != turns || f.Response.Count != responses || f.Turn.Min != shortest || f.Turn.Max != longest {
			t.Errorf("%d turns from %v to %v, %d responses", f.Turn.Count, f.Turn.Min, f.Turn.Max, f.Response.Count)
		}
		var n uint64
		for _, count := range f.Turn.Histogram {
			n += count
		}
		if n != turns {
			t.Errorf("%d in the histogram, want %d", n, turns)
		}
	}
	s.answer(x, time.Millisecond, 2*time.Millisecond)
	s.answer(x, 9*time.Millisecond, 10*time.Millisecond)
	expect(2, 1, time.Millisecond, 9*time.Millisecond)
	s.answer(x, 3*time.Millisecond, 4*time.Millisecond)
	expect(1, 1, 3*time.Millisecond, 3*time.Millisecond)
	expect(0, 0, 0, 0)

	// The end shows that the last answer is complete, once.
	s.packet(slot, 0, model.FlagFIN)
	s.packet(slot, 1, model.FlagFIN)
	expect(0, 1, 0, 0)
	expect(0, 0, 0, 0)
}

// All that a flow did until its slot was freed is in the window, and the place is given back.
func TestTurnsOfEndedFlows(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	slot := s.open(0, 40000, model.ProtoUDP, reading.SlotRoleFirst)
	s.packet(slot, 1, 0)
	s.packet(slot, 0, 0)
	s.answer(s.exchange(slot, 5), time.Millisecond, time.Millisecond)
	s.pass(time.Hour)
	sweep(t, e)
	if len(s.released) != 1 || s.released[0] != 5 {
		t.Fatalf("released %v, want place 5", s.released)
	}
	next := s.open(1, 40001, model.ProtoUDP, reading.SlotRoleFirst)
	s.packet(next, 1, 0)
	s.answer(s.exchange(next, 5), 2*time.Millisecond, 2*time.Millisecond)
	flows := window(t, e).Flows.Slice()
	if len(flows) != 2 {
		t.Fatalf("%d flows", len(flows))
	}
	for _, f := range flows {
		want := map[uint16]model.Latency{
			40000: {Count: 1, Max: time.Millisecond}, 40001: {Count: 1, Max: 2 * time.Millisecond},
		}[f.Client.Port]
		if f.Turn.Count != want.Count || f.Turn.Max != want.Max {
			t.Errorf("port %d: %d turns, longest %v", f.Client.Port, f.Turn.Count, f.Turn.Max)
		}
		if f.Response.Count != 0 {
			t.Errorf("port %d: %d responses, though no answer is known to be complete", f.Client.Port, f.Response.Count)
		}
	}
}

// A turn that ends while the window does may count in another window than its extremes are in: then its
// bucket's bounds are what is known.
func TestExtremesOfAnotherWindow(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	x := s.exchange(slot, 1)
	s.answer(x, time.Millisecond, time.Millisecond)
	x.Turn.MinNS, x.Turn.MaxNS = 0, 0
	expect := func() {
		t.Helper()
		s.packet(slot, 1, model.FlagACK)
		low, high := model.BucketBounds(model.Bucket(time.Millisecond))
		if f := window(t, e).Flows.Slice()[0]; f.Turn.Min != low || f.Turn.Max != high-1 {
			t.Errorf("from %v to %v, want from %v to %v", f.Turn.Min, f.Turn.Max, low, high)
		}
	}
	expect()
	s.answer(x, time.Millisecond, time.Millisecond)
	x.Turn.MinNS, x.Turn.MaxNS = uint64(time.Microsecond), uint64(time.Second)
	expect()
}

func TestKernelIsToldTheClient(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{Listeners: []reading.Listener{{Proto: model.ProtoTCP, Addr: endpoint("127.0.0.1:80", nil).Addr, Port: 80}}})
	s.packet(s.open(0, 40000, model.ProtoTCP, reading.SlotRoleNone), 1, model.FlagACK)
	s.packet(s.open(1, 40001, model.ProtoTCP, reading.SlotRoleSYN), 1, model.FlagSYN)
	sweep(t, e)
	if client, told := s.told[0]; !told || client != 1 || len(s.told) != 1 {
		t.Errorf("told %v, want end 1 of slot 0", s.told)
	}
}

// The kernel takes who sent the first datagram for the client. Where the other end is one that listens no longer, or
// both, that holds; otherwise the kernel is told, once.
func TestDatagramsHaveTheClientOfTheirRows(t *testing.T) {
	s := newFakeSource()
	lo := netip.MustParseAddr("127.0.0.1")
	listener := func(port uint16) reading.Listener {
		return reading.Listener{Proto: model.ProtoUDP, Addr: lo, Port: port}
	}
	e := start(t, s, Config{Listeners: []reading.Listener{listener(80), listener(40003)}})
	wrong := s.open(0, 40000, model.ProtoUDP, reading.SlotRoleFirst)
	right, both := s.open(1, 40001, model.ProtoUDP, reading.SlotRoleFirst), s.open(2, 40003, model.ProtoUDP, reading.SlotRoleFirst)
	wrong.Client, right.Client, both.Client = 0, 1, 0
	for _, slot := range []*reading.Slot{wrong, right, both} {
		s.packet(slot, int(slot.Client), 0)
	}
	look(t, e)
	if client, told := s.told[0]; !told || client != 1 || len(s.told) != 1 {
		t.Errorf("told %v, want end 1 of slot 0", s.told)
	}
	wrong.Client, wrong.Role = 1, reading.SlotRoleTold
	clear(s.told)
	for _, row := range window(t, e).Flows.Slice() {
		if fromServer := row.Client.Port == 80; fromServer != (row.Server.Port == 40003) {
			t.Errorf("%+v", row)
		}
	}
	if len(s.told) != 0 {
		t.Errorf("told again: %v", s.told)
	}
}
