package stats

import (
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// fakeOwners knows what the test tells it.
type fakeOwners struct {
	owners  map[*reading.Process]*model.Owner
	gone    map[*reading.Process]bool
	holder  [2]*model.Owner // by end
	created uint64          // what Holder was last asked with
	waiting [2]bool         // by end: the same
	asked   int
	version uint64
	settle  func() // happens meanwhile
}

func (o *fakeOwners) Process(p *reading.Process) (*model.Owner, bool) {
	return o.owners[p], o.gone[p]
}
func (o *fakeOwners) Version() uint64 { return o.version }
func (o *fakeOwners) Settle(time.Duration) {
	if o.settle != nil {
		o.settle()
	}
}
func (o *fakeOwners) Holder(_ *reading.SlotKey, end int, created uint64, waiting bool) *model.Owner {
	o.asked++
	o.created = created
	o.waiting[end] = waiting
	return o.holder[end]
}

func newFakeOwners(processes ...*reading.Process) *fakeOwners {
	o := &fakeOwners{owners: make(map[*reading.Process]*model.Owner), gone: make(map[*reading.Process]bool)}
	for _, p := range processes {
		o.owners[p] = &model.Owner{ProcessID: p.ProcessID, Source: model.OwnerKernel}
	}
	return o
}

func TestOwners(t *testing.T) {
	client := &reading.Process{ProcessID: model.ProcessID{TGID: 1, StartNS: 1}}
	server := &reading.Process{ProcessID: model.ProcessID{TGID: 2, StartNS: 1}}
	child := &reading.Process{ProcessID: model.ProcessID{TGID: 3, StartNS: 1}}
	o := newFakeOwners(client, server, child)
	holder := &model.Owner{ProcessID: server.ProcessID, Source: model.OwnerScan}
	s := newFakeSource()
	e := start(t, s, Config{Owners: o})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	slot.Owner[1] = client
	expect := func(what string, wantClient, wantServer *model.Owner) {
		t.Helper()
		s.packet(slot, 1, model.FlagACK)
		f := window(t, e).Flows.Slice()[0]
		if f.Client.Owner != wantClient || f.Server.Owner != wantServer {
			t.Errorf("%s: client %+v, server %+v", what, f.Client.Owner, f.Server.Owner)
		}
	}

	o.holder[0] = holder
	expect("while it may yet speak", o.owners[client], nil)
	if o.asked != 0 {
		t.Error("somebody was sent to look at once")
	}
	s.pass(time.Second)
	expect("a silent server", o.owners[client], holder)
	if o.created != slot.CreatedNS || !o.waiting[0] {
		t.Errorf("held since %d, want %d; may be waiting: %t", o.created, slot.CreatedNS, o.waiting[0])
	}
	slot.Owner[0] = child
	expect("it spoke", o.owners[client], o.owners[child])
	o.gone[child] = true
	expect("who spoke has ended", o.owners[client], holder)
	if o.waiting[0] {
		t.Error("who spoke may have been waiting to be accepted")
	}
	o.holder[0] = nil
	expect("and nobody holds it", o.owners[client], o.owners[child])

	slot.Role = reading.SlotRoleNone
	expect("older than we are", o.owners[client], o.owners[child])
	if o.created != 0 {
		t.Error("a connection of which no SYN was seen is as old as its slot")
	}
}

// An owner that becomes known while a window waits for it is in that window.
func TestOwnersChangeMeanwhile(t *testing.T) {
	parent := &reading.Process{ProcessID: model.ProcessID{TGID: 1, StartNS: 1}}
	o := newFakeOwners(parent)
	s := newFakeSource()
	e := start(t, s, Config{Owners: o})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	slot.Owner[0] = parent
	s.pass(time.Second)
	expect := func(what string, want *model.Owner) {
		t.Helper()
		s.packet(slot, 1, model.FlagACK)
		if f := window(t, e).Flows.Slice()[0]; f.Server.Owner != want {
			t.Errorf("%s: %+v, want %+v", what, f.Server.Owner, want)
		}
	}

	detailed, child, heir := &model.Owner{Comm: "parent"}, &model.Owner{Comm: "child"}, &model.Owner{Comm: "heir"}
	waits := 0
	o.settle = func() {
		waits++
		switch waits {
		case 2: // of two in a window
			o.owners[parent] = detailed
		case 3:
			o.gone[parent] = true
			o.holder[0] = child
		case 6:
			o.holder[0] = heir
		default:
			return
		}
		o.version++
	}
	expect("details", detailed)
	expect("a child took over", child)
	expect("and another", heir)
}

// Only an end that has shown no sign of life may be waiting.
func TestMayWait(t *testing.T) {
	for _, test := range []struct {
		name string
		with func(*reading.Slot)
		want [2]bool
	}{
		{"opened by end 1", func(*reading.Slot) {}, [2]bool{true, false}},
		{"opened by end 0", func(s *reading.Slot) { s.Client = 0 }, [2]bool{false, true}},
		{"opening not seen", func(s *reading.Slot) { s.Role = reading.SlotRoleNone }, [2]bool{false, false}},
		{"spoke", func(s *reading.Slot) { s.Owner[0] = &reading.Process{} }, [2]bool{false, false}},
		{"spoke to xdp", func(s *reading.Slot) { s.Dir[0].PayloadBytes = 1 }, [2]bool{false, false}},
		{"hung up", func(s *reading.Slot) { s.TCPFlags[0] = model.FlagSYN | model.FlagACK | model.FlagFIN }, [2]bool{false, false}},
		{"client hung up", func(s *reading.Slot) { s.TCPFlags[1] = model.FlagSYN | model.FlagACK | model.FlagFIN }, [2]bool{true, false}},
		{"datagrams", func(s *reading.Slot) { s.Key.Proto, s.Dir[0].PayloadBytes = model.ProtoUDP, 1 }, [2]bool{true, true}},
	} {
		slot := &reading.Slot{Key: reading.SlotKey{Proto: model.ProtoTCP}, Role: reading.SlotRoleSYN, Client: 1}
		test.with(slot)
		if got := [2]bool{mayWait(slot, 0), mayWait(slot, 1)}; got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// A flow older than lotrace is asked about at once: the scan at the start found its holder.
func TestHolderOfOlder(t *testing.T) {
	o := newFakeOwners()
	o.holder[0] = &model.Owner{Source: model.OwnerScan}
	s := newFakeSource()
	e := start(t, s, Config{Owners: o})
	s.packet(s.open(0, 40000, model.ProtoTCP, reading.SlotRoleNone), 1, model.FlagACK)
	if f := window(t, e).Flows.Slice()[0]; f.Server.Owner != o.holder[0] || o.created != 0 {
		t.Errorf("got %+v, asked about %d", f, o.created)
	}
}

// A holder found while a socket was open is remembered when it is closed, and not for the next flow.
func TestHolderIsRemembered(t *testing.T) {
	o := newFakeOwners()
	holder := &model.Owner{Source: model.OwnerScan}
	o.holder[0] = holder
	s := newFakeSource()
	e := start(t, s, Config{Owners: o})
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(slot, 1, model.FlagSYN)
	s.pass(time.Second)
	sweep(t, e)
	o.holder[0] = &model.Owner{Comm: "stranger"} // who reuses the address
	s.packet(slot, 0, model.FlagRST)
	s.pass(2 * time.Second)
	sweep(t, e)
	if len(s.retired) != 1 {
		t.Fatal("the flow still has its slot")
	}
	next := s.open(0, 40001, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(next, 1, model.FlagSYN)
	flows := window(t, e).Flows.Slice()
	if len(flows) != 2 || flows[1].Server.Owner != holder || flows[0].Server.Owner != nil {
		t.Errorf("got %+v", flows)
	}
}

// A datagram socket may never speak, and is asked about at once.
func TestHolderOfDatagrams(t *testing.T) {
	o := newFakeOwners()
	o.holder[0] = &model.Owner{Source: model.OwnerScan}
	s := newFakeSource()
	e := start(t, s, Config{Owners: o})
	s.packet(s.open(0, 40000, model.ProtoUDP, reading.SlotRoleFirst), 1, 0)
	if f := window(t, e).Flows.Slice()[0]; f.Server.Owner != o.holder[0] || f.Client.Owner != nil {
		t.Errorf("got %+v", f)
	}
}

// Hidden traffic is in no row and not in the totals, and the device still agrees.
func TestHide(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{Hide: func(f *model.Flow) bool { return f.Client.Port == 40001 }})
	s.packet(s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN), 1, model.FlagSYN)
	hidden := s.open(1, 40001, model.ProtoTCP, reading.SlotRoleSYN)
	s.packet(hidden, 1, model.FlagSYN)
	s.packet(hidden, 0, model.FlagSYN)
	w := window(t, e)
	want := model.Hidden{Flows: 1, Count: model.Count{SKBs: 2, Packets: 2, Bytes: 200}}
	if w.Hidden != want || w.Flows.Len() != 1 || w.Totals.Packets != 1 || !w.Device.Agrees {
		t.Errorf("hidden %+v, %d rows, totals %+v, device %+v", w.Hidden, w.Flows.Len(), w.Totals, w.Device)
	}
	if w := window(t, e); w.Hidden != (model.Hidden{}) {
		t.Errorf("hidden in the next window: %+v", w.Hidden)
	}
}
