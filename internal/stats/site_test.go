package stats

import (
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Every key tells apart two sites' flows on equal addresses and ports.

func TestListenersOfSites(t *testing.T) {
	server := endpoint("127.0.0.1:80", nil)
	l := newListeners([]reading.Listener{{Site: 1, Proto: model.ProtoTCP, Addr: server.Addr, Port: server.Port}})
	at := func(site uint32) *reading.SlotKey {
		return &reading.SlotKey{Site: site, Proto: model.ProtoTCP, Addr: [2][16]byte{server.Addr.As16()}, Port: [2]uint16{server.Port}}
	}
	if !l.has(at(1), 0) {
		t.Error("the listener is unknown at its own site")
	}
	if l.has(at(2), 0) {
		t.Error("the listener is one of another site, too")
	}
}

func TestAcceptQueuesOfSites(t *testing.T) {
	server := endpoint("127.0.0.1:80", nil)
	listen := func(site, length uint32, drops uint64) reading.Backlog {
		return reading.Backlog{Site: site, Addr: server.Addr, Port: server.Port, Length: length, Drops: drops}
	}
	b := backlogs{base: sumDrops([]reading.Backlog{listen(1, 0, 10), listen(2, 0, 100)})}
	b.notice([]reading.Backlog{listen(1, 3, 11), listen(2, 4, 102)})
	for site, want := range map[uint32]model.AcceptQueue{1: {Length: 3, Overflows: 1}, 2: {Length: 4, Overflows: 2}} {
		if got := b.listening.Of(site, server.AddrPort()); got == nil || got.Length != want.Length || got.Overflows != want.Overflows {
			t.Errorf("site %d: %+v, want %+v", site, got, want)
		}
	}
	if got := b.listening.Of(3, server.AddrPort()); got != nil {
		t.Errorf("site 3: %+v", got)
	}
}

func TestRejectedSlowTurnsOfSites(t *testing.T) {
	s := newFakeSource()
	e := start(t, s, Config{Slow: ms, Match: func(f *model.Flow) bool { return f.Site == 2 }})
	for i, turn := range []time.Duration{5 * ms, 6 * ms} {
		slot := s.open(uint32(i), 40000, model.ProtoTCP, reading.SlotRoleSYN)
		slot.Key.Site = uint32(i) + 1
		s.packet(slot, 1, model.FlagACK)
		s.slow(slot, turn)
	}
	s.pass(time.Second)
	w := window(t, e)
	if len(w.Slow) != 1 || w.Slow[0].Turn != 6*ms || w.Slow[0].Site != 2 {
		t.Errorf("slow turns: %+v, want that of site 2", w.Slow)
	}
}

func TestMissingSlowTurnsOfSites(t *testing.T) {
	row := model.Flow{Proto: model.ProtoTCP, Client: endpoint("127.0.0.1:40000", nil), Server: endpoint("127.0.0.1:80", nil)}
	row.Turn = model.Single(90 * ms)
	s := &model.Window{SlowFrom: ms, Flows: new(model.Flows)}
	for site := uint32(1); site <= 2; site++ {
		row.Site = site
		s.Flows.Append(&row)
	}
	s.Slow = []model.SlowTurnRow{{Site: 1, Proto: row.Proto, Client: row.Client, Server: row.Server, Turn: row.Turn.Max}}
	if got := longestMissing(s); len(got) != 1 || got[0].Site != 2 {
		t.Errorf("%+v, want that of site 2", got)
	}
}
