package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/testkit"
)

// brokenScreen is a program that draws until a key is pressed, and panics in the place that it is told.
func brokenScreen() {
	inv := &invocation{env: environment(os.Environ()), stdin: os.Stdin, screen: os.Stdout}
	m := &brokenModel{where: os.Args[1], pressed: make(chan struct{})}
	begun := make(chan struct{})
	close(begun)
	err := newScreen(inv, true, m).run(context.Background(), begun, func(ctx context.Context) error {
		select {
		case <-m.pressed:
		case <-ctx.Done():
			return nil
		}
		if m.where == "count" {
			panic("in count")
		}
		return errors.New("count ended")
	})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(exitFailed)
}

type brokenModel struct {
	where   string
	broken  bool
	pressed chan struct{}
}

func (m *brokenModel) Init() tea.Cmd { return nil }

func (m *brokenModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(tea.KeyPressMsg); !ok {
		return m, nil
	}
	switch m.where {
	case "update":
		panic("in update")
	case "command":
		return m, func() tea.Msg { panic("in command") }
	case "view":
		m.broken = true
	default:
		close(m.pressed)
	}
	return m, nil
}

func (m *brokenModel) View() tea.View {
	if m.broken {
		panic("in view")
	}
	v := tea.NewView("all is well")
	v.AltScreen = true
	return v
}

// After a panic anywhere the terminal is as it was, and what is said about it is not on a screen that is gone.
func TestScreenAfterAPanic(t *testing.T) {
	for _, where := range []string{"update", "view", "command", "count", "nowhere"} {
		t.Run(where, func(t *testing.T) {
			w := onTerminal(t, prepareProgram(t, "lotrace-breaks", where))
			w.start(nil)
			w.await("all is well")
			w.types("x")
			code := w.end()
			if where == "count" && code != 2 || where != "count" && code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			said := w.stderr.String()
			if where != "nowhere" && !strings.Contains(said, "in "+where) || where == "nowhere" && !strings.Contains(said, "count ended") {
				t.Errorf("said %q", said)
			}
			w.checkRestored()
		})
	}
}

// checkRestored holds that the terminal is as it was before.
func (w *watched) checkRestored() {
	w.Helper()
	w.await("\x1b[?1049l")
	w.await("\x1b[?25h")
	w.checkTermios()
}

func (w *watched) checkTermios() {
	w.Helper()
	if diff := cmp.Diff(w.before, w.termios(w.typist)); diff != "" {
		w.Errorf("the terminal (-before +after): %s", diff)
	}
}

// A shell in which top is stopped, however that is done, has its terminal; fg draws everything anew.
func TestLiveTopStops(t *testing.T) {
	testkit.RequireProgram(t, "bash")
	for name, stop := range map[string]func(*watched, int){
		"^Z":      func(w *watched, _ int) { w.types("\x1a") },
		"SIGTSTP": func(_ *watched, pid int) { _ = syscall.Kill(pid, syscall.SIGTSTP) },
		"SIGSTOP": func(_ *watched, pid int) { _ = syscall.Kill(pid, syscall.SIGSTOP) },
	} {
		t.Run(name, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			w := onTerminal(t, prepareProgram(t, "bash", "--norc", "--noediting", "-i"))
			w.Stderr = w.Stdin.(*os.File)
			w.Env = append(w.Env, "PS1=ready$ ")
			w.start(ns)
			w.await("ready$")
			w.before = w.termios(w.typist)
			w.types("lotrace top\n")
			w.await("REQ/S")
			pid := w.child()
			t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
			for range 2 { // what was caught before is caught again
				w.forget()
				stop(w, pid)
				w.await("ready$")
				if name != "SIGSTOP" { // which leaves nobody the time
					w.await("\x1b[?1049l")
					w.checkTermios()
				}
				w.forget()
				w.types("fg\n")
				w.await("\x1b[?1049h")
				w.await("REQ/S")
			}
			w.types("q")
			w.await("\x1b[?1049l")
			w.await("ready$")
			w.checkRestored()
			w.types("exit $?\n")
			if code := w.end(); code != exitOK {
				t.Errorf("exit code %d: %s", code, w.text())
			}
		})
	}
}

// child is the one that the program has.
func (w *watched) child() int {
	w.Helper()
	pid := strconv.Itoa(w.Process.Pid)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		w.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		w.Fatalf("children %q: %v", children, err)
	}
	return child
}

// TestLiveTopInTmux runs testdata/tmux/top.sh: the whole program on a whole terminal.
func TestLiveTopInTmux(t *testing.T) {
	testkit.RequireProgram(t, "tmux")
	ns := newLiveNetns(t, "auto")
	dir, err := os.MkdirTemp("", "top") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := prepareProgram(t, "bash", "testdata/tmux/top.sh", dir)
	l.start(ns)
	<-l.ended // it has a patience of its own
	if code := l.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &l.stderr)
	}
}
