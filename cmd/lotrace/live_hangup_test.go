package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/testkit"
)

// saysPID is a command that becomes lotrace with the arguments, and says on stderr which process that is.
func saysPID(args string) string { return `sh -c 'echo "pid $$." >&2; exec lotrace ` + args + `'` }

// leader prepares a script that leads the session of a new terminal. PROGRAM in the script is lotrace with args.
// The script's descriptor 3 ends with the test.
func leader(t *testing.T, script, args string) *watched {
	t.Helper()
	w := onTerminal(t, prepareProgram(t, "bash", "-c", strings.ReplaceAll(script, "PROGRAM", saysPID(args))))
	r, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); held.Close() })
	w.ExtraFiles = []*os.File{r}
	w.WaitDelay = time.Second // what outlives the script holds its stderr
	return w
}

// pidSaid is the process that saysPID told of. It is killed if it outlives the test.
func (w *watched) pidSaid() int {
	w.Helper()
	found := regexp.MustCompile(`pid (\d+)\.`).FindStringSubmatch(w.stderr.String() + w.text())
	if found == nil {
		w.Fatalf("no process in %q", w.stderr.String()+w.text())
	}
	pid, err := strconv.Atoi(found[1])
	if err != nil {
		w.Fatal(err)
	}
	process, err := os.FindProcess(pid) // which holds on to it by a pidfd
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = process.Kill() })
	return pid
}

// hangUp closes the terminal. Only the leader of its session gets SIGHUP.
func (w *watched) hangUp() {
	w.Helper()
	if err := w.typist.Close(); err != nil {
		w.Fatal(err)
	}
}

// Leaders of a session, of which lotrace gets no SIGHUP that it heeds.
const (
	deafLeader   = "trap '' HUP; exec PROGRAM"
	livingLeader = "trap : HUP; PROGRAM; exit $?"
)

// However the terminal and SIGHUP go, top ends with the terminal that it is on.
func TestTopHangsUp(t *testing.T) {
	testkit.RequireProgram(t, "bash")
	for name, script := range map[string]string{
		"SIGHUP":               "exec PROGRAM",
		"SIGHUP ignored":       deafLeader,
		"SIGHUP to the leader": livingLeader,
		"keys from /dev/tty":   "trap '' HUP; PROGRAM </dev/null; exit $?",
		"in a pipeline":        "trap : HUP; : | PROGRAM; exit $?",
		"in the background":    "trap : HUP; trap '' TTIN TTOU; set -m; PROGRAM <&0 & wait $!; wait $!; exit $?",
		"orphaned":             "trap : HUP; (trap '' TTIN TTOU; set -m; PROGRAM <&0 &); cat <&3",
	} {
		t.Run(name, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			before := ns.Attached()
			w := leader(t, script, "top")
			w.start(ns)
			w.awaitCounting()
			w.await("REQ/S")
			pid := w.pidSaid()
			left := tracesOfProcess(t, pid, ns, before)
			w.hangUp()
			awaitEnd(t, pid)
			left.checkGone(t)
			if name == "orphaned" {
				return // its parent is no more
			}
			if code := w.end(); code != exitOK {
				t.Errorf("exit code %d: %s", code, &w.stderr)
			}
		})
	}
}

// The terminal that keys come from may be another than the one that top draws on.
func TestKeysHangUp(t *testing.T) {
	testkit.RequireProgram(t, "bash")
	for name, script := range map[string]string{
		"stdin": deafLeader, "/dev/tty": "trap '' HUP; PROGRAM </dev/null; exit $?",
	} {
		t.Run(name, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			w := leader(t, script, "top")
			viewer, drawn := openTerminals(t, 100)
			go func() { _, _ = io.Copy(io.Discard, viewer) }()
			w.Stdout = drawn
			w.start(ns)
			w.awaitCounting()
			pid := w.pidSaid()
			w.hangUp()
			awaitEnd(t, pid)
			if code := w.end(); code != exitOK {
				t.Errorf("exit code %d: %s", code, &w.stderr)
			}
		})
	}
}

// A shell that ends with its terminal has the kernel continue what was stopped in it, and that is when top notices.
func TestStoppedTopHangsUp(t *testing.T) {
	testkit.RequireProgram(t, "bash")
	for _, on := range []string{"", "trap '' HUP;"} {
		t.Run(on, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			before := ns.Attached()
			w := onTerminal(t, prepareProgram(t, "bash", "--norc", "--noediting", "-i"))
			w.Stderr = w.Stdin.(*os.File)
			w.Env = append(w.Env, "PS1=ready$ ")
			w.start(ns)
			w.types(on + saysPID("top") + "\n")
			w.await("REQ/S")
			pid := w.pidSaid()
			left := tracesOfProcess(t, pid, ns, before)
			w.types("\x1a")
			w.await("Stopped")
			w.hangUp()
			awaitEnd(t, pid)
			left.checkGone(t)
		})
	}
}

// A command that prints on a terminal ends with it, even while there is nothing to print.
func TestPrintingHangsUp(t *testing.T) {
	testkit.RequireProgram(t, "bash")
	for args, want := range map[string]int{
		"flows --watch 20ms":     exitFailed, // the last window could not be written
		"flows -d 1h":            exitFailed,
		"flows -d 1h </dev/null": exitFailed,
		"flows -d 1h --hook xdp": exitFailed,
		"lat -d 1h":              exitFailed,
		"trace":                  exitOK, // nothing was left to write
		"trace --hook clsact":    exitOK,
		"capture":                exitOK,
	} {
		t.Run(args, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			before := ns.Attached()
			w := leader(t, livingLeader, args)
			w.start(ns)
			w.awaitCounting()
			if strings.HasPrefix(args, "trace") {
				w.await("REQUEST") // the head is written then, and nothing else is left to write
			}
			pid := w.pidSaid()
			left := tracesOfProcess(t, pid, ns, before)
			w.hangUp()
			awaitEnd(t, pid)
			if code := w.end(); code != want {
				t.Errorf("exit code %d: %s", code, &w.stderr)
			}
			left.checkGone(t)
		})
	}
}

// A capture into a file goes on without the terminal, which shows nothing of it.
func TestFileOutlivesTheTerminal(t *testing.T) {
	testkit.RequireProgram(t, "bash")
	ns := newLiveNetns(t, "auto")
	path := filepath.Join(t.TempDir(), "all.pcapng")
	w := leader(t, deafLeader, "capture -w "+path)
	w.start(ns)
	w.awaitCounting()
	other := prepare(t, "flows", "-d", "1h")
	other.Stdout = w.Stdout
	other.start(ns)
	other.awaitCounting()
	w.hangUp()
	other.end() // the capture had as much time to end
	sendDatagrams(t, ns, 31)
	if err := syscall.Kill(w.pidSaid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := w.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &w.stderr)
	}
	if want := fmt.Sprintf("31 packets written to %s\n", path); !strings.Contains(w.stderr.String(), want) {
		t.Errorf("said %q", &w.stderr)
	}
}
