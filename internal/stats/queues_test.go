package stats

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

func TestQueues(t *testing.T) {
	s := newFakeSource()
	older := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	silent := s.open(5, 40005, model.ProtoTCP, reading.SlotRoleNone) // as far as its sockets go, when counting began
	known := s.open(1, 40001, model.ProtoUDP, reading.SlotRoleFirst)
	s.now.Queues = []reading.Queue{{Slot: 1, End: 0, Drops: 100}}
	e := start(t, s, Config{})
	s.pass(time.Second)
	young := s.open(2, 40002, model.ProtoTCP, reading.SlotRoleSYN)
	midlife := s.open(3, 40003, model.ProtoTCP, reading.SlotRoleNone)
	served := s.open(4, 40004, model.ProtoUDP, reading.SlotRoleFirst) // by a socket that has served others
	all := []*reading.Slot{older, silent, known, young, midlife, served}
	expect := func(queues []reading.Queue, want map[uint16]*model.Health) {
		t.Helper()
		s.now.Queues = queues
		for _, slot := range all {
			s.packet(slot, 1, model.FlagACK)
		}
		s.pass(time.Second)
		for _, f := range window(t, e).Flows.Slice() {
			sameHealth(t, f.Client.AddrPort().String(), f.Health, want[f.Client.Port])
		}
	}
	queues := []reading.Queue{
		{Slot: 0, End: 1, Receive: 10, Send: 20, OutOfOrder: 5},
		{Slot: 1, End: 0, Drops: 103},
		{Slot: 2, End: 1, OutOfOrder: 2},
		{Slot: 3, End: 1, OutOfOrder: 9},
		{Slot: 4, End: 0, Drops: 50},
		{Slot: 5, End: 1, OutOfOrder: 4},
		{Slot: 60, End: 0, Receive: 1}, // whose slot is free by now
	}
	expect(queues, map[uint16]*model.Health{
		40000: {Client: model.EndHealth{ReceiveQueue: 10, SendQueue: 20, OutOfOrder: 5}},
		40001: {Server: model.EndHealth{SocketDrops: 3}},
		40002: {Client: model.EndHealth{OutOfOrder: 2}},
		40005: {Client: model.EndHealth{OutOfOrder: 4}},
	})
	expect(nil, nil)
	queues[0].OutOfOrder, queues[3].OutOfOrder, queues[4].Drops = 6, 10, 51
	expect(append(queues[:2:2], queues[3:]...), map[uint16]*model.Health{
		40000: {Client: model.EndHealth{ReceiveQueue: 10, SendQueue: 20, OutOfOrder: 1}},
		40003: {Client: model.EndHealth{OutOfOrder: 1}},
		40004: {Server: model.EndHealth{SocketDrops: 1}},
	})
}

// A slot's next flow inherits nothing from the sockets of the one before.
func TestQueuesOfReusedSlots(t *testing.T) {
	s := newFakeSource()
	slot := s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN)
	s.now.Queues = []reading.Queue{{Slot: 0, End: 1, OutOfOrder: 5}}
	s.packet(slot, 1, model.FlagRST)
	e := start(t, s, Config{})
	s.pass(time.Minute)
	sweep(t, e)
	next := s.open(0, 40001, model.ProtoTCP, reading.SlotRoleSYN)
	s.now.Queues = []reading.Queue{{Slot: 0, End: 1, OutOfOrder: 2}}
	s.packet(next, 1, model.FlagSYN)
	sameHealth(t, "next", onlyFlow(t, e).Health, &model.Health{Client: model.EndHealth{OutOfOrder: 2}})
}

func TestAcceptQueues(t *testing.T) {
	listen := func(addr string, length, limit uint32, drops uint64) reading.Backlog {
		at := endpoint(addr, nil)
		return reading.Backlog{Addr: at.Addr, Port: at.Port, Length: length, Limit: limit, Drops: drops}
	}
	v6only := listen("[::]:80", 9, 9, 9)
	v6only.V6Only = true
	for _, test := range []struct {
		name        string
		first, then []reading.Backlog
		want        *model.AcceptQueue
	}{
		{"nobody", nil, []reading.Backlog{listen("127.0.0.1:81", 1, 2, 3), listen("127.0.0.2:80", 1, 2, 3), v6only}, nil},
		{"overflows", []reading.Backlog{listen("127.0.0.1:80", 0, 128, 7)}, []reading.Backlog{listen("127.0.0.1:80", 129, 128, 12)},
			&model.AcceptQueue{Length: 129, Limit: 128, Overflows: 5}},
		{"new", nil, []reading.Backlog{listen("127.0.0.1:80", 1, 2, 3)}, &model.AcceptQueue{Length: 1, Limit: 2, Overflows: 3}},
		{"another", []reading.Backlog{listen("127.0.0.1:80", 0, 2, 7)}, []reading.Backlog{listen("127.0.0.1:80", 0, 2, 1)},
			&model.AcceptQueue{Limit: 2, Overflows: 1}},
		{"any address", nil, []reading.Backlog{listen("0.0.0.0:80", 1, 2, 3)}, &model.AcceptQueue{Length: 1, Limit: 2, Overflows: 3}},
		{"both families", nil, []reading.Backlog{listen("[::]:80", 1, 2, 3)}, &model.AcceptQueue{Length: 1, Limit: 2, Overflows: 3}},
		{"the closest", nil, []reading.Backlog{listen("[::]:80", 1, 2, 3), listen("127.0.0.1:80", 4, 5, 6), listen("0.0.0.0:80", 7, 8, 9)},
			&model.AcceptQueue{Length: 4, Limit: 5, Overflows: 6}},
		{"several of one place", []reading.Backlog{listen("127.0.0.1:80", 0, 4, 1), listen("127.0.0.1:80", 0, 4, 2)},
			[]reading.Backlog{listen("127.0.0.1:80", 1, 4, 3), listen("127.0.0.1:80", 2, 4, 4)},
			&model.AcceptQueue{Length: 3, Limit: 8, Overflows: 4}},
	} {
		s := newFakeSource()
		s.now.Backlogs = test.first
		e := start(t, s, Config{})
		s.now.Backlogs = test.then
		s.packet(s.open(0, 40000, model.ProtoTCP, reading.SlotRoleSYN), 1, model.FlagSYN)
		f := onlyFlow(t, e)
		if diff := cmp.Diff(test.want, f.AcceptQueue, cmpopts.IgnoreFields(model.AcceptQueue{}, "ListenKey")); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}
