package model

import (
	"errors"
	"net/netip"
	"testing"
)

// at is a window of one site with a flow of so many packets, which a queue waits for.
func at(site uint32, packets uint64) *Window {
	count := Counters{Packets: packets, Bytes: 100 * packets, SKBs: packets}
	f := Flow{
		Site: site, Proto: ProtoTCP, RoleSource: RoleListener, BeganNS: 5,
		Client: Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 40000},
		Server: Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 80},
		Tally:  Tally{ToServer: count},
	}
	listening := make(Listening)
	listening.Add(&AcceptQueue{ListenKey: ListenKey{Site: site, Addr: f.Server.Addr, Port: 80}, Length: site, Overflows: packets})
	total := Count{SKBs: packets, Packets: packets, Bytes: 100 * packets}
	span := func(n uint64) DeviceSpan {
		return DeviceSpan{DeviceCount{Packets: n, Bytes: 100 * n}, DeviceCount{Packets: n, Bytes: 100 * n}}
	}
	return &Window{
		Origin: Origin{Sites: []Site{{Number: site}}}, Totals: total, Device: NewDevice(span(7), span(7+packets), total),
		Flows: NewFlows(f), Listening: listening,
	}
}

// The same addresses at two sites are two flows, and two places to listen.
func TestJoin(t *testing.T) {
	w := at(1, 3)
	w.Join(at(2, 5))
	if w.Flows.Len() != 2 || len(w.Origin.Sites) != 2 || w.Totals.Packets != 8 {
		t.Fatalf("%d flows, sites %+v, totals %+v", w.Flows.Len(), w.Origin.Sites, w.Totals)
	}
	if d := w.Device; d.Packets != 8 || d.Bytes != 800 || !d.Agrees || *d != *NewDevice(d.Start, d.End, w.Totals) {
		t.Errorf("device %+v", *d)
	}
	for f := range w.Flows.All() {
		if q := w.Listening.Of(f.Site, f.Server.AddrPort()); q == nil || q.Length != f.Site {
			t.Errorf("site %d: queue %+v", f.Site, q)
		}
	}
	w.Join(&Window{})
	if w.Device != nil {
		t.Errorf("a site whose device is unknown, and yet %+v", *w.Device)
	}
}

func folded(windows ...*Window) *Window {
	var folder Folder
	for _, w := range windows {
		folder.Add(w)
	}
	return folder.Window()
}

// Windows of several sites fold as those of each of them do.
func TestFoldOfSites(t *testing.T) {
	w, next := at(1, 3), at(1, 10)
	w.Join(at(2, 5))
	next.Join(at(2, 20))
	next.Device.Start.add(&DeviceSpan{DeviceCount{Packets: 8, Bytes: 800}, DeviceCount{Packets: 8, Bytes: 800}})
	next.Device.End.add(&DeviceSpan{DeviceCount{Packets: 8, Bytes: 800}, DeviceCount{Packets: 8, Bytes: 800}})
	w = folded(w, next)
	if d := w.Device; d.Packets != 38 || d.Bytes != 3800 || !d.Agrees {
		t.Errorf("device %+v", *d)
	}
	sums := make(map[uint32]uint64)
	for f := range w.Flows.All() {
		sums[f.Site] += f.ToServer.Packets
		if f.AcceptQueue == nil || f.AcceptQueue.Overflows != f.ToServer.Packets {
			t.Errorf("site %d: queue %+v", f.Site, f.AcceptQueue)
		}
	}
	if w.Flows.Len() != 2 || sums[1] != 13 || sums[2] != 25 || w.Totals.Packets != 38 {
		t.Errorf("%d flows, %v, totals %+v", w.Flows.Len(), sums, w.Totals)
	}
}

// An identity neither depends on roles nor is another connection's on the same ports.
func TestFlowID(t *testing.T) {
	f := at(1, 1).Flows.Slice()[0]
	id := f.ID()
	f.Client, f.Server = f.Server, f.Client
	if f.ID() != id {
		t.Error("another one when the roles are turned")
	}
	for what, change := range map[string]func(*Flow){
		"site": func(f *Flow) { f.Site++ }, "kind": func(f *Flow) { f.Kind++ }, "protocol": func(f *Flow) { f.Proto++ },
		"address": func(f *Flow) { f.Client.Addr = f.Client.Addr.Next() }, "port": func(f *Flow) { f.Client.Port++ },
		"beginning": func(f *Flow) { f.BeganNS++ },
	} {
		other := f
		change(&other)
		if other.ID() == id {
			t.Errorf("the same at another %s", what)
		}
	}
}

// A queue is in a folded window as long as somebody listens there at its end, or nobody knows.
func TestFoldOfClosedListeners(t *testing.T) {
	for _, failed := range []error{nil, errors.New("refused")} {
		w, next := at(1, 3), at(1, 10)
		next.Listening, next.QueuesFailed = nil, failed
		w = folded(w, next)
		f := w.Flows.At(0)
		if known := f.AcceptQueue != nil; known != (failed != nil) || known && f.AcceptQueue.Overflows != 3 {
			t.Errorf("failed %v: queue %+v", failed, f.AcceptQueue)
		}
	}
}

// A part whose client was guessed wrongly is turned round to fit the one that saw the connection begin, and one of the
// same slot whose client became known later takes what it says.
func TestFoldTurnsRoles(t *testing.T) {
	turned := func(f Flow) Flow {
		f.turnRound()
		return f
	}
	first := at(1, 3).Flows.Slice()[0]
	first.RoleSource, first.ClientSRTT, first.LastNS, first.TCPFlags = RoleSYN, 7, [2]uint64{9, 0}, [2]uint8{FlagSYN, 0}
	first.Health = &Health{Client: EndHealth{Resets: 1}}
	guessed := turned(first.Clone())
	guessed.RoleSource = RolePort
	later := guessed
	later.BeganNS = 20
	for name, test := range map[string]struct {
		older, newer Flow
		client       uint16
	}{
		"the beginning was seen": {first, later, 40000},
		"it is known later":      {guessed, first, 40000},
		"it is guessed later":    {first, guessed, 80},
	} {
		w, next := at(1, 3), at(1, 3)
		w.Flows, next.Flows = NewFlows(test.older), NewFlows(test.newer)
		w = folded(w, next)
		f := w.Flows.At(0)
		sent, srtt, flags, health := f.ToServer.Packets, f.ClientSRTT, f.TCPFlags[0], f.Health.Client.Resets
		if test.client == 80 {
			sent, srtt, flags, health = f.ToClient.Packets, f.ServerSRTT, f.TCPFlags[1], f.Health.Server.Resets
		}
		if w.Flows.Len() != 1 || f.Client.Port != test.client || sent != 6 || srtt != 7 || flags != FlagSYN || health != 2 {
			t.Errorf("%s: %d rows, %+v, health %+v", name, w.Flows.Len(), *f, *f.Health)
		}
	}
}
