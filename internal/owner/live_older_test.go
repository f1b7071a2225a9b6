package owner_test

import (
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// olderScenes begin before lotrace does. What they return goes on after.
var olderScenes = []struct {
	name  string
	begin func(c *cast) func(*cast)
}{
	{"both speak", olderBothSpeak},
	{"client speaks", olderClientSpeaks},
	{"server speaks", olderServerSpeaks},
	{"udp", olderUDP},
	{"prefork", olderPrefork},
	{"listener", olderListener},
	{"not yet accepted", olderUnaccepted},
	{"closed by a stranger", olderDestroyed},
}

func older(c *cast, listen, dial string) *wire {
	listener, bound := c.server.Open("tcp", listen)
	w := c.connect(listener, at(dial, bound))
	w.exchange()
	return w
}

func olderBothSpeak(c *cast) func(*cast) {
	w := older(c, "[::]:0", "127.0.0.1")
	return func(c *cast) {
		w.exchange()
		c.atOnce(w.conversation)
	}
}

func olderClientSpeaks(c *cast) func(*cast) {
	w := older(c, localhost, "127.0.0.1")
	w.server.silent = true
	return func(c *cast) {
		w.from.Send(w.c, 1)
		c.atOnce(w.conversation)
		w.to.Recv(w.s, 1)
		w.answer()
		w.server.silent = false
		c.atOnce(w.conversation)
	}
}

func olderServerSpeaks(c *cast) func(*cast) {
	w := older(c, local6, "::1")
	w.client.silent = true
	return func(c *cast) {
		w.to.Send(w.s, 1)
		c.atOnce(w.conversation)
	}
}

func olderUDP(c *cast) func(*cast) {
	s, to := c.server.Open("udp", localhost)
	k, from := c.client.Dial("udp", to)
	c.client.Send(k, 1)
	c.server.RecvFrom(s)
	talk := c.talk(model.ProtoUDP, from, to, party{pid: c.client.PID, silent: true}, party{pid: c.server.PID})
	return func(c *cast) {
		send := func() { c.server.SendTo(s, from, 1) }
		send()
		c.await(send, talk)
	}
}

// Four workers accept on one socket that their parent opened; lotrace finds fifty connections.
func olderPrefork(c *cast) func(*cast) {
	listener, to := c.server.Open("tcp", localhost)
	var workers [4]*testkit.Actor
	for i := range workers {
		workers[i] = c.server.Fork(listener)
	}
	var wires []*wire
	var talks []*conversation
	for i := range 50 {
		w := c.join([]*testkit.Actor{c.client, c.third}[i/2%2], "tcp", to, workers[i%4], 3)
		w.exchange()
		w.server.silent = i%3 == 0
		wires, talks = append(wires, w), append(talks, w.conversation)
	}
	return func(c *cast) {
		for _, worker := range workers {
			worker.TB = c.TB
		}
		for _, w := range wires {
			if w.from.Send(w.c, 1); !w.server.silent {
				w.to.Recv(w.s, 1)
				w.answer()
			}
		}
		c.atOnce(talks...)
	}
}

func olderListener(c *cast) func(*cast) {
	_, to := c.server.Open("tcp", "0.0.0.0:0")
	return func(c *cast) {
		stir, talk := c.dialOnly(at("127.0.0.1", to), party{pid: c.server.PID})
		c.await(stir, talk)
	}
}

// A listener stands for a connection only if it must be in the queue, which an older one need not be.
func olderUnaccepted(c *cast) func(*cast) {
	listener, to := c.server.Open("tcp", "[::]:0")
	k, from := c.client.Dial("tcp", at("::1", to))
	talk := c.talk(model.ProtoTCP, from, at("::1", to), party{pid: c.client.PID}, party{silent: true})
	return func(c *cast) {
		send := func() { c.client.Send(k, 1) }
		send()
		c.await(send, talk)
		fd, _ := c.server.Accept(listener)
		c.server.Send(fd, 1)
		talk.server = party{pid: c.server.PID}
		c.await(send, talk)
	}
}

// A process that has the kernel reset others' connections is at neither end.
func olderDestroyed(c *cast) func(*cast) {
	w := older(c, localhost, "127.0.0.1")
	w.client.silent, w.server.silent = true, true
	w.client.closed, w.server.closed = true, true
	return func(c *cast) {
		testkit.DestroyTCP(c, c.ns, w.talkName.server, w.talkName.client)
		c.await(func() {}, w.conversation)
	}
}
