//go:build soak

// Package soak runs every command of lotrace for a long time, over traffic in which flows begin and end all
// the while, and looks at what stays: nothing may grow, and every packet must be counted once.
// `make soak` runs it, in a network namespace of its own.
package soak

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/testkit"
)

// leastSamples is how many make three thirds worth comparing.
const leastSamples = 30

// checkLeft holds what is attached, and what the kernel says of itself, against what was before.
func checkLeft(t *testing.T, ns *testkit.Netns, clean testkit.Attached, tainted string) {
	t.Helper()
	if diff := cmp.Diff(clean, ns.Attached()); diff != "" {
		t.Errorf("left attached (-before +after): %s", diff)
	}
	if now := taint(t); now != tainted {
		t.Errorf("the kernel warned, see dmesg: tainted %s, and %s before", now, tainted)
	}
}

// checkGoroutines holds a run that went on for so long against a young one.
func checkGoroutines(t *testing.T, ns *testkit.Netns, old *resident, long time.Duration) {
	t.Helper()
	young := start(t, ns, "young", program("flows", "--watch", "1s", "-o", "jsonl"))
	if now, then := old.goroutines(), young.goroutines(); now > then+1 {
		t.Errorf("%d goroutines after %v, %d in a young run:\n%s", now, long, then, &old.stderr)
	}
}

func TestSoak(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil || long < leastSamples*time.Second {
		t.Fatalf("SOAK=%s: want a duration of %ds or more (%v)", os.Getenv("SOAK"), leastSamples, err)
	}
	ns := testkit.NewNetns(t)
	clean, tainted := ns.Attached(), taint(t)

	books := &account{done: make(chan struct{})}
	accountant := startAccountant(t, ns, books)
	before := ns.Device()
	residents := []*resident{accountant, startScreen(t, ns),
		start(t, ns, "clsact", program("flows", "--watch", "500ms", "--by", "service", "--hook", "clsact", "--breakdown", "--slow", "1ms")),
		start(t, ns, "stages", program("flows", "--watch", "1s", "-o", "csv", "--stages", "--max-flows", "1024")),
		start(t, ns, "lat", program("lat", "--watch", "2s", "--breakdown", "--slow", "1ms", "tcp")),
		start(t, ns, "witness", program("flows", "--watch", "1s", "-o", "jsonl")),
	}
	watched := ns.Attached()

	load := startTraffic(t, ns)
	errands := &errands{TB: t, ns: ns, before: watched}
	began := time.Now()
	each := min(long/leastSamples, 10*time.Second)
	for next := began.Add(each); time.Since(began) < long && !t.Failed(); {
		errands.run()
		if time.Now().After(next) {
			next = next.Add(each)
			for _, r := range residents {
				r.look()
			}
		}
	}
	load.end()
	testkit.Quiesce(ns)
	after := ns.Device()
	if dropsOf(ns) == 0 {
		t.Error("no datagram was dropped: the mix lacks something")
	}

	witness := residents[len(residents)-1]
	checkGoroutines(t, ns, witness, long)
	for _, r := range residents {
		if r != witness && r.end(syscall.SIGTERM) != 0 {
			t.Errorf("%s ended with %v: %s", r.name, r.ProcessState, &r.stderr)
		}
	}
	<-books.done
	books.close(t, after.Sub(before))
	for _, r := range residents {
		if len(r.samples) < leastSamples/2 {
			t.Fatalf("%s: %d samples say little", r.name, len(r.samples))
		}
		r.flat(long)
		testkit.CheckBPFGone(t, r.objects)
	}
	checkLeft(t, ns, clean, tainted)
	printSummary(t, residents, books, errands)
}

// taint is the kernel's taint mask. A warning stays in it, so a machine that had one shows no other.
func taint(t *testing.T) string {
	t.Helper()
	mask, err := os.ReadFile("/proc/sys/kernel/tainted")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(mask))
}

// startAccountant begins the run whose windows are added up.
func startAccountant(t *testing.T, ns *testkit.Netns, books *account) *resident {
	t.Helper()
	r, w := io.Pipe()
	cmd := program("flows", "--watch", "1s", "-o", "json")
	cmd.Stdout = w
	go books.keep(t, r)
	accountant := start(t, ns, "flows", cmd)
	go func() {
		<-accountant.ended
		w.Close()
	}()
	return accountant
}

// startScreen begins top on a terminal; somebody plays with its keys.
func startScreen(t *testing.T, ns *testkit.Netns) *resident {
	t.Helper()
	typist, screen := testkit.OpenTerminal(t, 120, 40)
	cmd := program("top")
	cmd.Stdin, cmd.Stdout = screen, screen
	cmd.Env = append(os.Environ(), "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	go func() { _, _ = io.Copy(io.Discard, typist) }()
	r := start(t, ns, "top", cmd)
	go func() {
		keys := time.NewTicker(500 * time.Millisecond)
		defer keys.Stop()
		// Groupings, sorting, opening rows, a detail, help, a filter and its end, all without an end of top.
		for i := 0; ; i++ {
			select {
			case <-r.ended:
				return
			case <-keys.C:
				all := strings.Split("b,b,s,j,\r,\x1b,2,/port:1\r,\x1b,?,\x1b,3,b,b,b,j,l,t,o,o,1", ",")
				_, _ = typist.WriteString(all[i%len(all)])
			}
		}
	}()
	return r
}

func printSummary(t *testing.T, residents []*resident, books *account, e *errands) {
	t.Logf("%d packets, %d bytes in %d windows with %d rows; in no flow: %d", books.sum.Packets, books.sum.Bytes,
		books.windows, books.flows, books.overflow)
	t.Logf("%d commands came and went, %d kinds in turn", e.ran, len(turns()))
	t.Log(summaryHead)
	for _, r := range residents {
		t.Log(r.summary())
	}
}
