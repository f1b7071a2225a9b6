package loader_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// senders runs each function over and over until stopped.
type senders struct {
	tb   testing.TB
	stop chan struct{}
	wg   sync.WaitGroup
}

func newSenders(tb testing.TB) *senders {
	return &senders{tb: tb, stop: make(chan struct{})}
}

func (s *senders) repeat(send func() error) {
	s.wg.Go(func() {
		for {
			select {
			case <-s.stop:
				return
			default:
			}
			if err := send(); err != nil {
				s.tb.Error(err)
				return
			}
		}
	})
}

func (s *senders) wait() {
	close(s.stop)
	s.wg.Wait()
}

// mixed is traffic in which flows begin, end, pause and go on.
func (s *senders) mixed(ns *testkit.Netns) {
	s.repeat(func() error { _, err := testkit.TCPBulk(ns, 4, 8<<20); return err })
	s.repeat(func() error { _, err := testkit.PingPong(ns, 6, 200, 64); return err })
	s.repeat(func() error { _, err := testkit.UDPCount(ns, 4, 1009, 100); return err })
	s.repeat(func() error { _, err := testkit.ICMPEcho(ns, 4, 101, 56); return err })
	s.repeat(func() error { _, err := testkit.ShortConnections(ns, 4, 211, 8); return err })
}

func retireFor() time.Duration {
	if testing.Short() {
		return time.Second
	}
	return 4 * time.Second
}

// Every slot is taken from under running traffic, again and again: no packet may fall between the
// last reading of a slot and its next use.
func TestRetireLosesNoPacket(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind, MaxFlows: loader.MinFlows})
			var now reading.Reading
			var total model.Count
			add := func(slot *reading.SlotCount) {
				for _, d := range slot.Dir {
					total.Add(model.Count{SKBs: d.SKBs, Packets: d.Packets, Bytes: d.Bytes})
				}
			}
			if err := r.loader.Read(&now); err != nil {
				t.Fatal(err)
			}
			before := now.Device.After
			traffic := newSenders(t)
			traffic.mixed(r.ns)
			var finals []reading.Slot
			var slots []uint32
			// By time, not by rounds: without the grace period a round is short, and it takes
			// thousands to hit the moment.
			for begin := time.Now(); time.Since(begin) < retireFor() && !t.Failed(); {
				if err := r.loader.ReadSlots(&now); err != nil {
					t.Fatal(err)
				}
				slots = slots[:0]
				for count := range now.InUse() {
					slots = append(slots, count.Index)
				}
				var err error
				if finals, err = r.loader.Retire(slots, finals[:0]); err != nil {
					t.Fatal(err)
				}
				for i := range finals {
					add(&finals[i].SlotCount)
				}
			}
			traffic.wait()
			testkit.Quiesce(r.ns)
			if err := r.loader.Read(&now); err != nil {
				t.Fatal(err)
			}
			for count := range now.InUse() {
				add(count)
			}
			for reason, count := range now.Reasons {
				if reading.Reason(reason).IsOverflow() {
					total.Add(count)
				}
			}
			packets, bytes := now.Device.After.Packets-before.Packets, now.Device.After.Bytes-before.Bytes
			if total.Packets != packets || total.Bytes != bytes {
				t.Errorf("counted %d packets %d bytes, device %d and %d", total.Packets, total.Bytes, packets, bytes)
			}
		})
	}
}

// A minute of everything, counted by all hooks side by side.
func TestMinuteOfChurn(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, "6.6", "tcx beside the other hooks")
	const (
		seconds = 60
		rate    = 2000 // connections a second
		batch   = rate / 10
	)
	ns := testkit.NewNetns(t)
	var rigs []*rig
	for _, kind := range allHooks {
		rigs = append(rigs, newRigIn(t, ns, loader.Config{Hook: kind}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watchers sync.WaitGroup
	for _, r := range rigs {
		watchers.Go(func() {
			// Sweeps only: the one window is taken below, when traffic rests.
			err := live.Loop(ctx, live.Timing{}, live.Parts{Engine: sweeper{r}}, live.Sinks{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	traffic := newSenders(t)
	traffic.mixed(ns)
	ticker := time.NewTicker(time.Second / (rate / batch))
	var batches sync.WaitGroup
	for range seconds * rate / batch {
		<-ticker.C
		batches.Go(func() {
			if _, err := testkit.ShortConnections(ns, 4, batch, 8); err != nil {
				t.Error(err)
			}
		})
	}
	ticker.Stop()
	batches.Wait()
	traffic.wait()
	testkit.Quiesce(ns)
	cancel()
	watchers.Wait()
	for _, r := range rigs {
		if s := r.window(); s.Flows.Len() < seconds*rate {
			t.Errorf("%s: %d rows for %d connections", r.loader.Hook(), s.Flows.Len(), seconds*rate)
		} else if s.Overflow.Packets != 0 {
			t.Errorf("%s: overflow %+v", r.loader.Hook(), s.ByCause)
		}
	}
}

// sweeper is an engine whose windows are somebody else's business.
type sweeper struct{ *rig }

func (s sweeper) Look() error                                { return s.engine.Look() }
func (s sweeper) Settle()                                    { s.engine.Settle() }
func (s sweeper) Sweep() error                               { return s.engine.Sweep() }
func (s sweeper) Window(*model.Flows) (*model.Window, error) { return &model.Window{}, nil }

// Connections that are older than the loader show with the right client at their first packet.
func TestOlderConnections(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, "6.1", "any hook")
	for _, family := range []uint8{4, 6} {
		ns := testkit.NewNetns(t)
		conn, err := testkit.Dial(ns, family)
		if err != nil {
			t.Fatal(err)
		}
		r := newRigIn(t, ns, loader.Config{})
		if err := conn.Answer(); err != nil { // the server's packet is the first we see
			t.Fatal(err)
		}
		s := r.window()
		f := r.flow(s, conn.Client, conn.Server)
		if f.RoleSource != model.RoleListener || f.State != "established" {
			t.Errorf("role from %q, state %q", f.RoleSource, f.State)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestListeners(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	conn, err := testkit.Dial(ns, 6)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := newRigIn(t, ns, loader.Config{})
	listeners, err := r.loader.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	if len(listeners) != 1 || listeners[0].Port != conn.Server.Port() || listeners[0].Proto != model.ProtoTCP {
		t.Errorf("listeners %+v, want port %d alone", listeners, conn.Server.Port())
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []loader.Config{
		{MaxFlows: loader.MinFlows - 1},
		{MaxFlows: loader.MaxFlows + 1},
		{Hook: hook.XDP, Stages: true},
		{Netns: "no-such-name"},
		{Hook: "nonsense"},
	} {
		l, err := loader.Open(c)
		if err == nil {
			err = errors.Join(errors.New("opened"), l.Close())
			t.Errorf("%+v: %v", c, err)
		}
	}
}
