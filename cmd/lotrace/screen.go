package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/sys/unix"
)

// screen draws on the terminal, and gives it back however that ends.
type screen struct {
	*tea.Program
	inv     *invocation
	keys    *os.File       // the terminal that they come from; nil: there is none
	release func()         // lets go of keys
	signals chan os.Signal // of job control, and SIGQUIT
	stopped atomic.Bool    // by ourselves
}

func newScreen(inv *invocation, color bool, model tea.Model) *screen {
	s := &screen{inv: inv, signals: make(chan os.Signal, 8)}
	s.keys, s.release = keysOf(inv)
	env := make([]string, 0, len(inv.env))
	for key, value := range inv.env {
		env = append(env, key+"="+value)
	}
	profile := colorprofile.ANSI
	if !color {
		profile = colorprofile.ASCII
	}
	options := []tea.ProgramOption{
		tea.WithOutput(inv.screen),
		tea.WithEnvironment(env),
		tea.WithColorProfile(profile), // nothing is looked up about the terminal: sudo may not know it
		tea.WithoutSignalHandler(),    // the context ends with them
		tea.WithFPS(25),
		tea.WithFilter(s.filter),
	}
	if s.keys != nil { // otherwise Bubble Tea says that there is none
		options = append(options, tea.WithInput(s.keys))
	}
	s.Program = tea.NewProgram(model, options...)
	return s
}

// keysOf is stdin if that is a terminal. What is piped in is nobody's keys: the session's terminal has them then,
// which is open until release is called. Without a terminal keys is nil.
func keysOf(inv *invocation) (keys *os.File, release func()) {
	release = func() {}
	if keys, ok := inv.stdin.(*os.File); ok && terminal(keys) != nil {
		return keys, release
	}
	keys, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, release
	}
	return keys, func() { keys.Close() }
}

// run draws from begun on, while count runs in the background, until either ends. It is called once: it lets go of
// the keys.
func (s *screen) run(ctx context.Context, begun <-chan struct{}, count func(context.Context) error) error {
	defer s.release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, s.Quit)()
	if s.keys != nil { // which may be of another terminal than the one that is drawn on
		defer s.inv.untilHangup(s.keys, cancel)()
	}

	counted := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				s.Kill() // or the stack would go to a screen that nobody can read
				panic(r)
			}
		}()
		counted <- count(ctx)
		cancel()
	}()
	select {
	case <-begun:
	case err := <-counted: // there was nothing to draw: the screen stays as it is
		return err
	}
	for _, sig := range []os.Signal{syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(s.signals, sig)
		}
	}
	defer signal.Stop(s.signals)
	go s.handle(ctx, cancel)
	_, err := s.Program.Run()
	if errors.Is(err, unix.EIO) && terminal(s.keys) == nil { // reading may notice the hangup first
		err = nil
	}
	cancel()
	return errors.Join(err, <-counted)
}

// handle does on a signal what a key would do.
func (s *screen) handle(ctx context.Context, quit func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-s.signals:
			switch {
			case sig == syscall.SIGQUIT:
				quit()
			case sig == syscall.SIGTSTP:
				s.Send(tea.SuspendMsg{})
			case !s.stopped.CompareAndSwap(true, false): // continued after the terminal was somebody else's
				s.Send(tea.Exec(without{func() error { return nil }}, nil)())
			}
		}
	}
}

// filter stops us where Bubble Tea would: it sends SIGTSTP, which we catch.
func (s *screen) filter(_ tea.Model, msg tea.Msg) tea.Msg {
	if _, ok := msg.(tea.SuspendMsg); !ok {
		return msg
	}
	if !canSuspend() {
		return nil
	}
	s.stopped.Store(true)
	return tea.Exec(without{stopGroup}, nil)()
}

// stopGroup stops the process group until somebody continues it. Kill may return before any thread is stopped.
func stopGroup() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	if err := unix.Kill(0, unix.SIGSTOP); err != nil {
		return err
	}
	<-continued
	return nil
}

// without runs while the terminal is given back; after that all is drawn anew.
type without struct{ run func() error }

// settling is time for Bubble Tea's old drawing goroutine to stop the ticker that it shares with the next one.
// Nothing tells when it has; should it come late, it stops the next one's, and nothing is drawn any more.
const settling = 50 * time.Millisecond

func (w without) Run() error {
	time.Sleep(settling)
	return w.run()
}
func (without) SetStdin(io.Reader)  {}
func (without) SetStdout(io.Writer) {}
func (without) SetStderr(io.Writer) {}

// canSuspend reports whether a shell waits for our process group. One that nobody could continue is not
// stopped, and waiting to be continued would be for ever.
func canSuspend() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", unix.Getpgrp()))
	if err != nil {
		return false
	}
	rest := string(stat)[strings.LastIndexByte(string(stat), ')')+1:]
	var state string
	var parent int
	if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent == 0 {
		return false
	}
	session, err := unix.Getsid(parent)
	own, ownErr := unix.Getsid(0)
	return err == nil && ownErr == nil && session == own
}
