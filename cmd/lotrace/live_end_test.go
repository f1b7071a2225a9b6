package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// traces is what a run has in the system while it counts.
type traces struct {
	ns       *testkit.Netns
	before   testkit.Attached // without the run
	objects  []testkit.BPFObject
	children []int
}

// tracesOf is for a run that counts; before is what was attached before it began.
func tracesOf(l *program, ns *testkit.Netns, before testkit.Attached) *traces {
	l.Helper()
	return tracesOfProcess(l.TB, l.Process.Pid, ns, before)
}

func tracesOfProcess(tb testing.TB, pid int, ns *testkit.Netns, before testkit.Attached) *traces {
	tb.Helper()
	if cmp.Equal(before, ns.Attached()) {
		tb.Fatal("nothing is attached: nothing to look for afterwards")
	}
	return &traces{ns, before, testkit.HeldBPF(tb, pid), childrenOf(tb, pid)}
}

// checkGone fails the test unless the system soon is as it was before.
func (tr *traces) checkGone(tb testing.TB) {
	tb.Helper()
	for _, pid := range tr.children {
		awaitEnd(tb, pid)
	}
	testkit.CheckBPFGone(tb, tr.objects)
	if diff := cmp.Diff(tr.before, tr.ns.Attached()); diff != "" {
		tb.Errorf("left behind (-before +after): %s", diff)
	}
}

// childrenOf looks for the parent's id in every process's proc_pid_stat(5).
func childrenOf(tb testing.TB, parent int) []int {
	tb.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		tb.Fatal(err)
	}
	var children []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // ended
		}
		behindName := string(text[bytes.LastIndexByte(text, ')')+1:])
		if fields := strings.Fields(behindName); fields[1] != strconv.Itoa(parent) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(file, "/")[2])
		if err != nil {
			tb.Fatal(err)
		}
		children = append(children, pid)
	}
	return children
}

// awaitEnd waits for a process that is not ours to wait for.
func awaitEnd(tb testing.TB, pid int) {
	tb.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer unix.Close(fd)
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(patience/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 {
			tb.Errorf("process %d does not end: %v", pid, err)
		}
		return
	}
}

// The first signal ends the window early; its result is printed, and nothing stays.
func TestSignalsEndWell(t *testing.T) {
	for _, hook := range liveHooks {
		for _, signal := range stopSignals(t) {
			t.Run(fmt.Sprintf("%s/%v", hook, signal), func(t *testing.T) {
				ns := newLiveNetns(t, hook)
				clean := ns.Attached()
				l := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--hook", hook)
				traces := tracesOf(l, ns, clean)
				before := ns.Device()
				sendSome(t, ns)
				if err := l.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				if code := l.end(); code != exitOK {
					t.Errorf("exit code %d: %s", code, &l.stderr)
				}
				parseDoc(t, l.stdout.Bytes()).checkExact(t, ns.Device().Sub(before))
				for _, pid := range traces.children { // a guardian must not act once others may move in
					if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
						t.Errorf("child %d outlived its parent: %v", pid, err)
					}
				}
				traces.checkGone(t)
			})
		}
	}
}

func kill(l *program) {
	l.Helper()
	if err := l.Process.Kill(); err != nil {
		l.Fatal(err)
	}
	if code := l.end(); code != -1 {
		l.Errorf("exit code %d of a killed process", code)
	}
}

// Of two that share a qdisc one is killed, then the other; a third party's filter stays throughout.
func TestKilledBesideOthers(t *testing.T) {
	ns := newLiveNetns(t, "clsact")
	addForeignFilter(t, ns)
	clean := ns.Attached()
	first := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--hook", "clsact")
	one := ns.Attached()
	before := ns.Device()
	second := startCounting(t, ns, "flows", "-d", "60", "--hook", "clsact")
	traces := tracesOf(second, ns, one)
	sendSome(t, ns)
	kill(second)
	traces.checkGone(t)
	sendSome(t, ns)

	traces = tracesOf(first, ns, clean)
	first.interrupt()
	parseDoc(t, first.stdout.Bytes()).checkExact(t, ns.Device().Sub(before))
	traces.checkGone(t)
}

// addForeignFilter makes a clsact qdisc and fills a place in it, next to ours.
func addForeignFilter(t *testing.T, ns *testkit.Netns) {
	t.Helper()
	err := ns.Do(func() error {
		qdisc := netlink.QdiscAttrs{LinkIndex: 1, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
		if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: qdisc}); err != nil {
			return err
		}
		program, err := passAll()
		if err != nil {
			return err
		}
		defer program.Close()
		return netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: 1, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1,
			},
			Fd: program.FD(), Name: "foreign", DirectAction: true,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// passAll is a program of tc that lets everything pass, and no later filter see it.
func passAll() (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
}

// Where the guardian was killed, too, the next start cleans up; it touches no living one.
func TestKilledWithGuardian(t *testing.T) {
	ns := newLiveNetns(t, "clsact")
	clean := ns.Attached()
	first := startCounting(t, ns, "flows", "-d", "60", "--hook", "clsact")
	traces := tracesOf(first, ns, clean)
	if len(traces.children) != 1 {
		t.Fatalf("children %v, want a guardian", traces.children)
	}
	guardian, err := os.FindProcess(traces.children[0])
	if err == nil {
		err = guardian.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill(first)
	if cmp.Equal(clean, ns.Attached()) {
		t.Fatal("nothing was left: nothing to sweep")
	}
	startCounting(t, ns, "flows", "-d", "60", "--hook", "clsact").interrupt()
	traces.checkGone(t)
}

// The reader of a pipe has seen enough after the first line, as head -1 has.
func TestReaderEndsWatch(t *testing.T) {
	for _, hook := range liveHooks {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			clean := ns.Attached()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			l := prepare(t, "flows", "--watch", "20ms", "-o", "json", "--hook", hook)
			l.Stdout = w
			l.start(ns)
			w.Close()
			l.awaitCounting()
			traces := tracesOf(l, ns, clean)
			line, err := bufio.NewReader(r).ReadBytes('\n')
			if err != nil {
				t.Fatal(err)
			}
			parseDoc(t, line)
			r.Close()
			if code := l.end(); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			if _, said, _ := strings.Cut(l.stderr.String(), "lotrace: counting"); strings.Count(said, "\n") != 1 {
				t.Errorf("said %q", said)
			}
			traces.checkGone(t)
		})
	}
}

// A device takes one XDP program: the second run says so and leaves the first alone.
func TestSecondXDP(t *testing.T) {
	ns := newLiveNetns(t, "xdp")
	first := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--hook", "xdp")
	before := ns.Device()
	second := prepare(t, "flows", "-d", "60", "--hook", "xdp")
	second.start(ns)
	if code := second.end(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	const what = "lotrace: flows: attach xdp to lo: another XDP program is there, and a device takes one: "
	if said := second.stderr.String(); !strings.HasPrefix(said, what) || !strings.HasSuffix(said, "; use --hook auto\n") {
		t.Errorf("said %q", said)
	}
	sendSome(t, ns)
	first.interrupt()
	parseDoc(t, first.stdout.Bytes()).checkExact(t, ns.Device().Sub(before))
}
