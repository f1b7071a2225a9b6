package loader_test

import (
	"net/netip"
	"testing"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/testkit"
)

// rig counts the loopback traffic of a namespace of its own.
type rig struct {
	testing.TB
	ns     *testkit.Netns
	loader *loader.Loader
	engine *stats.Engine
}

func newRig(tb testing.TB, c loader.Config) *rig {
	tb.Helper()
	testkit.RequireRoot(tb)
	testkit.RequireKernel(tb, minimum(c.Hook), "hook "+string(c.Hook))
	return newRigIn(tb, testkit.NewNetns(tb), c)
}

func newRigIn(tb testing.TB, ns *testkit.Netns, c loader.Config) *rig {
	tb.Helper()
	c.Netns, c.LongWay = ns.Path(), c.LongWay || testkit.LongWay()
	l, err := loader.Open(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	listeners, err := l.Listeners()
	if err != nil {
		tb.Fatal(err)
	}
	maxFlows := c.MaxFlows
	if maxFlows == 0 {
		maxFlows = loader.DefaultFlows
	}
	e, err := stats.Start(l, stats.Config{MaxFlows: maxFlows, MaxEnded: 1 << 20, Listeners: listeners})
	if err != nil {
		tb.Fatal(err)
	}
	return &rig{tb, ns, l, e}
}

// with is the rig for a subtest.
func (r *rig) with(tb testing.TB) *rig {
	sub := *r
	sub.TB = tb
	return &sub
}

// minimum is the oldest kernel that has the hook.
func minimum(kind hook.Kind) string {
	if kind == hook.TCX {
		return "6.6"
	}
	return "6.1"
}

// window waits for traffic to rest and ends the window, in which every packet must be accounted for.
func (r *rig) window() *model.Window {
	r.Helper()
	testkit.Quiesce(r.ns)
	s, err := r.engine.Window(new(model.Flows))
	if err != nil {
		r.Fatal(err)
	}
	sum := s.Overflow
	for _, f := range s.Flows.Slice() {
		for _, c := range []model.Counters{f.ToServer, f.ToClient} {
			sum.Add(model.Count{SKBs: c.SKBs, Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	if sum != s.Totals {
		r.Errorf("rows and overflow make %+v, totals %+v", sum, s.Totals)
	}
	if s.Totals.Packets != s.Device.Packets || s.Totals.Bytes != s.Device.Bytes || !s.Device.Agrees {
		r.Errorf("totals %+v, device %+v", s.Totals, *s.Device)
	}
	if s.Totals.Packets == 0 {
		r.Error("no packet was seen")
	}
	return s
}

// flow finds the row of one conversation.
func (r *rig) flow(s *model.Window, client, server netip.AddrPort) *model.Flow {
	r.Helper()
	rows := s.Flows.Slice()
	for i := range rows {
		if f := &rows[i]; f.Client.AddrPort() == client && f.Server.AddrPort() == server {
			return f
		}
	}
	r.Fatalf("no flow %v to %v among %d", client, server, s.Flows.Len())
	return nil
}

// checkSent compares the row with what the senders say.
func (r *rig) checkSent(s *model.Window, sent testkit.Sent) {
	r.Helper()
	if sent.Flows != 1 || sent.Client.Port() == 0 {
		r.checkMany(s, sent)
		return
	}
	f := r.flow(s, sent.Client, sent.Server)
	if f.Proto != sent.Proto {
		r.Errorf("proto %v, want %v", f.Proto, sent.Proto)
	}
	r.checkAmount(sent.Proto, "to server", f.ToServer, sent.ToServer)
	r.checkAmount(sent.Proto, "to client", f.ToClient, sent.ToClient)
	if f.Proto == model.ProtoTCP && (!f.Closed || f.RoleSource != model.RoleSYN) {
		r.Errorf("closed %v, role from %q", f.Closed, f.RoleSource)
	}
}

func (r *rig) checkAmount(proto model.Proto, direction string, got model.Counters, want testkit.Amount) {
	r.Helper()
	if got.PayloadBytes != want.Payload && proto != model.ProtoSCTP { // there it is whole chunks
		r.Errorf("%s: %d payload bytes, sender wrote %d", direction, got.PayloadBytes, want.Payload)
	}
	if want.Packets != 0 && got.Packets != want.Packets {
		r.Errorf("%s: %d packets, sender made %d", direction, got.Packets, want.Packets)
	}
}

// checkMany compares the sum of all rows to one server.
func (r *rig) checkMany(s *model.Window, sent testkit.Sent) {
	r.Helper()
	var flows int
	var toServer, toClient model.Counters
	for _, f := range s.Flows.Slice() {
		if f.Proto == sent.Proto && f.Server.AddrPort() == sent.Server {
			flows++
			toServer.Add(f.ToServer)
			toClient.Add(f.ToClient)
		}
	}
	if flows != sent.Flows {
		r.Errorf("%d flows, want %d", flows, sent.Flows)
	}
	r.checkAmount(sent.Proto, "to server", toServer, sent.ToServer)
	r.checkAmount(sent.Proto, "to client", toClient, sent.ToClient)
}
