package loader_test

import (
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/testkit"
)

// talked is what windows had of turns and responses, added up.
type talked struct {
	turns, responses         uint64
	turnSum, responseSum     time.Duration
	least, most              time.Duration // response
	manyTurns, manyResponses uint64        // the most of one window
}

func (a *talked) add(w *model.Window) {
	for _, f := range w.Flows.Slice() {
		a.turns += f.Turn.Count
		a.responses += f.Response.Count
		a.turnSum += f.Turn.Sum
		a.responseSum += f.Response.Sum
		a.manyTurns, a.manyResponses = max(a.manyTurns, f.Turn.Count), max(a.manyResponses, f.Response.Count)
		if f.Response.Count > 0 && (a.least == 0 || f.Response.Min < a.least) {
			a.least = f.Response.Min
		}
		a.most = max(a.most, f.Response.Max)
	}
}

// windowOf ends a window of an engine, whatever is going on.
func windowOf(t *testing.T, e *stats.Engine) *model.Window {
	t.Helper()
	w, err := e.Window(new(model.Flows))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Answers of one packet and of several come to the same numbers, whenever they are read.
func TestResponsesWhileReading(t *testing.T) {
	r := newRig(t, loader.Config{})
	client, server := tcpPair(t, r.ns)
	const rounds, n = 40, 25
	var all talked
	for round := range rounds {
		usual(t, client, server, n)
		if round%3 == 0 { // the newest answer goes on, for longer than a packet takes
			time.Sleep(time.Millisecond)
			if err := exchange(server, client, 1, 1); err != nil {
				t.Fatal(err)
			}
		}
		all.add(windowOf(t, r.engine))
	}
	client.Close()
	server.Close()
	testkit.Quiesce(r.ns)
	all.add(windowOf(t, r.engine))
	if all.turns != rounds*n || all.responses != rounds*n || all.manyResponses > n+2 {
		t.Errorf("%d turns, %d responses, want %d; %d responses in one window", all.turns, all.responses, rounds*n, all.manyResponses)
	}
	const longer = (rounds + 2) / 3 // responses that go on
	if more := all.responseSum - all.turnSum; more < longer*time.Millisecond || more > longer*100*time.Millisecond {
		t.Errorf("responses take %v, turns %v", all.responseSum, all.turnSum)
	}
	if all.most < time.Millisecond || all.least == 0 || all.least > time.Millisecond {
		t.Errorf("responses from %v to %v", all.least, all.most)
	}
}

// A server that speaks on while a request is on its way to it is read again and again, and no response counts twice.
func TestResponsesThatCrossRequests(t *testing.T) {
	r := newRig(t, loader.Config{})
	client, server := tcpPair(t, r.ns)
	const n = 3000
	done := make(chan error, 2)
	go func() { done <- exchange(client, server, 10, n) }()
	go func() { done <- exchange(server, client, 10, n) }()
	var all talked
	for running := 2; running > 0; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running--
		default:
		}
		all.add(windowOf(t, r.engine))
	}
	client.Close()
	server.Close()
	testkit.Quiesce(r.ns)
	all.add(windowOf(t, r.engine))
	if all.turns == 0 || all.turns > n || all.responses > all.turns || all.turns-all.responses > 1 {
		t.Errorf("%d turns, %d responses of at most %d", all.turns, all.responses, n)
	}
}

// A server that speaks on while a request is on its way, after the response was counted, takes nothing of it back.
func TestResponseThatWasCounted(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	off := dropLarge(t, ns) // before a hook that needs the same qdisc
	r := newRigIn(t, ns, loader.Config{})
	client, server := tcpPair(t, ns)
	usual(t, client, server, 10)
	sent := make(chan error, 1)
	before := r.kernel("TcpOutSegs")
	go func() { sent <- exchange(client, server, 1000, 1) }()
	r.await("request", func() bool { return r.kernel("TcpOutSegs") > before })
	var all talked
	all.add(windowOf(t, r.engine)) // has the response of the last answer, as there is a request again
	time.Sleep(5 * time.Millisecond)
	if err := exchange(server, client, 1, 1); err != nil {
		t.Fatal(err)
	}
	all.add(windowOf(t, r.engine))
	off()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	usual(t, client, server, 10)
	client.Close()
	server.Close()
	testkit.Quiesce(r.ns)
	last := windowOf(t, r.engine)
	all.add(last)
	if all.turns != all.responses || all.turns != 20 {
		t.Errorf("%d turns, %d responses, want 20", all.turns, all.responses)
	}
}
