package trace

import (
	"net/netip"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// known says nothing of flows.
type known struct{}

func (known) Now() (uint64, time.Time)                          { return 0, time.Time{} }
func (known) Progress(*reading.Sample) (reading.Progress, bool) { return reading.Progress{}, false }
func (known) FlowOf(*reading.Sample) (model.Flow, bool)         { return model.Flow{}, false }

// The parts of a turn are the engine's while it tells of them, and copied once.
func TestPartsAreCopiedOnce(t *testing.T) {
	turns := NewTurns(Config{}, nil)
	lent := reading.SlowTurn{AskedNS: 1, Parts: &model.SlowParts{Wait: 5}}
	turns.SlowTurn(&lent)
	kept := turns.slow[0].Parts
	lent.Parts.Wait = 6
	if err := turns.Show(known{}, false); err != nil {
		t.Fatal(err)
	}
	if got := turns.tracker.parts[0][turnID{lent.Key, 1}]; got == nil || got != kept || got.Wait != 5 {
		t.Errorf("kept %p %+v, told %p %+v", kept, kept, got, got)
	}
}

// An event is put to the ends that windows show as client and server, whoever the kernel took for the client when it
// sampled the packet, and a reset counts for the end that sent it.
func TestDescribe(t *testing.T) {
	lo := netip.MustParseAddr("127.0.0.1")
	key := reading.SlotKey{Addr: [2][16]byte{lo.As16(), lo.As16()}, Port: [2]uint16{80, 40000}, Proto: model.ProtoTCP}
	const serverEnd, clientEnd = 0, 1
	for _, sampled := range []uint8{serverEnd, clientEnd} {
		for _, by := range []uint8{serverEnd, clientEnd} {
			f := model.Flow{Client: model.Endpoint{Addr: lo, Port: 40000}, Server: model.Endpoint{Addr: lo, Port: 80}}
			conn := model.ConnEvent{Change: model.ConnReset}
			told := describe(&f, &Event{Of: reading.Sample{Key: key, Client: sampled}, Conn: &conn, By: by})
			if !told || f.Client.Port != 40000 || conn.ByServer != (by == serverEnd) {
				t.Errorf("sampled with client %d, reset by %d: told %v, %+v, %+v", sampled, by, told, conn, f)
			}
			want := [2]uint64{1 - uint64(by), uint64(by)} // by end of the key
			if h := f.Health; h.Server.Resets != want[serverEnd] || h.Client.Resets != want[clientEnd] || h.Errors() != 1 {
				t.Errorf("sampled with client %d, reset by %d: %+v", sampled, by, h)
			}
		}
		f := model.Flow{Client: model.Endpoint{Addr: lo, Port: 40000}, Server: model.Endpoint{Addr: lo, Port: 80}}
		turn := Event{Of: reading.Sample{Key: key, Client: sampled}, Turn: &model.Turn{RequestBytes: 3, AnswerBytes: 6}}
		if told := describe(&f, &turn); told != (sampled == clientEnd) {
			t.Errorf("a turn that end %d asked for: told %v", sampled, told)
		} else if told && (f.Client.Port != 40000 || f.ToServer.PayloadBytes != 3 || f.ToClient.PayloadBytes != 6) {
			t.Errorf("a turn that end %d asked for: %+v", sampled, f)
		}
	}
}
