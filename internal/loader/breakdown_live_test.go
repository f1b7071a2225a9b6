package loader_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

var tcHooks = []hook.Kind{hook.TCX, hook.Clsact}

// withParts is what is usually learned, with the parts of turns if they are asked for.
func withParts(parts bool) loader.Learn {
	if parts {
		return loader.LearnUsual | loader.LearnBreakdown
	}
	return loader.LearnUsual
}

// newPartsRig has every turn told.
func newPartsRig(t *testing.T, kind hook.Kind) *rig {
	t.Helper()
	return newRig(t, loader.Config{Hook: kind, Learn: withParts(true), Slow: 1})
}

// tally is turns, and what is known of their parts.
type tally struct {
	model.Breakdown
	turns uint64
	sum   time.Duration
	slow  []reading.SlowTurn // what was told
	lost  uint64             // what was not
}

// tally is since the one before, which it becomes.
func (r *rig) tally(before *tally) (out tally) {
	r.Helper()
	var now reading.Reading
	if err := r.loader.Read(&now); err != nil {
		r.Fatal(err)
	}
	out.slow, out.lost = now.Slow, now.SlowLost
	for _, slot := range loader.SlotsForTest(r.loader, &now) {
		var e reading.Exchange
		if place := slot.Exchange; place == 0 || !r.loader.ReadExchange(place, &e, nil) {
			continue
		}
		out.Add(&e.Breakdown)
		out.sum += time.Duration(e.Turn.SumNS)
		for _, n := range e.Turn.Histogram {
			out.turns += uint64(n)
		}
	}
	all := out
	out.Breakdown = out.Sub(&before.Breakdown)
	out.turns -= before.turns
	out.sum -= before.sum
	out.lost -= before.lost
	*before = all
	return out
}

// checkAll fails unless there were n turns, all of them known, and their parts make up the whole.
func (a *tally) checkAll(t *testing.T, n uint64) {
	t.Helper()
	if a.turns != n || a.Turns != n {
		t.Errorf("%d turns, the parts of %d known; want %d", a.turns, a.Turns, n)
	}
	if parts := a.Delivery + a.Wait + a.Think; parts != a.sum {
		t.Errorf("parts make %v, turns %v", parts, a.sum)
	}
}

// only is the one turn that was told.
func (a *tally) only(t *testing.T) *reading.SlowTurn {
	t.Helper()
	if len(a.slow) != 1 || a.slow[0].Parts == nil {
		t.Fatalf("told of %+v, want one turn with parts", a.slow)
	}
	return &a.slow[0]
}

// check holds what was told of a turn against what was seen. No machine is too slow for it.
func (w *witness) check(t *testing.T, s *reading.SlowTurn) {
	t.Helper()
	if sum := s.Parts.Delivery + s.Parts.Wait + s.Parts.Think; sum != s.Turn {
		t.Errorf("parts %+v make %v, the turn is %v", *s.Parts, sum, s.Turn)
	}
	asked := time.Duration(s.AskedNS)
	for _, step := range []struct {
		name string
		at   time.Duration
		in   span
	}{
		{"asked", asked, w.ask},
		{"read", asked + s.Parts.Delivery + s.Parts.Wait, w.read},
		{"answered", asked + s.Turn, w.answer},
	} {
		if !step.in.has(step.at) {
			t.Errorf("%s at %v, the test says %v to %v", step.name, step.at, step.in.from, step.in.to)
		}
	}
}

// asleep is how long servers and clients of these tests sleep.
const asleep = 100 * time.Millisecond

// A turn's time is found where it was spent. That a part lies between the test's own stamps holds on any
// machine; how near it is to them is the machine's mood, so a round that it spoilt is done again.
func TestBreakdownOfKnownServers(t *testing.T) {
	waits := func(p *model.SlowParts) time.Duration { return p.Wait }
	thinks := func(p *model.SlowParts) time.Duration { return p.Think }
	cases := map[string]sleeper{
		"asleep before accept":           {talk{late: true}.tcp, pauses{read: asleep}, waits, false},
		"asleep before read":             {talk{}.tcp, pauses{read: asleep}, waits, false},
		"asleep before read over ipv6":   {talk{listen: "[::1]:80"}.tcp, pauses{read: asleep}, waits, false},
		"asleep before read, dual stack": {talk{listen: "[::]:80", dial: "127.0.0.1:80"}.tcp, pauses{read: asleep}, waits, false},
		"asleep before splice":           {spliced, pauses{read: asleep}, waits, false},
		"stopped":                        {stopped, pauses{read: asleep}, waits, false},
		"asleep after read":              {talk{}.tcp, pauses{answer: asleep}, thinks, false},
		"client asleep":                  {talk{}.tcp, pauses{answer: asleep, hear: asleep}, thinks, false},
		"udp, asleep before read":        {talk{}.udp, pauses{read: asleep}, waits, true},
		"udp, asleep after read":         {talk{}.udp, pauses{answer: asleep}, thinks, true},
		"udp connected, before read":     {talk{connected: true}.udp, pauses{read: asleep}, waits, true},
		"udp over ipv6, after read":      {talk{listen: "[::1]:80"}.udp, pauses{answer: asleep}, thinks, true},
		"udp, client asleep":             {talk{}.udp, pauses{answer: asleep, hear: asleep}, thinks, true},
	}
	for _, kind := range tcHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newPartsRig(t, kind)
			var before tally
			for name, c := range cases {
				t.Run(name, func(t *testing.T) {
					if c.udp {
						requireDatagramReads(t)
					}
					off := "not done yet"
					for round := 0; off != "" && !t.Failed(); round++ {
						if round == 8 {
							t.Fatal(off)
						}
						t.Run("round", func(t *testing.T) { off = c.check(t, r.with(t), &before) })
					}
				})
			}
		})
	}
}

// sleeper is a conversation with a sleep in it.
type sleeper struct {
	begin func(*testing.T, *testkit.Netns) *conversation
	pauses
	part func(*model.SlowParts) time.Duration // that it shows in
	udp  bool
}

// check says how far off that part is, if it is.
func (c *sleeper) check(t *testing.T, r *rig, before *tally) (off string) {
	w := c.begin(t, r.ns).turn(t, c.pauses)
	all := r.tally(before)
	all.checkAll(t, 1)
	told := all.only(t)
	w.check(t, told)
	if delivered := all.Delivered == 1; delivered == c.udp {
		t.Errorf("its arrival was seen: %v", delivered)
	}
	w.checkBack(t, &all)
	if testing.Short() {
		return "" // an emulated machine keeps no time
	}
	part, truth := c.part(told.Parts), w.answer.to-w.read.to
	if c.pauses.read > 0 {
		truth = w.read.to - w.ask.to
	}
	if float64(part) < .9*float64(told.Turn) || (part-truth).Abs() > asleep/10 {
		return fmt.Sprintf("%v of a turn of %v, the test says %v", part, told.Turn, truth)
	}
	return ""
}

// checkBack holds the way back of the one answer there was against what was seen.
func (w *witness) checkBack(t *testing.T, all *tally) {
	t.Helper()
	seen := span{w.hear.from - w.answer.to, w.hear.to - w.answer.from}
	if all.Backs != 1 || !seen.has(all.Back) {
		t.Errorf("%d came back after %v, the test says %v to %v", all.Backs, all.Back, seen.from, seen.to)
	}
}

// requireDatagramReads skips the test where the kernel does not tell of them.
func requireDatagramReads(t *testing.T) {
	t.Helper()
	testkit.RequireKernel(t, "6.3", "tracepoint sock_recv_length")
}

// Every turn of ordinary traffic is known, and arrives at once.
func TestBreakdownOfTraffic(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind, Learn: withParts(true)})
			const n = 1000
			var before tally
			for name, send := range map[string]func() (testkit.Sent, error){
				"ping-pong":           func() (testkit.Sent, error) { return testkit.PingPong(r.ns, 4, n, 64) },
				"ping-pong over ipv6": func() (testkit.Sent, error) { return testkit.PingPong(r.ns, 6, n, 64) },
				"short connections":   func() (testkit.Sent, error) { return testkit.ShortConnections(r.ns, 4, n, 16) },
			} {
				t.Run(name, func(t *testing.T) {
					if _, err := send(); err != nil {
						t.Fatal(err)
					}
					all := r.with(t).tally(&before)
					all.checkAll(t, n)
					// A request that comes with the end of the handshake is taken in before anybody looks.
					if all.Delivered > n || all.Delivered < n-n/100 {
						t.Errorf("%d delivered, want %d", all.Delivered, n)
					}
					// XDP leaves sockets no hint, and nothing else knows one that is closed when it is read.
					if all.Backs != n && kind != hook.XDP {
						t.Errorf("%d came back, want %d", all.Backs, n)
					}
					if mean := all.Delivery / n; mean > time.Millisecond && !testing.Short() {
						t.Errorf("%v to a socket on this machine", mean)
					}
				})
			}
		})
	}
}

// A client whose request does not fit waits in its own send buffer: its turn begins when the last of it
// leaves, which is when the server has begun to read.
func TestBreakdownOfFullWindow(t *testing.T) {
	for _, kind := range tcHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newPartsRig(t, kind)
			const size = 1 << 20
			client, server := narrowPair(t, r.ns)
			asked := make(chan error, 1)
			c := conversation{
				ask: func() error {
					go func() { _, err := client.Write(make([]byte, size)); asked <- err }()
					return nil
				},
				read:   func() error { _, err := io.ReadFull(server, make([]byte, size)); return err },
				answer: func() error { return write(server) },
				hear:   func() error { return errors.Join(<-asked, read(client)) },
			}
			w := c.turn(t, pauses{read: asleep})
			w.ask = span{w.read.from, w.read.to}
			all := r.tally(&tally{})
			all.checkAll(t, 1)
			told := all.only(t)
			w.check(t, told)
			t.Logf("turn %v: %+v", told.Turn, *told.Parts)
		})
	}
}

// Of a server that hears several clients through one socket, a turn's parts are those of its request or
// unknown.
func TestBreakdownOfSharedDatagramSocket(t *testing.T) {
	requireDatagramReads(t)
	r := newPartsRig(t, hook.Clsact)
	var before tally
	for name, c := range map[string]struct {
		steps string // each client's asking, and the server's reading and answering, by the client's number
		known uint64
	}{
		"one after the other":              {"a0 r0 w0 a1 r1 w1 a0 r0 w0", 3},
		"asked while another's is at work": {"a0 r0 a1 w0 r1 w1", 2},
		"the second waits for the first":   {"a0 a1 r0 w0 r1 w1", 1},
		"both read before either is heard": {"a0 a1 r0 r1 w0 w1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var server *net.UDPConn
			r.ns.Run(t, func() {
				var err error
				if server, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { server.Close() })
			})
			var clients [2]*conversation
			for i := range clients {
				clients[i] = oneOf(t, r.ns, server)
			}
			var w [2]witness
			var seen []witness
			for _, step := range strings.Fields(c.steps) {
				i := step[1] - '0'
				switch step[0] {
				case 'a':
					w[i].ask = during(t, clients[i].ask)
				case 'r':
					w[i].read = during(t, clients[i].read)
				case 'w':
					w[i].answer = during(t, clients[i].answer)
					seen = append(seen, w[i])
				}
			}
			all := r.with(t).tally(&before)
			if all.Turns != c.known || all.turns != uint64(len(seen)) || len(all.slow) != len(seen) {
				t.Fatalf("%d turns, %d told, %d known; want %d and %d", all.turns, len(all.slow), all.Turns, len(seen), c.known)
			}
			for i := range all.slow {
				if all.slow[i].Parts != nil {
					seen[i].check(t, &all.slow[i])
				}
			}
		})
	}
}

// The same addresses and ports in another namespace are somebody else's, whatever happens there.
func TestBreakdownIsOfOneNamespace(t *testing.T) {
	where := talk{from: "127.0.0.1:4000", connected: true}
	r, other := newPartsRig(t, hook.Clsact), testkit.NewNetns(t)
	var before tally
	for name, begin := range map[string]func(*testing.T, *testkit.Netns) *conversation{"tcp": where.tcp, "udp": where.udp} {
		t.Run(name, func(t *testing.T) {
			if name == "udp" {
				requireDatagramReads(t)
			}
			elsewhere := begin(t, other)
			c := begin(t, r.ns)
			w := witness{ask: during(t, c.ask)}
			elsewhere.turn(t, pauses{})
			w.read = during(t, c.read)
			elsewhere.turn(t, pauses{})
			w.answer = during(t, c.answer)
			elsewhere.turn(t, pauses{})
			w.hear = during(t, c.hear)
			all := r.with(t).tally(&before)
			all.checkAll(t, 1)
			w.check(t, all.only(t))
			w.checkBack(t, &all)
		})
	}
}

// Without Breakdown there is no program for it at any tracepoint.
func TestBreakdownIsOptIn(t *testing.T) {
	for _, on := range []bool{false, true} {
		r := newRig(t, loader.Config{Learn: withParts(on)})
		if _, err := testkit.PingPong(r.ns, 4, 10, 64); err != nil {
			t.Fatal(err)
		}
		all := r.tally(&tally{})
		if known := all.Turns > 0; all.turns != 10 || known != on {
			t.Errorf("asked for: %v; %d turns, %d known", on, all.turns, all.Turns)
		}
		if attached := len(receiving(t)) > 0; attached != on {
			t.Errorf("asked for: %v; attached: %v", on, receiving(t))
		}
		if err := r.loader.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// receiving are the programs of ours that see sockets receive.
func receiving(t *testing.T) (names []string) {
	t.Helper()
	for _, object := range testkit.HeldBPF(t, os.Getpid()) {
		if object.Kind != "prog" {
			continue
		}
		program, err := ebpf.NewProgramFromID(ebpf.ProgramID(object.ID))
		if err != nil {
			t.Fatal(err)
		}
		info, err := program.Info()
		if err != nil {
			t.Fatal(err)
		}
		program.Close()
		if strings.HasPrefix(info.Name, "lotrace_arrive") || strings.HasPrefix(info.Name, "lotrace_read_") {
			names = append(names, info.Name)
		}
	}
	return names
}
