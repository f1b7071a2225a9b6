package main

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/testkit"
)

// watched is top on a pseudo-terminal.
type watched struct {
	*program
	typist *os.File
	before unix.Termios

	mu   sync.Mutex
	seen strings.Builder
	more chan struct{}
}

// watchTop starts top in the namespace, on a terminal that no description is known of.
func watchTop(t *testing.T, ns *testkit.Netns, args ...string) *watched {
	t.Helper()
	w := onTerminal(t, prepare(t, args...))
	w.start(ns)
	w.awaitCounting()
	return w
}

// onTerminal gives a program that is to be started a terminal.
func onTerminal(t *testing.T, l *program) *watched {
	t.Helper()
	typist, program := openTerminals(t, 100)
	w := &watched{program: l, typist: typist, more: make(chan struct{}, 1)}
	w.before = w.termios(program)
	w.Stdin, w.Stdout = program, program
	w.Env = append(w.Environ(), "TERM=nobody-knows")
	w.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	go w.see()
	return w
}

func (w *watched) termios(f *os.File) unix.Termios {
	w.Helper()
	termios, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		w.Fatal(err)
	}
	return *termios
}

func (w *watched) see() {
	b := make([]byte, 4096)
	for {
		n, err := w.typist.Read(b)
		w.mu.Lock()
		w.seen.Write(b[:n])
		w.mu.Unlock()
		select {
		case w.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (w *watched) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.String()
}

func (w *watched) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Reset()
}

// await waits for a text to be drawn.
func (w *watched) await(text string) {
	w.Helper()
	timeout := time.After(patience)
	for !strings.Contains(w.text(), text) && !strings.Contains(ansi.Strip(w.text()), text) {
		select {
		case <-w.more:
		case <-timeout:
			w.Fatalf("no %q: %q", text, w.text())
		}
	}
}

func (w *watched) types(keys string) {
	w.Helper()
	if _, err := w.typist.WriteString(keys); err != nil {
		w.Fatal(err)
	}
}

// However top ends, the terminal is as it was, and so is the system.
func TestLiveTopEnds(t *testing.T) {
	// A process under nohup ignores hangups, and so do its children; not so if we listen to them.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for name, end := range map[string]func(*watched){
		"q":       func(w *watched) { w.types("q") },
		"^C":      func(w *watched) { w.types("\x03") },
		"SIGINT":  func(w *watched) { _ = w.Process.Signal(syscall.SIGINT) },
		"SIGTERM": func(w *watched) { _ = w.Process.Signal(syscall.SIGTERM) },
		"SIGHUP":  func(w *watched) { _ = w.Process.Signal(syscall.SIGHUP) },
		"SIGQUIT": func(w *watched) { _ = w.Process.Signal(syscall.SIGQUIT) },
		// Nobody could continue it here, so it goes on.
		"^Z, q": func(w *watched) {
			w.types("\x1a")
			for range 3 {
				w.types("?")
				w.await("this help")
				w.forget()
				w.types("q")
				w.await("REQ/S")
				w.forget()
			}
			w.types("q")
		},
	} {
		t.Run(name, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			before := ns.Attached()
			w := watchTop(t, ns) // no command means top
			left := tracesOf(w.program, ns, before)
			sendDatagrams(t, ns, 31)
			w.await("exact")
			end(w)
			if code := w.end(); code != exitOK {
				t.Errorf("exit code %d: %s", code, &w.stderr)
			}
			left.checkGone(t)
			w.checkRestored()
		})
	}
}

// While the terminal takes nothing, top counts on: it frees flows, so that a small table stays large enough, and says
// later that it shows several windows as one.
func TestLiveTopOnAStuckTerminal(t *testing.T) {
	const (
		table       = loader.MinFlows
		batches     = 60
		connections = table / 40 // in each
	)
	ns := newLiveNetns(t, "auto")
	w := watchTop(t, ns, "-i", "500ms", "--max-flows", strconv.Itoa(table))
	sendDatagrams(t, ns, 31)
	w.await("exact")
	control := func(what int) {
		t.Helper()
		if err := unix.IoctlSetInt(int(w.Stdout.(*os.File).Fd()), unix.TCXONC, what); err != nil {
			t.Fatal(err)
		}
	}
	control(unix.TCOOFF)
	pace := time.NewTicker(100 * time.Millisecond) // the table has room for those of four seconds, and for the turns of two
	defer pace.Stop()
	for range batches {
		<-pace.C
		if _, err := testkit.ShortConnections(ns, 4, connections, 8); err != nil {
			t.Fatal(err)
		}
	}
	w.forget()
	control(unix.TCOON)
	w.await("windows as one")
	w.types("q")
	if code := w.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &w.stderr)
	}
	if strings.Contains(ansi.Strip(w.text()), "in no flow") {
		t.Error("the table was full")
	}
	w.checkRestored()
}

// Keys get to the view, flags to the count.
func TestLiveTopShows(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	w := watchTop(t, ns, "-f", "proto:udp", "--by", "flow", "-s", "client")
	sendDatagrams(t, ns, 31)
	w.await("1 flow")
	w.await("by flow")
	w.types("?")
	w.await("this help")
	w.types("q/prot:1")
	w.await("did you mean")
	w.types("\x03")
	if code := w.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &w.stderr)
	}
}

func TestTopNeedsATerminal(t *testing.T) {
	code, stdout, stderr := lotrace(t, nil, "top")
	if want := "lotrace: top: standard output is no terminal to draw on: use lotrace flows --watch 1s\n"; code != exitFailed || stdout != "" || stderr != want {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}
