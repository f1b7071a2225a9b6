package stats

import (
	"net/netip"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// sampleOf is what the source would sample on the slot just now.
func (s *fakeSource) sampleOf(slot *reading.Slot) *reading.Sample {
	return &reading.Sample{MonoNS: s.now.MonoNS, Key: slot.Key, Slot: slot.Index, Client: slot.Client}
}

func look(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Look(); err != nil {
		t.Fatal(err)
	}
}

// A sample's flow is known from the first look at it until its last window is over, and it is never
// another one on the same ports.
func TestFlowOf(t *testing.T) {
	client, server, stranger := &reading.Process{Comm: "client"}, &reading.Process{Comm: "server"}, &reading.Process{Comm: "stranger"}
	owners := newFakeOwners(client, server, stranger)
	for process, owner := range owners.owners {
		owner.Comm = process.Comm
	}
	s := newFakeSource()
	e := start(t, s, Config{Owners: owners})
	expect := func(what string, sample *reading.Sample, want string) {
		t.Helper()
		f, known := e.FlowOf(sample)
		if f.Client.Port != 40000 || f.Server.Port != 80 || f.ToServer.Packets != 0 {
			t.Errorf("%s: %+v", what, f)
		}
		got := "unknown"
		if known {
			got = comm(&f.Client) + " " + comm(&f.Server)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}

	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	slot.Owner = [2]*reading.Process{server, client}
	s.packet(slot, 1, model.FlagSYN)
	first := s.sampleOf(slot)
	expect("before anybody looked", first, "unknown")
	look(t, e)
	expect("young", first, "client server")

	s.packet(slot, 0, model.FlagRST)
	last := s.sampleOf(slot)
	s.pass(time.Minute)
	sweep(t, e)
	if len(s.retired) != 1 {
		t.Fatal("the slot is not free")
	}
	expect("ended", last, "client server")

	s.pass(time.Second)
	next := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	next.Owner = [2]*reading.Process{stranger, stranger}
	s.packet(next, 1, model.FlagSYN)
	look(t, e)
	expect("the next connection", s.sampleOf(next), "stranger stranger")
	expect("the one before", last, "client server")

	window(t, e)
	expect("long gone", last, "unknown")
	expect("goes on", s.sampleOf(next), "stranger stranger")
	nowhere := s.sampleOf(next)
	nowhere.Slot, nowhere.Key.Site = reading.NoSlot, 1
	expect("in no flow", nowhere, "unknown")
}

// A flow that a sweep has just freed still has its name, though nothing of it was counted in the window.
func TestFlowOfJustFreed(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{})
	var samples []*reading.Sample
	for i := range uint16(3) {
		slot := s.open(uint32(i), 40000+i, model.ProtoUDP, reading.SlotRoleFirst)
		s.packet(slot, 1, 0)
		samples = append(samples, s.sampleOf(slot))
	}
	window(t, e)
	s.pass(time.Hour)
	s.packet(s.slots[1], 1, 0)
	if err := e.Sweep(); err != nil {
		t.Fatal(err)
	}
	if len(s.retired) != 2 {
		t.Fatalf("%v were freed", s.retired)
	}
	for i, sample := range samples {
		if f, known := e.FlowOf(sample); !known || f.Client.Port != 40000+uint16(i) {
			t.Errorf("flow %d: known %v, %+v", i, known, f)
		}
	}
	look(t, e)
	if _, known := e.FlowOf(samples[0]); known {
		t.Error("known after another reading")
	}
}

// Where samples are asked about, a flow that was silent in its last window is known until that is over: its samples may
// be read late.
func TestFlowOfSilent(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{Samples: true})
	slot := s.open(0, 40000, model.ProtoUDP, reading.SlotRoleFirst)
	s.packet(slot, 1, 0)
	sample := s.sampleOf(slot)
	window(t, e)
	s.pass(time.Hour)
	if err := e.Sweep(); err != nil || len(s.retired) != 1 {
		t.Fatalf("%v were freed, error %v", s.retired, err)
	}
	look(t, e)
	if f, known := e.FlowOf(sample); !known || f.Client.Port != 40000 {
		t.Errorf("after another reading: known %v, %+v", known, f)
	}
	if w := window(t, e); w.Flows.Len() != 0 {
		t.Errorf("rows %+v", w.Flows.Slice())
	}
	if _, known := e.FlowOf(sample); known {
		t.Error("known when its window is over")
	}
}

// Of a sample whose flow is in no table, too, the client is who did not listen, or has a client's port, and not the end
// that comes first in the key.
func TestFlowOfNoSlot(t *testing.T) {
	s := newFakeSource()
	lo := netip.MustParseAddr("127.0.0.1")
	e := start(t, s, Config{Listeners: []reading.Listener{{Proto: model.ProtoTCP, Addr: lo, Port: 50000}}})
	for _, test := range []struct {
		ports         [2]uint16
		slot          uint32
		sampled, want uint8
	}{
		{[2]uint16{80, 40000}, reading.NoSlot, 0, 1},
		{[2]uint16{40000, 50000}, reading.NoSlot, 0, 0},
		{[2]uint16{45000, 50000}, 9, 1, 0},
		{[2]uint16{45000, 50001}, 9, 0, 0},
		{[2]uint16{45000, 50001}, 9, 1, 1},
	} {
		sample := reading.Sample{Slot: test.slot, Client: test.sampled, Key: reading.SlotKey{
			Addr: [2][16]byte{lo.As16(), lo.As16()}, Port: test.ports, Proto: model.ProtoTCP,
		}}
		f, known := e.FlowOf(&sample)
		if known || f.Client.Port != test.ports[test.want] || f.Server.Port != test.ports[1-test.want] {
			t.Errorf("%+v: client %d, server %d, known %v", test, f.Client.Port, f.Server.Port, known)
		}
	}
}
