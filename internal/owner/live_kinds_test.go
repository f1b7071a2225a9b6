package owner_test

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

const (
	localhost = "127.0.0.1:0"
	local6    = "[::1]:0"
)

// scenes are the kinds of traffic that lotrace sees from their beginning.
var scenes = []struct {
	name string
	play func(c *cast)
}{
	{"tcp4", tcpOver("tcp", localhost, "127.0.0.1")},
	{"tcp6", tcpOver("tcp", local6, "::1")},
	{"tcp to a dual-stack server", tcpOver("tcp", "[::]:0", "127.0.0.1")},
	{"tcp to an mptcp server", tcpOver("mptcp", "[::]:0", "127.0.0.1")},
	{"mptcp", mptcp},
	{"udp4 connected", udpConnected(localhost, "127.0.0.1")},
	{"udp6 connected", udpConnected(local6, "::1")},
	{"udp to a dual-stack server", udpConnected("[::]:0", "127.0.0.1")},
	{"udp unconnected", udpUnconnected},
	{"udp with many peers", udpPeers},
	{"udp that only receives", udpSilent},
	{"tcp sink", tcpSink},
	{"tcp sink of much", tcpBulk},
	{"sendfile", sentBy((*testkit.Actor).Sendfile)},
	{"splice", sentBy((*testkit.Actor).Splice)},
	{"io_uring", uring(testkit.UringInline)},
	{"io_uring worker", uring(testkit.UringWorker)},
	{"io_uring polled", uring(testkit.UringPolled)},
	{"refused", refused},
	{"echo", echo(4)},
	{"echo6", echo(6)},
	{"never accepted", neverAccepted},
	{"never accepted by one of two", neverAcceptedShared},
	{"never accepted beside another", neverAcceptedBeside},
	{"kept by the parent", keptByParent},
	{"over", over},
	{"hung up by a worker that ended", hungUp},
}

func TestKinds(t *testing.T) { playAll(t, loader.Config{}) }

// playAll plays all scenes, and before lotrace begins those of older connections.
func playAll(t *testing.T, config loader.Config) {
	c := newCast(t, config)
	rest := make([]func(*cast), len(olderScenes))
	for i, scene := range olderScenes {
		rest[i] = scene.begin(c)
	}
	c.watch()
	for i, scene := range olderScenes {
		c.run(t, "older/"+scene.name, rest[i])
	}
	for _, scene := range scenes {
		c.run(t, scene.name, scene.play)
	}
}

func at(addr string, port netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port.Port())
}

func tcpOver(network, listen, dial string) func(*cast) {
	return func(c *cast) {
		listener, bound := c.server.Open(network, listen)
		w := c.connect(listener, at(dial, bound))
		w.exchange()
		c.await(w.exchange, w.conversation)
	}
}

func mptcp(c *cast) {
	testkit.RequireMPTCP(c)
	listener, bound := c.server.Open("mptcp", localhost)
	w := c.join(c.client, "mptcp", bound, c.server, listener)
	w.exchange()
	c.await(w.exchange, w.conversation)
}

func udpConnected(listen, dial string) func(*cast) {
	return func(c *cast) {
		s, bound := c.server.Open("udp", listen)
		k, from := c.client.Dial("udp", at(dial, bound))
		talk := c.talk(model.ProtoUDP, from, at(dial, bound), party{pid: c.client.PID}, party{pid: c.server.PID})
		exchange := func() {
			c.client.Send(k, 1)
			c.server.SendTo(s, canonical(c.server.RecvFrom(s), listen), 1)
			c.client.Recv(k, 1)
		}
		exchange()
		c.await(exchange, talk)
	}
}

// canonical gives an address the form that a socket bound to listen takes.
func canonical(to netip.AddrPort, listen string) netip.AddrPort {
	if netip.MustParseAddrPort(listen).Addr().Is6() {
		return netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
	}
	return to
}

func udpUnconnected(c *cast) {
	s, to := c.server.Open("udp", localhost)
	k, from := c.client.Open("udp", localhost)
	talk := c.talk(model.ProtoUDP, from, to, party{pid: c.client.PID}, party{pid: c.server.PID})
	exchange := func() {
		c.client.SendTo(k, to, 1)
		c.server.RecvFrom(s)
		c.server.SendTo(s, from, 1)
		c.client.RecvFrom(k)
	}
	exchange()
	c.await(exchange, talk)
}

// One socket talks to a hundred sockets of five processes.
func udpPeers(c *cast) {
	s, to := c.server.Open("udp", localhost)
	var talks []*conversation
	var all []func()
	for range 5 {
		peer := c.ns.Actor(c)
		for range 20 {
			k, from := peer.Dial("udp", to)
			talks = append(talks, c.talk(model.ProtoUDP, from, to, party{pid: peer.PID}, party{pid: c.server.PID}))
			all = append(all, func() {
				peer.Send(k, 1)
				c.server.SendTo(s, c.server.RecvFrom(s), 1)
				peer.Recv(k, 1)
			})
		}
	}
	exchange := func() {
		for _, one := range all {
			one()
		}
	}
	exchange()
	c.await(exchange, talks...)
}

func udpSilent(c *cast) {
	s, to := c.server.Open("udp", localhost)
	k, from := c.client.Dial("udp", to)
	talk := c.talk(model.ProtoUDP, from, to, party{pid: c.client.PID}, party{pid: c.server.PID, silent: true})
	send := func() { c.client.Send(k, 1); c.server.RecvFrom(s) }
	send()
	c.await(send, talk)
}

// The server's kernel has acknowledged before the server reads, which then has nothing to send.
func tcpSink(c *cast) {
	w := c.connect(c.server.Open("tcp", localhost))
	w.server.silent = true
	send := func() {
		w.from.Send(w.c, 1)
		w.from.Acked(w.c)
		w.to.Recv(w.s, 1)
	}
	send()
	c.await(send, w.conversation)
}

// A socket whose process reads much says by itself that there is room again.
func tcpBulk(c *cast) {
	const much = 8 << 20
	w := c.connect(c.server.Open("tcp", localhost))
	send := func() {
		w.from.Tell("send", w.c, much)
		w.to.Recv(w.s, much)
		w.from.Hear()
	}
	send()
	c.await(send, w.conversation)
}

// Neither end says anything in any other way.
func sentBy(send func(a *testkit.Actor, fd, n int)) func(*cast) {
	return func(c *cast) {
		w := c.connect(c.server.Open("tcp", localhost))
		exchange := func() {
			send(w.from, w.c, 4096)
			w.from.Acked(w.c)
			w.to.Recv(w.s, 4096)
			send(w.to, w.s, 4096)
			w.from.Recv(w.c, 4096)
		}
		exchange()
		c.await(exchange, w.conversation)
	}
}

func uring(mode testkit.UringMode) func(*cast) {
	send := sentBy(func(a *testkit.Actor, fd, n int) { a.SendUring(fd, n, mode) })
	return func(c *cast) {
		testkit.RequireUring(c)
		send(c)
	}
}

// Nobody listens, and the kernel says so.
func refused(c *cast) {
	listener, closed := c.server.Open("tcp", localhost)
	c.server.Close(listener)
	from := c.client.Knock(closed)
	talk := c.talk(model.ProtoTCP, from, closed, party{pid: c.client.PID, closed: true}, party{})
	c.await(func() {}, talk)
}

func echo(family uint8) func(*cast) {
	return func(c *cast) {
		sent, err := testkit.ICMPEcho(c.ns, family, 5, 56)
		if err != nil {
			c.Fatal(err)
		}
		talk := c.talk(sent.Proto, sent.Client, sent.Server, party{pid: os.Getpid(), closed: true}, party{})
		c.await(func() {}, talk)
	}
}

// dialOnly makes a connection that the server need not accept.
func (c *cast) dialOnly(to netip.AddrPort, server party) (stir func(), talk *conversation) {
	c.Helper()
	k, from := c.client.Dial("tcp", to)
	server.silent = true
	talk = c.talk(model.ProtoTCP, from, to, party{pid: c.client.PID}, server)
	return func() { c.client.Send(k, 1) }, talk
}

func neverAccepted(c *cast) {
	_, to := c.server.Open("tcp", localhost)
	stir, talk := c.dialOnly(to, party{pid: c.server.PID})
	c.await(stir, talk)
}

// Either of the two that listen could be meant.
func neverAcceptedShared(c *cast) {
	_, to := c.server.Open("tcp", localhost, "reuseport")
	c.third.Open("tcp", to.String(), "reuseport")
	stir, talk := c.dialOnly(to, party{shared: true})
	c.await(stir, talk)
}

// Of two that listen at one port one is meant: by its address, or its family.
func neverAcceptedBeside(c *cast) {
	_, to := c.server.Open("tcp", "127.0.0.2:0", "reuseport")
	c.third.Open("tcp", at("0.0.0.0", to).String(), "reuseport")
	stir, talk := c.dialOnly(to, party{pid: c.server.PID})
	stirOther, other := c.dialOnly(at("127.0.0.3", to), party{pid: c.third.PID})
	_, to6 := c.server.Open("tcp", "[::]:0", "v6only")
	c.third.Open("tcp", at("0.0.0.0", to6).String())
	stir6, talk6 := c.dialOnly(at("::1", to6), party{pid: c.server.PID})
	stir4, talk4 := c.dialOnly(at("127.0.0.1", to6), party{pid: c.third.PID})
	c.await(func() { stir(); stirOther(); stir6(); stir4() }, talk, other, talk6, talk4)
}

// Parent and child both hold the connection, and the child uses it.
func keptByParent(c *cast) {
	w := c.connect(c.server.Open("tcp", localhost))
	child := c.server.Fork(w.s)
	w.to, w.s = child, 3
	w.server = party{pid: child.PID, shared: true}
	w.exchange()
	c.await(w.exchange, w.conversation)
}

// Nobody holds a connection that is over.
func over(c *cast) {
	w := c.connect(c.server.Open("tcp", localhost))
	w.exchange()
	w.to.Close(w.s)
	w.from.Close(w.c)
	w.client.closed, w.server.closed = true, true
	c.await(func() {}, w.conversation)
}

// A listener accepts for others, and so is not the one that hung up. The client has not yet noticed.
func hungUp(c *cast) {
	listener, to := c.server.Open("tcp", localhost)
	worker := c.server.Fork(listener)
	w := c.join(c.client, "tcp", to, worker, 3)
	for began := time.Now(); time.Since(began) < young; {
		w.exchange()
	}
	worker.Close(w.s)
	worker.End()
	w.server.closed = true
	if c.config.Learns(loader.LearnHolders) {
		c.scan()
	}
	c.await(func() {}, w.conversation)
}
