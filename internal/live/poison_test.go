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
		Window: func(w *model.Window) error { windows = append(windows, w); return nil },
		Packet: func(p *model.Packet) error { packet = *p; return nil },
		Turn:   func(e *model.Traced) error { turn = *e; return nil },
	}.poisoned()
	lo := netip.MustParseAddr("127.0.0.1")
	flow := model.Flow{
		Client: model.Endpoint{Addr: lo, Port: 40000}, Server: model.Endpoint{Addr: lo, Port: 80}, Tally: model.Tally{ToServer: model.Counters{Packets: 3}},
	}
	window := func() error {
		return sinks.Window(&model.Window{Totals: model.Count{Packets: 3}, Flows: model.NewFlows(flow)})
	}
	if err := window(); err != nil {
		t.Fatal(err)
	}
	first := windows[0]
	if f := first.Flows.At(0); f.Server.Port != 80 || f.ToServer.Packets != 3 || first.Totals.Packets != 3 {
		t.Errorf("spoiled before the next window: %+v", f)
	}
	if err := window(); err != nil {
		t.Fatal(err)
	}
	if f := first.Flows.At(0); f.Server.Port == 80 || f.ToServer.Packets == 3 || first.Totals.Packets == 3 {
		t.Errorf("a window that was kept is whole: %+v", f)
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
