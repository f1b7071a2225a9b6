package stats

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

const manyFlows = 10_000

// busySource is a table of flows that go on: as many services, a datagram each in every window.
type busySource struct {
	*fakeSource
	all []reading.Slot
}

func newBusySource() *busySource {
	s := &busySource{fakeSource: newFakeSource()}
	client := &reading.Process{ProcessID: model.ProcessID{TGID: 1, StartNS: 1}}
	for i := range manyFlows {
		slot := reading.Slot{
			SlotCount: reading.SlotCount{Index: uint32(i), State: reading.SlotLive},
			Key:       reading.SlotKey{Port: [2]uint16{40000, 9000}, Site: 1, Proto: model.ProtoUDP},
			CreatedNS: s.now.MonoNS,
			Role:      reading.SlotRoleFirst,
			Owner:     [2]*reading.Process{client, nil},
		}
		for end := range slot.Key.Addr {
			slot.Key.Addr[end] = [16]byte{10: 0xff, 0xff, 127, 15: 1}
		}
		binary.BigEndian.PutUint32(slot.Key.Addr[1][12:], 127<<24|1<<16|uint32(i))
		s.all = append(s.all, slot)
	}
	return s
}

func (s *busySource) exchange() {
	s.pass(time.Second)
	for i := range s.all {
		dir := &s.all[i].Dir[0]
		dir.Packets++
		dir.SKBs++
		dir.Bytes += 100
		dir.LastNS = s.now.MonoNS
	}
}

func (s *busySource) Read(r *reading.Reading) error {
	slots, changed := r.Slots, r.Changed
	*r = s.now
	r.Slots, r.Changed = slots, changed
	return s.ReadSlots(r)
}

func (s *busySource) ReadSlots(r *reading.Reading) error {
	r.MonoNS, r.Wall = s.now.MonoNS, s.now.Wall
	r.Changed = r.Changed[:0]
	for i := range s.all {
		bringUpToDate(r, s.all[i].SlotCount)
	}
	return nil
}

func (s *busySource) ReadSlot(to *reading.Slot) {
	s.decoded++
	count := to.SlotCount
	*to = s.all[count.Index]
	to.SlotCount = count
}

func busyEngine(tb testing.TB) (*Engine, *busySource) {
	tb.Helper()
	s := newBusySource()
	o := newFakeOwners(s.all[0].Owner[0])
	o.holder[1] = &model.Owner{ProcessID: model.ProcessID{TGID: 2, StartNS: 1}, Comm: "server", Source: model.OwnerScan}
	e, err := Start(s, Config{MaxFlows: 4 * manyFlows, Owners: o})
	if err != nil {
		tb.Fatal(err)
	}
	return e, s
}

// A window does not allocate memory for each of many flows.
func TestAllocations(t *testing.T) {
	const most = manyFlows / 10
	e, s := busyEngine(t)
	rows := new(model.Flows)
	if n := testing.AllocsPerRun(3, func() {
		s.exchange()
		if _, err := e.Window(rows); err != nil {
			t.Fatal(err)
		}
	}); n > most {
		t.Errorf("a window: %.0f allocations", n)
	}
}

func BenchmarkBusyWindow(b *testing.B) {
	e, s := busyEngine(b)
	rows := new(model.Flows)
	b.ReportAllocs()
	for b.Loop() {
		s.exchange()
		if _, err := e.Window(rows); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBusySweep(b *testing.B) {
	e, s := busyEngine(b)
	e.config.MaxFlows = manyFlows // so that every call does its work
	b.ReportAllocs()
	for b.Loop() {
		s.exchange()
		if err := e.Sweep(); err != nil {
			b.Fatal(err)
		}
	}
}

// A flow that rests is not read, neither by sweeps nor as windows end; where one of many is busy, it alone is.
func TestRestingFlowsAreNotRead(t *testing.T) {
	e, s := busyEngine(t)
	s.exchange()
	read := func(what string) int {
		s.decoded = 0
		for range 3 {
			sweep(t, e)
			if w := window(t, e); w.Flows.Len() > 1 {
				t.Fatalf("%s: %d rows", what, w.Flows.Len())
			}
		}
		return s.decoded
	}
	window(t, e)
	window(t, e) // what was half counted as the one before ended
	if n := read("all rest"); n != 0 {
		t.Errorf("%d decoded, while all rest", n)
	}
	s.all[7].Dir[0].Packets++
	if n := read("one is busy"); n == 0 || n > 10 {
		t.Errorf("%d decoded for one that is busy", n)
	}
}
