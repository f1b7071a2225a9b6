package owner_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/testkit"
)

// From owner.bpf.h: the skbs of a sender that are all asked whose they are; after that one in so many.
const (
	askAlways = 64
	askEvery  = 4
)

func TestChange(t *testing.T) {
	c := newCast(t, loader.Config{}).watch()
	for _, change := range []struct {
		name string
		play func(c *cast)
	}{
		{"forked, parent closes first", forkedParentFirst},
		{"forked, parent closes last", forkedParentLast},
		{"forked, both answer", forkedBothAnswer},
		{"passed, head read", passed},
		{"passed after an answer", passedAfterAnswer},
		{"passed when old", passedOld},
		{"passed when old, slow answers", passedOldSlow},
		{"worker ended, parent holds", func(c *cast) { workerEnded(c, (*testkit.Actor).End) }},
		{"worker died, parent holds", func(c *cast) { workerEnded(c, (*testkit.Actor).Die) }},
		{"worker ended, parent closes", workerEndedParentCloses},
		{"exec", execed},
	} {
		c.run(t, change.name, change.play)
	}
}

// forked makes a connection that the server accepts and its child uses, which holds it as descriptor 3.
func forked(c *cast) (w *wire, parentFD int) {
	c.Helper()
	w = c.connect(c.server.Open("tcp", localhost))
	parentFD = w.s
	w.to, w.s = c.server.Fork(w.s), 3
	w.server.pid = w.to.PID
	return w, parentFD
}

func forkedParentFirst(c *cast) {
	w, parentFD := forked(c)
	w.exchange()
	c.atOnce(w.conversation)
	c.server.Close(parentFD)
	w.exchange()
	c.atOnce(w.conversation)
	w.to.End()
	c.atOnce(w.conversation)
}

func forkedParentLast(c *cast) {
	w, parentFD := forked(c)
	w.exchange()
	w.to.End()
	w.server.heir = c.server.PID
	c.atOnce(w.conversation)
	c.server.Close(parentFD)
	c.atOnce(w.conversation)
}

// The row shows who was at it last, however often that changes.
func forkedBothAnswer(c *cast) {
	w, parentFD := forked(c)
	child := w.to
	for range 3 {
		w.to, w.s, w.server.pid = c.server, parentFD, c.server.PID
		w.exchange()
		c.atOnce(w.conversation)
		w.to, w.s, w.server.pid = child, 3, child.PID
		w.exchange()
		c.atOnce(w.conversation)
	}
}

// pass gives the server's end to the third.
func (w *wire) pass(c *cast) {
	c.server.Pass(rival, w.s)
	w.to, w.s = c.third, c.third.Take(rival)
	w.server.pid = c.third.PID
}

// A dispatcher reads the head of a request before it passes the connection on.
func passed(c *cast) {
	w := c.connect(c.server.Open("tcp", localhost))
	dispatched := w.s
	w.from.Send(w.c, 100)
	w.to.Recv(w.s, 10)
	w.pass(c)
	w.to.Recv(w.s, 90)
	w.answer()
	c.atOnce(w.conversation)
	c.server.Close(dispatched)
	w.exchange()
	c.atOnce(w.conversation)
	w.to.Close(w.s)
	c.atOnce(w.conversation)
}

func passedAfterAnswer(c *cast) {
	w := c.connect(c.server.Open("tcp", localhost))
	w.exchange()
	c.atOnce(w.conversation)
	w.pass(c)
	w.exchange()
	c.atOnce(w.conversation)
}

// passedLate passes on a connection over which the server has sent so many skbs more than are all asked.
func passedLate(c *cast, more int) *wire {
	w := c.connect(c.server.Open("tcp", localhost))
	for range askAlways + more {
		w.exchange()
	}
	c.atOnce(w.conversation)
	w.pass(c)
	return w
}

// Wherever in its count a connection is, a new owner shows soon. Which one of four is asked may
// differ from four to four.
func passedOld(c *cast) {
	for more := range askEvery {
		w := passedLate(c, more)
		for range askEvery + 1 {
			w.answer()
		}
		c.atOnce(w.conversation)
	}
}

// The kernel acknowledges requests that take long to answer, so that of the server's packets every other
// is its owner's.
func passedOldSlow(c *cast) {
	for more := range askEvery {
		w := passedLate(c, more)
		for range askEvery + 1 {
			w.from.Send(w.c, 1)
			w.from.Acked(w.c)
			w.to.Recv(w.s, 1)
			w.answer()
		}
		c.atOnce(w.conversation)
	}
}

// When the worker is gone the connection is its parent's, who never said a word.
func workerEnded(c *cast, end func(*testkit.Actor)) {
	w, _ := forked(c)
	w.exchange()
	c.atOnce(w.conversation)
	end(w.to)
	w.server = party{pid: c.server.PID, before: w.server.pid, silent: true}
	c.await(func() { w.from.Send(w.c, 1) }, w.conversation)
}

// When the parent has closed it too, it is either's.
func workerEndedParentCloses(c *cast) {
	w, parentFD := forked(c)
	w.exchange()
	w.to.End()
	w.server = party{pid: c.server.PID, before: w.to.PID, silent: true}
	c.await(func() {
		w.from.Send(w.c, 1)
		w.from.Acked(w.c)
		c.server.Recv(parentFD, 1)
	}, w.conversation)
	c.server.Close(parentFD)
	c.look()
}

// A process that calls exec is the same process under another name.
func execed(c *cast) {
	path := filepath.Join(c.TempDir(), "another")
	copyBinary(c, path)
	worker := c.ns.Actor(c)
	listener, to := worker.Open("tcp", localhost)
	w := c.join(c.client, "tcp", to, worker, listener)
	w.exchange()
	c.atOnce(w.conversation)

	worker.Exec(path, w.s, "with", "arguments")
	for began := time.Now(); ; {
		w.exchange()
		got := c.row(w.talkName).Server.Owner
		if got == nil || !w.server.is(got) {
			c.Fatalf("owner %+v, want PID %d", got, worker.PID)
		}
		if got.Comm == "another" && got.Exe == path && got.Cmdline == path+" with arguments" {
			return
		}
		if time.Since(began) > longest {
			c.Fatalf("after exec: %+v", got)
		}
	}
}

func copyBinary(c *cast, path string) {
	c.Helper()
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		c.Fatal(err)
	}
	if err := os.WriteFile(path, binary, 0o755); err != nil {
		c.Fatal(err)
	}
}
