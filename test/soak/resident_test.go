//go:build soak

package soak

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/testkit"
)

// warmedUp is three times what it takes until histories of a minute are full, and flows end as fast as they
// begin, those in TIME_WAIT included.
const warmedUp = 5 * time.Minute

const heap = "bytes of heap"

// patience bounds every wait for the program; only a broken one meets it.
const patience = 30 * time.Second

// resident is a run of the program that lasts, and is looked at meanwhile.
type resident struct {
	testing.TB
	*exec.Cmd
	name    string
	stderr  messages
	ended   chan struct{}
	samples []sample
	objects []testkit.BPFObject
}

// sample is what a process holds at one time.
type sample struct {
	rss, heap uint64 // bytes; heap is what no file or map is behind
	fds       int
	threads   int
	bpf       int // programs, maps and links
}

// messages keeps what is written to stderr and tells when counting has begun.
type messages struct {
	mu       sync.Mutex
	text     bytes.Buffer
	counting chan struct{}
}

func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.begun()
	m.text.Write(p)
	if !before && m.begun() {
		close(m.counting)
	}
	return len(p), nil
}

func (m *messages) begun() bool { return bytes.Contains(m.text.Bytes(), []byte("lotrace: counting")) }

func (m *messages) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}

// program is the one under test.
func program(args ...string) *exec.Cmd { return exec.Command(os.Getenv("LOTRACE"), args...) }

// start begins a run in the namespace and returns when it counts.
func start(tb testing.TB, ns *testkit.Netns, name string, cmd *exec.Cmd) *resident {
	tb.Helper()
	r := &resident{TB: tb, Cmd: cmd, name: name, ended: make(chan struct{})}
	r.stderr.counting = make(chan struct{})
	r.Stderr = &r.stderr
	if err := ns.Do(r.Start); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	go func() {
		_ = r.Wait() // who ends it looks at the exit code
		close(r.ended)
	}()
	tb.Cleanup(func() {
		_ = r.Process.Kill()
		<-r.ended
	})
	select {
	case <-r.stderr.counting:
	case <-r.ended:
		tb.Fatalf("%s ended before it counted: %s", name, &r.stderr)
	case <-time.After(patience):
		tb.Fatalf("%s does not begin to count: %s", name, &r.stderr)
	}
	r.objects = testkit.HeldBPF(tb, r.Process.Pid)
	return r
}

// end sends the signal and returns the exit code, -1 if it was the signal that ended the run.
func (r *resident) end(signal syscall.Signal) int {
	r.Helper()
	if err := r.Process.Signal(signal); err != nil {
		r.Fatalf("%s: %v", r.name, err)
	}
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.Fatalf("%s does not end: %s", r.name, &r.stderr)
	}
	return r.ProcessState.ExitCode()
}

// goroutines ends the run by SIGQUIT, of which Go says who was doing what.
func (r *resident) goroutines() int {
	r.Helper()
	r.end(syscall.SIGQUIT)
	n := strings.Count(r.stderr.String(), "\ngoroutine ")
	if n == 0 {
		r.Fatalf("%s: no goroutine: %s", r.name, &r.stderr)
	}
	return n
}

// look takes a sample.
func (r *resident) look() {
	r.Helper()
	dir := fmt.Sprintf("/proc/%d", r.Process.Pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		r.Fatalf("%s ended: %s", r.name, &r.stderr)
	}
	fds, err := filepath.Glob(dir + "/fd/*")
	if err != nil {
		r.Fatal(err)
	}
	r.samples = append(r.samples, sample{
		rss:     field(status, "VmRSS") << 10,
		heap:    field(status, "RssAnon") << 10,
		threads: int(field(status, "Threads")),
		fds:     len(fds),
		bpf:     len(testkit.HeldBPF(r.TB, r.Process.Pid)),
	})
}

// field reads a number of proc_pid_status(5).
func field(status []byte, name string) (n uint64) {
	_, rest, _ := bytes.Cut(status, []byte("\n"+name+":"))
	fmt.Sscan(string(rest), &n)
	return n
}

// flat fails the test if the last third of the run held more than the one before it: the first is for
// warming up, and too short for the heap in a run of less than warmedUp. The median tells growth from what
// comes and goes.
func (r *resident) flat(long time.Duration) {
	r.Helper()
	for _, of := range []struct {
		name  string
		value func(sample) uint64
		slack uint64
	}{
		{heap, func(s sample) uint64 { return s.heap }, 2 << 20},
		{"descriptors", func(s sample) uint64 { return uint64(s.fds) }, 1},
		{"threads", func(s sample) uint64 { return uint64(s.threads) }, 2},
		{"BPF objects", func(s sample) uint64 { return uint64(s.bpf) }, 0},
	} {
		if of.name == heap && long < warmedUp {
			continue
		}
		third := len(r.samples) / 3
		before, after := median(r.samples[third:2*third], of.value), median(r.samples[2*third:], of.value)
		if after > before+before/20+of.slack {
			r.Errorf("%s: %d %s in the second third of the time, %d in the last", r.name, before, of.name, after)
		}
	}
}

func median(samples []sample, value func(sample) uint64) uint64 {
	var values []uint64
	for _, s := range samples {
		values = append(values, value(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// summary is a line of what was held at a third of the time, at two thirds and at the end.
func (r *resident) summary() string {
	third := len(r.samples) / 3
	at := []sample{r.samples[third], r.samples[2*third], r.samples[len(r.samples)-1]}
	show := func(value func(sample) uint64) string {
		return fmt.Sprintf("%d %d %d", value(at[0]), value(at[1]), value(at[2]))
	}
	return fmt.Sprintf("%-10s  %-17s  %-17s  %-10s  %-10s  %s", r.name,
		show(func(s sample) uint64 { return s.rss >> 10 }), show(func(s sample) uint64 { return s.heap >> 10 }),
		show(func(s sample) uint64 { return uint64(s.fds) }), show(func(s sample) uint64 { return uint64(s.threads) }),
		show(func(s sample) uint64 { return uint64(s.bpf) }))
}

const summaryHead = "resident    RSS, KiB           heap, KiB          files       threads     BPF objects; at 1/3, 2/3 and the end"
