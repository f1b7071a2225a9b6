package stats

import (
	"net/netip"
	"slices"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// fakeSource is a table whose kernel is the test. Its device counts what the slots and reasons do.
type fakeSource struct {
	exchanges      map[uint32]*reading.Exchange // by place
	healths        map[uint32]*reading.Health   // by place
	told           map[uint32]uint8
	released       []uint32 // places of exchanges
	releasedHealth []uint32 // places of health
	now            reading.Reading
	slots          map[uint32]*reading.Slot
	retired        []uint32
	decoded        int // slots
	fail           error

	failQueues error
}

func newFakeSource() *fakeSource {
	s := &fakeSource{
		slots: make(map[uint32]*reading.Slot), exchanges: make(map[uint32]*reading.Exchange), told: make(map[uint32]uint8),
		healths: make(map[uint32]*reading.Health),
	}
	s.now.MonoNS = uint64(time.Hour)
	s.now.Wall = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return s
}

func (s *fakeSource) pass(d time.Duration) {
	s.now.MonoNS += uint64(d)
	s.now.Wall = s.now.Wall.Add(d)
}

// packet counts one packet of 100 bytes from end side of the slot.
func (s *fakeSource) packet(slot *reading.Slot, side int, flags uint8) {
	dir := &slot.Dir[side]
	dir.Packets++
	dir.SKBs++
	dir.Bytes += 100
	dir.PayloadBytes += 60
	dir.LastNS = s.now.MonoNS
	slot.TCPFlags[side] |= flags
	s.reason(reading.ReasonCounted)
}

func (s *fakeSource) reason(r reading.Reason) {
	s.now.Reasons[r].Add(model.Count{SKBs: 1, Packets: 1, Bytes: 100})
	s.now.Device.Before.Packets++
	s.now.Device.Before.Bytes += 100
	s.now.Device.After = s.now.Device.Before
}

// open makes a slot for the key 127.0.0.1:port to 127.0.0.1:80 (the smaller end).
func (s *fakeSource) open(index uint32, port uint16, proto model.Proto, role reading.SlotRole) *reading.Slot {
	lo := netip.MustParseAddr("127.0.0.1").As16()
	slot := &reading.Slot{
		SlotCount: reading.SlotCount{Index: index, State: reading.SlotLive},
		Key:       reading.SlotKey{Addr: [2][16]byte{lo, lo}, Port: [2]uint16{80, port}, Proto: proto},
		CreatedNS: s.now.MonoNS,
		Client:    1,
		Role:      role,
	}
	s.slots[index] = slot
	return slot
}

func (s *fakeSource) Read(r *reading.Reading) error {
	slots, changed := r.Slots, r.Changed
	*r = s.now
	r.Slots, r.Changed = slots, changed
	return s.readSlots(r, true)
}

func (s *fakeSource) ReadQueues(r *reading.Reading) error {
	r.Queues, r.Backlogs = slices.Clone(s.now.Queues), slices.Clone(s.now.Backlogs)
	return s.failQueues
}

func (s *fakeSource) ReadSlots(r *reading.Reading) error { return s.readSlots(r, false) }

func (s *fakeSource) readSlots(r *reading.Reading, whole bool) error {
	r.MonoNS, r.Wall = s.now.MonoNS, s.now.Wall
	if s.now.Slow != nil { // or what was told before is still there
		r.Slow, s.now.Slow = s.now.Slow, nil
	}
	r.Changed = r.Changed[:0]
	for index := range uint32(64) {
		if slot := s.slots[index]; slot != nil {
			now := slot.SlotCount
			if !whole && int(index) < len(r.Slots) {
				now.Health = r.Slots[index].Health
			}
			bringUpToDate(r, now)
		} else if int(index) < len(r.Slots) {
			bringUpToDate(r, reading.SlotCount{Index: index})
		}
	}
	return s.fail
}

// bringUpToDate puts into r what one of its slots has counted.
func bringUpToDate(r *reading.Reading, now reading.SlotCount) {
	for len(r.Slots) <= int(now.Index) {
		r.Slots = append(r.Slots, reading.SlotCount{Index: uint32(len(r.Slots))})
	}
	if r.Slots[now.Index] != now {
		r.Slots[now.Index] = now
		r.Changed = append(r.Changed, now.Index)
	}
}

func (s *fakeSource) ReadExchange(place uint32, into, known *reading.Exchange) bool {
	from := s.exchanges[place]
	if from.Answered == 0 || known != nil && from.Asked == known.Asked && from.Answered == known.Answered &&
		from.Breakdown.Backs == known.Breakdown.Backs {
		return false
	}
	*into = *from
	return true
}

func (s *fakeSource) TakeExtremes(place uint32, into *reading.Exchange) {
	from := s.exchanges[place]
	into.Turn.MinNS, into.Turn.MaxNS = from.Turn.MinNS, from.Turn.MaxNS
	into.Response.MinNS, into.Response.MaxNS = from.Response.MinNS, from.Response.MaxNS
	from.Turn.MinNS, from.Turn.MaxNS, from.Response.MinNS, from.Response.MaxNS = 0, 0, 0, 0
}

func (s *fakeSource) ReleaseExchange(place uint32) error {
	s.released = append(s.released, place)
	delete(s.exchanges, place)
	return nil
}

func (s *fakeSource) ReadHealth(place uint32, into *reading.Health) { *into = *s.healths[place] }

func (s *fakeSource) ReleaseHealth(place uint32) error {
	s.releasedHealth = append(s.releasedHealth, place)
	delete(s.healths, place)
	return nil
}

func (s *fakeSource) Tell(index uint32, client uint8) { s.told[index] = client }

// ReadSlot tells of a slot as it is now, and nothing of one that is free.
func (s *fakeSource) ReadSlot(to *reading.Slot) {
	count := to.SlotCount
	*to = reading.Slot{}
	s.decoded++
	if slot := s.slots[count.Index]; slot != nil {
		*to = *slot
	}
	count.State, count.Health = to.State, to.Health
	to.SlotCount = count
}

func (s *fakeSource) Retire(slots []uint32, into []reading.Slot) ([]reading.Slot, error) {
	for _, index := range slots {
		s.retired = append(s.retired, index)
		into = append(into, *s.slots[index])
		into[len(into)-1].State = reading.SlotRetiring
		delete(s.slots, index)
	}
	return into, nil
}
