package stats

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// slow tells of a turn on a slot whose request left just now.
func (s *fakeSource) slow(slot *reading.Slot, turn time.Duration) {
	s.now.Slow = append(s.now.Slow, reading.SlowTurn{
		Slot: slot.Index, Key: slot.Key, Client: slot.Client, AskedNS: s.now.MonoNS, Turn: turn,
	})
}

// turnsOf is how long a window's slow turns took.
func turnsOf(w *model.Window) []time.Duration {
	var turns []time.Duration
	for _, t := range w.Slow {
		turns = append(turns, t.Turn)
	}
	return turns
}

const ms = time.Millisecond

func TestSlowTurns(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.slow(slot, time.Hour) // before the first window
	e := start(t, s, Config{Slow: 5 * ms})
	sweep(t, e)
	s.pass(time.Second)
	s.packet(slot, 1, model.FlagACK)
	s.slow(slot, 7*ms)
	s.slow(slot, 4*ms) // told for somebody else
	s.now.Slow[0].Parts = &model.SlowParts{Delivery: ms, Wait: 2 * ms, Think: 4 * ms}
	told := s.now.Slow[0].Parts
	sweep(t, e)
	*told = model.SlowParts{} // the source takes its memory back
	s.pass(time.Second)
	s.slow(slot, 6*ms)
	w := window(t, e)
	want := []model.SlowTurnRow{
		{Time: w.End, Proto: model.ProtoTCP, Turn: 6 * ms},
		{Time: w.End.Add(-time.Second), Proto: model.ProtoTCP, Turn: 7 * ms,
			Parts: &model.SlowParts{Delivery: ms, Wait: 2 * ms, Think: 4 * ms}},
	}
	for i := range want {
		want[i].Client, want[i].Server = endpoint("127.0.0.1:40000", nil), endpoint("127.0.0.1:80", nil)
	}
	if diff := cmp.Diff(want, w.Slow, cmp.Comparer(sameAddr)); diff != "" {
		t.Error(diff)
	}
	if w.SlowFrom != 5*ms || w.SlowLost != 0 {
		t.Errorf("from %v, %d lost", w.SlowFrom, w.SlowLost)
	}
	if w := window(t, e); len(w.Slow) != 0 {
		t.Errorf("told again: %+v", w.Slow)
	}
}

func sameAddr(a, b model.Endpoint) bool { return a.AddrPort() == b.AddrPort() && a.Owner == b.Owner }

// Nobody asked: nothing is told, and nothing missed.
func TestNoSlowTurns(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	s.now.SlowLost = 3
	if w := window(t, e); w.SlowFrom != 0 || w.Slow != nil || w.SlowLost != 0 {
		t.Errorf("from %v, %d lost: %+v", w.SlowFrom, w.SlowLost, w.Slow)
	}
}

// The owners of both ends are named though the slot is free when the window ends, and never the next
// connection on the same ports.
func TestSlowTurnsAreNamed(t *testing.T) {
	client, server, stranger := &reading.Process{Comm: "client"}, &reading.Process{Comm: "server"}, &reading.Process{Comm: "stranger"}
	owners := newFakeOwners(client, server, stranger)
	for process, owner := range owners.owners {
		owner.Comm = process.Comm
	}
	s := newFakeSource()
	e := start(t, s, Config{Slow: ms, Owners: owners})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	slot.Owner = [2]*reading.Process{server, client}
	s.packet(slot, 1, model.FlagSYN)
	s.packet(slot, 0, model.FlagRST)
	s.slow(slot, 2*ms)
	s.pass(time.Minute)
	sweep(t, e)
	if len(s.retired) != 1 {
		t.Fatal("the slot is not free")
	}
	s.slow(slot, 3*ms) // told when its slot was free
	s.pass(time.Second)
	next := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	next.Owner = [2]*reading.Process{stranger, stranger}
	s.packet(next, 1, model.FlagSYN)
	s.slow(next, 4*ms)
	w := window(t, e)
	got := make(map[time.Duration]string)
	for _, t := range w.Slow {
		got[t.Turn] = comm(&t.Client) + " " + comm(&t.Server)
	}
	want := map[time.Duration]string{2 * ms: "client server", 3 * ms: "client server", 4 * ms: "stranger stranger"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The rows' filter is the turns', too, for each window anew.
func TestSlowTurnsAreFiltered(t *testing.T) {
	s := newFakeSource()
	shown := uint16(40000)
	e := start(t, s, Config{
		Slow:  ms,
		Match: func(f *model.Flow) bool { return f.Client.Port != 40001 },
		Hide:  func(f *model.Flow) bool { return f.Client.Port != shown },
	})
	for i := range uint32(3) {
		s.open(i, 40000+uint16(i), model.ProtoTCP, reading.SlotRoleSYN)
	}
	for _, want := range []time.Duration{0, 2} {
		shown = 40000 + uint16(want)
		for i := range uint32(3) {
			s.packet(s.slots[i], 1, model.FlagACK)
			s.slow(s.slots[i], ms+time.Duration(i))
		}
		if got := turnsOf(window(t, e)); !slices.Equal(got, []time.Duration{ms + want}) {
			t.Errorf("got %v, want %v", got, ms+want)
		}
	}
}

// A turn may come to light in a window that has no row of its flow, whose slot may be free by then: the flow itself
// says whether it is shown. Another connection on the same ports says nothing of it.
func TestSlowTurnsWithoutRowsAreFiltered(t *testing.T) {
	own, other := &reading.Process{PID: 1}, &reading.Process{PID: 2}
	owners := newFakeOwners(own, other)
	s := newFakeSource()
	e := start(t, s, Config{
		Slow: ms, Owners: owners,
		Match: func(f *model.Flow) bool { return f.Client.Port != 40001 },
		Hide:  func(f *model.Flow) bool { return f.Client.Owner == owners.owners[own] },
	})
	for i := range uint32(3) {
		s.packet(s.open(i, 40000+uint16(i), model.ProtoTCP, reading.SlotRoleSYN), 1, model.FlagSYN)
	}
	s.slots[2].Owner[1] = own
	window(t, e)
	tell := func(slots []*reading.Slot) {
		for i, slot := range slots {
			s.slow(slot, ms+time.Duration(i))
		}
	}
	slots := []*reading.Slot{s.slots[0], s.slots[1], s.slots[2]}
	tell(slots)
	if got := turnsOf(window(t, e)); !slices.Equal(got, []time.Duration{ms}) {
		t.Errorf("of flows that rest got %v", got)
	}
	tell(slots)
	sweep(t, e) // finds out whose they are
	for _, slot := range slots {
		delete(s.slots, slot.Index)
		s.pass(time.Second)
		next := s.open(slot.Index, slot.Key.Port[1], model.ProtoTCP, reading.SlotRoleSYN)
		next.Owner[1] = other
		s.packet(next, 1, model.FlagSYN)
	}
	if got := turnsOf(window(t, e)); !slices.Equal(got, []time.Duration{ms}) {
		t.Errorf("of flows that are over got %v", got)
	}
}

// However many there are, the newest and the longest are kept, and the rest is counted.
func TestSlowTurnsAreBounded(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	e := start(t, s, Config{Slow: ms})
	const n = 10_000
	var told []time.Duration
	for i := range n {
		turn := ms + time.Duration(i*7919%n)*time.Microsecond // all different
		told = append(told, turn)
		s.pass(time.Microsecond)
		s.slow(slot, turn)
		if i%3_000 == 0 {
			sweep(t, e)
		}
	}
	w := window(t, e)
	got := turnsOf(w)
	newest := slices.Clone(told[n-model.SlowKept:])
	slices.Reverse(newest)
	if !slices.Equal(got[:model.SlowKept], newest) {
		t.Error("not the newest first")
	}
	slices.Sort(told)
	for _, turn := range told[n-model.SlowKept:] {
		if !slices.Contains(got, turn) {
			t.Errorf("%v is missing", turn)
		}
	}
	if len(got) > 2*model.SlowKept || w.SlowLost != uint64(n-len(got)) {
		t.Errorf("%d kept, %d lost", len(got), w.SlowLost)
	}
}

// The kernel had no room for all: what rows know of their longest turns stands in, once.
func TestLongestSlowTurnIsNeverMissing(t *testing.T) {
	for _, test := range []struct {
		name string
		lost uint64
		want []time.Duration
	}{
		{"lost", 2, []time.Duration{90 * ms, 30 * ms, 50 * ms}},
		{"not lost", 0, []time.Duration{30 * ms, 50 * ms}},
	} {
		s := newFakeSource()
		e := start(t, s, Config{Slow: 20 * ms})
		s.pass(time.Second)
		for i, longest := range []time.Duration{90 * ms, 50 * ms, 10 * ms} {
			slot := s.open(uint32(i), 40000+uint16(i), model.ProtoTCP, reading.SlotRoleSYN)
			s.packet(slot, 1, model.FlagACK)
			s.answer(s.exchange(slot, uint32(i)+1), longest, longest)
		}
		s.slow(s.slots[1], 50*ms)
		s.pass(time.Millisecond)
		s.slow(s.slots[0], 30*ms)
		s.pass(time.Millisecond)
		s.now.SlowLost = test.lost
		w := window(t, e)
		if got := turnsOf(w); !slices.Equal(got, test.want) || w.SlowLost != test.lost {
			t.Errorf("%s: got %v, %d lost; want %v", test.name, got, w.SlowLost, test.want)
		}
		if w.Slow[0].Client.Port != 40000 || w.Slow[0].Parts != nil || test.lost > 0 && !w.Slow[0].Time.Equal(w.End) {
			t.Errorf("%s: %+v", test.name, w.Slow[0])
		}
	}
}
