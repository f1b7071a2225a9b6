package live

import (
	"bytes"
	"net/netip"
	"os"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

func TestMain(m *testing.M) {
	Poison = true
	testkit.RunRole()
	os.Exit(m.Run())
}

// A sink that keeps what it was lent for longer than it may finds junk there.
func TestPoison(t *testing.T) {
	var windows []*model.Window
	var packet model.Packet
	var turn model.Traced
	sinks := Sinks{
		Window: func(w *model.Window) error {
			windows = append(windows, w)
			if f := w.Flows.At(0); f.Server.Port != 80 || f.ToServer.Packets != 3 || w.Totals.Packets != 3 {
				t.Errorf("spoiled while it is lent: %+v", f)
			}
			return nil
		},
		Packet: func(p *model.Packet) error { packet = *p; return nil },
		Turn:   func(e *model.Traced) error { turn = *e; return nil },
	}
	lenders := sinks
	lenders.Rows = func() *model.Flows { return nil }
	sinks, lenders = sinks.poisoned(), lenders.poisoned()
	lo := netip.MustParseAddr("127.0.0.1")
	flow := model.Flow{
		Client: model.Endpoint{Addr: lo, Port: 40000}, Server: model.Endpoint{Addr: lo, Port: 80}, Tally: model.Tally{ToServer: model.Counters{Packets: 3}},
	}
	for _, s := range []Sinks{sinks, lenders} {
		if err := s.Window(&model.Window{Totals: model.Count{Packets: 3}, Flows: model.NewFlows(flow)}); err != nil {
			t.Fatal(err)
		}
	}
	if f := windows[0].Flows.At(0); f.Server.Port == 80 || f.ToServer.Packets == 3 || windows[0].Totals.Packets == 3 {
		t.Errorf("a window that was kept is whole: %+v", f)
	}
	if f := windows[1].Flows.At(0); f.Server.Port != 80 || windows[1].Totals.Packets == 3 {
		t.Errorf("of a window in the sink's own list, not all but the list is spoiled: %+v, %+v", f, windows[1])
	}

	data := []byte("data")
	if err := sinks.Packet(&model.Packet{Data: data, Flow: &flow}); err != nil {
		t.Fatal(err)
	}
	if string(packet.Data) == "data" || packet.Flow.Server.Port == 80 || string(data) != "data" {
		t.Errorf("a packet that was kept is whole: %+v of %+v", packet, packet.Flow)
	}
	if err := sinks.Turn(&model.Traced{Flow: &flow, Turn: &model.Turn{Number: 7, Request: data}}); err != nil {
		t.Fatal(err)
	}
	if turn.Turn.Number == 7 || bytes.Equal(turn.Turn.Request, data) || turn.Flow.Server.Port == 80 || flow.Server.Port != 80 {
		t.Errorf("a turn that was kept is whole: %+v of %+v", turn.Turn, turn.Flow)
	}
}
