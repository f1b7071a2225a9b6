package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/tap"
	"github.com/lotrace/lotrace/internal/testkit"
	"github.com/lotrace/lotrace/internal/trace"
)

// seen is what the sinks of a run had, in words that say nothing of when that was.
type seen struct {
	rows    map[string]row
	totals  model.Count
	device  model.Count
	packets []string
	turns   []string
}

// row is what all windows say of a flow.
type row struct {
	toServer, toClient model.Count
	turns, connects    uint64
}

func endsOf(f *model.Flow) string {
	return fmt.Sprintf("%v %v → %v", f.Proto, f.Client.AddrPort(), f.Server.AddrPort())
}

// pidOf is 0 for an owner that nobody knows.
func pidOf(e *model.Endpoint) uint32 {
	if e.Owner == nil {
		return 0
	}
	return e.Owner.PID
}

func (s *seen) window(w *model.Window) error {
	if w.Device == nil || !w.Device.Agrees || w.Overflow.Packets > 0 {
		return fmt.Errorf("device %+v, overflow %+v", w.Device, w.Overflow)
	}
	if s.rows == nil {
		s.rows = make(map[string]row)
	}
	for f := range w.Flows.All() {
		r := s.rows[endsOf(f)]
		r.toServer.Add(model.Count{SKBs: f.ToServer.SKBs, Packets: f.ToServer.Packets, Bytes: f.ToServer.Bytes})
		r.toClient.Add(model.Count{SKBs: f.ToClient.SKBs, Packets: f.ToClient.Packets, Bytes: f.ToClient.Bytes})
		r.turns += f.Turn.Count
		r.connects += f.Connect.Count
		s.rows[endsOf(f)] = r
	}
	s.totals.Add(w.Totals)
	s.device.Add(model.Count{Packets: w.Device.Packets, Bytes: w.Device.Bytes})
	return nil
}

func (s *seen) packet(p *model.Packet) error {
	s.packets = append(s.packets, fmt.Sprintf("%s to server %v: %d %x, client of %d",
		endsOf(p.Flow), p.ToServer, p.Length, p.Data, pidOf(&p.Flow.Client)))
	return nil
}

func (s *seen) turn(e *model.Traced) error {
	of := fmt.Sprintf("%s, client of %d: ", endsOf(e.Flow), pidOf(&e.Flow.Client))
	if e.Conn != nil {
		of += fmt.Sprintf("%s by server %v, %d unanswered", e.Conn.Change, e.Conn.ByServer, e.Conn.Unanswered)
	} else {
		t := e.Turn
		of += fmt.Sprintf("%d: %d %x asked, %d %x answered", t.Number, t.RequestBytes, t.Request, t.AnswerBytes, t.Answer)
	}
	s.turns = append(s.turns, of)
	return nil
}

// observer is a run with some of the sinks.
type observer struct {
	seen
	hasWindows, hasPackets, hasTurns bool
}

// config asks for what the sinks need: packets cut shorter than turns have them, and windows often, so that flows are
// forgotten meanwhile.
func (o *observer) config(ns *testkit.Netns, begun func()) Config {
	c := Config{
		Kernel: loader.Config{Netns: ns.Path()}, Rights: Rights{KeepAll: true},
		Counting: func(model.Site) { begun() },
	}
	if o.hasWindows {
		c.Interval = 130 * time.Millisecond
	}
	if o.hasPackets {
		c.Packets = Packets{
			SampleConfig: reading.SampleConfig{Policies: reading.SampleAll, Snaplen: 90, Buffer: 16 << 20},
			Options:      tap.Options{Whole: true, RawChecksums: true},
		}
	}
	if o.hasTurns {
		c.Turns = &trace.Config{Payload: 8, Conns: true, Errors: true}
	}
	return c
}

func (o *observer) sinks() Sinks {
	var s Sinks
	if o.hasWindows {
		s.Window = o.window
	}
	if o.hasPackets {
		s.Packet = o.packet
	}
	if o.hasTurns {
		s.Turn = o.turn
	}
	return s
}

// run ends with ctx.
func (o *observer) run(ctx context.Context, ns *testkit.Netns, begun func()) error {
	s, err := Open(o.config(ns, begun))
	if err != nil {
		begun()
		return err
	}
	err = s.Run(ctx, o.sinks())
	counts, countsErr := s.SampleCounts()
	if lost := counts.Lost(); lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d samples lost", lost))
	}
	return errors.Join(err, countsErr, s.Close())
}

// watched has observers look on, side by side, while traffic runs.
func watched(t *testing.T, ns *testkit.Netns, traffic func(), observers ...*observer) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var begun, running sync.WaitGroup
	for _, o := range observers {
		begun.Add(1)
		running.Go(func() {
			if err := o.run(ctx, ns, sync.OnceFunc(begun.Done)); err != nil {
				t.Error(err)
			}
		})
	}
	begun.Wait()
	traffic()
	testkit.Quiesce(ns)
	end()
	running.Wait()
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("\n%s\n%s", a[i], b[i])
		}
	}
	return "one has more"
}

// A run with windows, packets and turns at once has of each what a run has that wants it alone.
func TestThreeAtOnce(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, "6.6", "tcx, for several at once")
	const (
		exchanges   = 300
		datagrams   = 500
		connections = 3500 // whose turns take more than half of the room there is, so that flows are freed soon
	)
	ns := testkit.NewNetns(t)
	windows, packets, turns := &observer{hasWindows: true}, &observer{hasPackets: true}, &observer{hasTurns: true}
	all := &observer{hasWindows: true, hasPackets: true, hasTurns: true}
	watched(t, ns, func() {
		for _, family := range []uint8{4, 6} {
			_, pings := testkit.PingPong(ns, family, exchanges, 100)
			_, counts := testkit.UDPCount(ns, family, datagrams, 300)
			_, short := testkit.ShortConnections(ns, family, connections/2, 4)
			if err := errors.Join(pings, counts, short); err != nil {
				t.Error(err)
			}
		}
	}, windows, packets, turns, all)

	if diff := cmp.Diff(windows.rows, all.rows, cmp.AllowUnexported(row{})); diff != "" || windows.totals != all.totals {
		t.Errorf("windows: totals %+v alone, %+v: %s", windows.totals, all.totals, diff)
	}
	for what, had := range map[string][2][]string{
		"packets": {packets.packets, all.packets}, "turns": {turns.turns, all.turns},
	} {
		alone, together := slices.Sorted(slices.Values(had[0])), slices.Sorted(slices.Values(had[1]))
		if !slices.Equal(alone, together) {
			t.Errorf("%s: %d alone, %d: %s", what, len(alone), len(together), firstDifference(alone, together))
		}
	}
	if n := uint64(len(packets.packets)); n != windows.totals.SKBs || windows.device.Packets != windows.totals.Packets {
		t.Errorf("%d skbs captured, windows have %+v, the device %+v", n, windows.totals, windows.device)
	}
	asked, connects := uint64(0), uint64(0)
	for r := range maps.Values(windows.rows) {
		asked += r.turns
		connects += r.connects
	}
	if connects != connections+2 {
		t.Errorf("%d handshakes in windows", connects)
	}
	if asked < 2*exchanges || uint64(len(turns.turns)) < asked+2*connections {
		t.Errorf("%d turns in windows, %d turns and lives of connections told", asked, len(turns.turns))
	}
}
