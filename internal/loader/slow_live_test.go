package loader_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

func init() { testkit.RegisterRole("unprivileged", countUnprivileged) }

// Slow turns are told one by one, with and without their parts, and no others: of 100 the three whose
// server slept, and those that a machine which stalls made slow.
func TestSlowTurns(t *testing.T) {
	for _, kind := range tcHooks {
		for _, parts := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, parts %v", kind, parts), func(t *testing.T) {
				const limit = 20 * time.Millisecond
				r := newRig(t, loader.Config{Hook: kind, Slow: limit, Learn: withParts(parts)})
				client, server := tcpPair(t, r.ns)
				defer client.Close()
				defer server.Close()
				seen := threeSlow(t, &conversation{
					ask:    func() error { return write(client) },
					read:   func() error { return read(server) },
					answer: func() error { return write(server) },
					hear:   func() error { return read(client) },
				})
				all := r.tally(&tally{})
				if all.lost != 0 || all.turns != uint64(len(seen)) {
					t.Errorf("%d turns, %d lost; want %d and none", all.turns, all.lost, len(seen))
				}
				told := all.slow
				for i := range seen {
					w := &seen[i]
					if len(told) == 0 || !w.ask.has(time.Duration(told[0].AskedNS)) {
						if took := w.took(); took.from >= limit {
							t.Errorf("not told of turn %d, which took %v or more", i, took.from)
						}
						continue
					}
					if took := w.took(); told[0].Turn < limit || !took.has(told[0].Turn) {
						t.Errorf("turn %d took %v, the test says %v to %v", i, told[0].Turn, took.from, took.to)
					}
					checkEnds(t, &told[0], client, server)
					if (told[0].Parts != nil) != parts {
						t.Errorf("turn %d has parts %+v", i, told[0].Parts)
					} else if parts {
						w.check(t, &told[0])
					}
					told = told[1:]
				}
				if len(told) != 0 {
					t.Errorf("told of %+v, which nobody saw", told)
				}
			})
		}
	}
}

// threeSlow makes 100 turns of which three take 50 ms.
func threeSlow(t *testing.T, c *conversation) (seen []witness) {
	t.Helper()
	for i := range 100 {
		var p pauses
		if i == 5 || i == 38 || i == 99 {
			p.answer = 50 * time.Millisecond
		}
		seen = append(seen, c.turn(t, p))
	}
	return seen
}

// took is the least and the most that a turn may have taken.
func (w *witness) took() span { return span{w.answer.from - w.ask.to, w.answer.to - w.ask.from} }

func checkEnds(t *testing.T, told *reading.SlowTurn, client, server net.Conn) {
	t.Helper()
	from := told.Key.Endpoint(int(told.Client))
	to := told.Key.Endpoint(1 - int(told.Client))
	if from.String() != client.LocalAddr().String() || to.String() != server.LocalAddr().String() ||
		told.Key.Proto != model.ProtoTCP || told.Key.Site != loader.Site {
		t.Errorf("told of %v to %v of %+v", from, to, told.Key)
	}
}

// Turns for which there is no room are counted, and readings make room.
func TestSlowTurnsOverflow(t *testing.T) {
	r := newRig(t, loader.Config{Slow: 1})
	const room = (256 << 10) / (96 + 8)
	var before tally
	for _, n := range []int{3 * room, 10, room - 10, 2 * room} {
		if _, err := testkit.PingPong(r.ns, 4, n, 1); err != nil {
			t.Fatal(err)
		}
		all := r.tally(&before)
		if told := len(all.slow); all.turns != uint64(n) || told != min(n, room) || all.lost != uint64(n-told) {
			t.Errorf("told of %d turns and lost %d of %d, want %d of %d", told, all.lost, all.turns, min(n, room), n)
		}
		if again := r.tally(&before); len(again.slow) != 0 {
			t.Errorf("told of %d turns again", len(again.slow))
		}
	}
}

// A program that has given up its privileges still hears of slow turns and their parts.
func TestSlowTurnsWithoutPrivileges(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	p := ns.Start(t, "unprivileged")
	p.Expect(t, "counting")
	const n = 100
	if _, err := testkit.PingPong(ns, 4, n, 1); err != nil {
		t.Fatal(err)
	}
	p.Send(t, "read")
	if got := p.Expect(t, "told of "); got != strconv.Itoa(n) {
		t.Errorf("told of %s turns with parts, want %d", got, n)
	}
	p.Wait(t)
}

// countUnprivileged says how many slow turns with parts there were until it is asked.
func countUnprivileged([]string) error {
	l, err := loader.Open(loader.Config{Learn: withParts(true), Slow: 1})
	if err != nil {
		return err
	}
	if err := l.DropPrivileges(); err != nil {
		return err
	}
	fmt.Println("counting")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	var now reading.Reading
	if err := l.ReadSlots(&now); err != nil {
		return err
	}
	known := 0
	for i := range now.Slow {
		if now.Slow[i].Parts != nil {
			known++
		}
	}
	fmt.Println("told of", known)
	return l.Close()
}
