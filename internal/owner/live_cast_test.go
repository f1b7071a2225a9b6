package owner_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

const (
	longest = 30 * time.Second       // that a row may take to show what it has to
	young   = 300 * time.Millisecond // a flow that is older than this may be looked for in a scan
	rival   = 3                      // descriptor of the Unix socket between the server and the third
)

// cast is three processes of one namespace, and lotrace once it watches.
type cast struct {
	*rig
	config                loader.Config
	server, client, third *testkit.Actor
	talks                 map[talkName]*conversation
}

// talkName is what a row is found by.
type talkName struct {
	proto          model.Proto
	client, server netip.AddrPort
}

// conversation is what a row must say.
type conversation struct {
	talkName
	client, server party
}

func (t *conversation) String() string {
	return fmt.Sprintf("%v %v %+v to %v %+v", t.proto, t.talkName.client, t.client, t.talkName.server, t.server)
}

// party is who is at one end of a flow, and what there is to know that by.
type party struct {
	pid    int  // 0: the kernel
	before int  // who was it until now, and may still be shown
	silent bool // has sent nothing since lotrace watches
	shared bool // several processes hold the socket
	closed bool // none does
	heir   int  // who may be shown, by scan, because it holds the socket of an owner that has ended
}

func newCast(tb testing.TB, config loader.Config) *cast {
	tb.Helper()
	ns := testkit.NewNetns(tb)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	ends := [2]*os.File{os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "third")}
	defer ends[0].Close()
	defer ends[1].Close()
	return &cast{
		rig:    &rig{TB: tb, ns: ns},
		config: config,
		server: ns.Actor(tb, ends[0]),
		client: ns.Actor(tb),
		third:  ns.Actor(tb, ends[1]),
		talks:  make(map[talkName]*conversation),
	}
}

// watch has lotrace begin.
func (c *cast) watch() *cast {
	c.Helper()
	c.rig = newRigIn(c.TB, c.ns, c.config)
	return c
}

// run is t.Run for a part that may fail by itself.
func (c *cast) run(t *testing.T, name string, play func(c *cast)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		outside := c.TB
		c.in(t)
		defer c.in(outside)
		play(c)
	})
}

func (c *cast) in(tb testing.TB) { c.TB, c.server.TB, c.client.TB, c.third.TB = tb, tb, tb, tb }

func (c *cast) talk(proto model.Proto, from, to netip.AddrPort, client, server party) *conversation {
	talk := &conversation{talkName{proto, from, to}, client, server}
	c.talks[talk.talkName] = talk
	return talk
}

// wire is a connection of which both ends do what they are told.
type wire struct {
	*conversation
	from, to *testkit.Actor
	c, s     int // their descriptors
}

// connect makes a TCP connection from the client to one of the server's listening sockets.
func (c *cast) connect(listener int, at netip.AddrPort) *wire {
	c.Helper()
	return c.join(c.client, "tcp", at, c.server, listener)
}

func (c *cast) join(from *testkit.Actor, network string, at netip.AddrPort, to *testkit.Actor, listener int) *wire {
	c.Helper()
	w := &wire{from: from, to: to}
	var local, seen netip.AddrPort
	w.c, local = from.Dial(network, at)
	w.s, seen = to.Accept(listener)
	if local != seen {
		c.Fatalf("accepted %v instead of %v", seen, local)
	}
	w.conversation = c.talk(model.ProtoTCP, local, at, party{pid: from.PID}, party{pid: to.PID})
	return w
}

// ask sends a request, which the server reads.
func (w *wire) ask() { w.from.Send(w.c, 1); w.to.Recv(w.s, 1) }

// answer sends an answer, which the client reads.
func (w *wire) answer() { w.to.Send(w.s, 1); w.from.Recv(w.c, 1) }

func (w *wire) exchange() { w.ask(); w.answer() }

// want is the source that the party's owner must have; "" where it must be unknown.
func (c *cast) want(p *party) model.OwnerSource {
	blind := !c.config.Learns(loader.LearnOwners) || c.config.Hook == hook.XDP
	switch {
	case !blind && !p.silent:
		return model.OwnerKernel
	case p.pid != 0 && c.config.Learns(loader.LearnHolders) && !p.shared && !p.closed:
		return model.OwnerScan
	}
	return ""
}

// row is that of one talk in the next window.
func (c *cast) row(name talkName) *model.Flow {
	c.Helper()
	s, err := c.engine.Window(new(model.Flows))
	if err != nil {
		c.Fatal(err)
	}
	rows := s.Flows.Slice()
	for i := range rows {
		if f := &rows[i]; talkOf(f) == name {
			return f
		}
	}
	c.Fatalf("no row for %v to %v", name.client, name.server)
	return nil
}

func talkOf(f *model.Flow) talkName {
	return talkName{f.Proto, f.Client.AddrPort(), f.Server.AddrPort()}
}

// look takes a window, finds everything that is wrong in it, and returns the conversations of which
// it has the whole truth.
func (c *cast) look() map[talkName]bool {
	c.Helper()
	s, err := c.engine.Window(new(model.Flows))
	if err != nil {
		c.Fatal(err)
	}
	whole := make(map[talkName]bool)
	rows := s.Flows.Slice()
	for i := range rows {
		f := &rows[i]
		name := talkOf(f)
		talk := c.talks[name]
		if talk == nil {
			c.Errorf("a row for %v %v to %v, which nobody talks", name.proto, name.client, name.server)
			continue
		}
		client, server := c.judge(name, f.Client.Owner, &talk.client), c.judge(name, f.Server.Owner, &talk.server)
		whole[name] = client && server
	}
	return whole
}

// judge reports whether the owner is known as it must be.
func (c *cast) judge(name talkName, got *model.Owner, p *party) bool {
	c.Helper()
	want := c.want(p)
	switch {
	case got != nil && p.before != 0 && got.PID == uint32(p.before):
		return false
	case got != nil && p.heir != 0 && got.PID == uint32(p.heir) && got.Source == model.OwnerScan:
		return true
	case got == nil && want == model.OwnerKernel, got != nil && (got.Source != want || !p.is(got)):
		c.Errorf("%v %v to %v: owner %+v, want source %q of %+v", name.proto, name.client, name.server, got, want, *p)
	}
	return (got != nil) == (want != "")
}

func (p *party) is(o *model.Owner) bool {
	if p.pid == 0 {
		return o.TGID == 0 && o.PID == 0 && o.Comm == model.KernelComm
	}
	return o.TGID != 0 && o.StartNS != 0 && o.PID == uint32(p.pid) && o.Comm != ""
}

// atOnce expects the next window to have it all.
func (c *cast) atOnce(talks ...*conversation) {
	c.Helper()
	if lack := c.lack(talks); lack != nil {
		c.Errorf("%v, and others maybe, is not known at once", lack)
	}
}

// await expects one of the next windows to have it all, and no other to have it wrong. stir makes a
// packet or more for each talk, by those who spoke already. What must stay unknown must do so after
// a scan, too.
func (c *cast) await(stir func(), talks ...*conversation) {
	c.Helper()
	began := time.Now()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for lack := c.lack(talks); lack != nil && !c.Failed(); lack = c.lack(talks) {
		if time.Since(began) > longest {
			c.Fatalf("%v, and others maybe, is not known after %v", lack, longest)
		}
		<-poll.C
		stir()
	}
	if !c.config.Learns(loader.LearnHolders) || c.Failed() || !c.anyUnknown(talks) {
		return
	}
	for time.Since(began) < young {
		<-poll.C
		stir()
	}
	c.scan()
	stir()
	c.look()
}

// scan makes a scan that is newer than all flows.
func (c *cast) scan() {
	c.Helper()
	if err := c.resolver.ScanNow(); err != nil {
		c.Fatal(err)
	}
}

// lack returns one of the talks that the next window does not have the whole truth of; nil for none.
func (c *cast) lack(talks []*conversation) *conversation {
	c.Helper()
	whole := c.look()
	for _, talk := range talks {
		if !whole[talk.talkName] {
			return talk
		}
	}
	return nil
}

func (c *cast) anyUnknown(talks []*conversation) bool {
	for _, talk := range talks {
		if c.want(&talk.client) == "" || c.want(&talk.server) == "" {
			return true
		}
	}
	return false
}
