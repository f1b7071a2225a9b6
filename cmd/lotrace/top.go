package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/tui"
)

// topOptions is what the flags of top say.
type topOptions struct {
	watching
	by, sort, color string
}

func topCommand() *command {
	var o topOptions
	return &command{
		name:     "top",
		synopsis: "show local traffic live; the default",
		long: `
Who talks to whom, how much, and how fast each answers: a row per service and
client, with their connections below. ? explains the keys.`,
		examples: []string{
			"sudo lotrace                         the same",
			"sudo lotrace top --by flow -s p99    the slowest connections first",
		},
		flags: o.register,
		run:   o.run,
	}
}

func (o *topOptions) register(fs *pflag.FlagSet) {
	fs.VarP(&intervalValue{durationValue{dst: &o.watch}}, "interval", "i", "time between two frames, 1s or more")
	o.watch = time.Second
	fs.Lookup("interval").DefValue = o.watch.String()
	by := &enumValue{dst: &o.by, arg: "WHAT", values: tui.Groups(), elsewhere: views}
	by.register(fs, "by", "b", "a row per ")
	sortFlag(fs, &o.sort, tui.SortFields()...)
	filterFlag(fs, &o.filter)
	netnsFlag(fs, &o.netns)
	hookFlag(fs, &o.hook)
	maxFlowsFlag(fs, &o.maxFlows, loader.DefaultFlows, loader.MinFlows, loader.MaxFlows)
	fs.BoolVar(&o.breakdown, "breakdown", false, "measure where the time of turns goes")
	fs.BoolVar(&o.excludeSelf, "exclude-self", true, "leave out lotrace's own traffic")
	colorFlag(fs, &o.color)
	verboseFlag(fs, &o.verbose)
}

// intervalValue is a duration that histories can be made of: they have one place a second.
type intervalValue struct{ durationValue }

func (v *intervalValue) Set(s string) error {
	was := *v.dst
	if err := v.durationValue.Set(s); err != nil {
		return err
	}
	if *v.dst < time.Second {
		*v.dst = was
		return errors.New("want 1s or more")
	}
	return nil
}

// run counts in the background and draws in the foreground, until either ends.
func (o *topOptions) run(ctx context.Context, inv *invocation) error {
	if inv.screen == nil || inv.env["TERM"] == "dumb" {
		return errors.New("standard output is no terminal to draw on: use lotrace flows --watch 1s")
	}
	view, err := tui.New(tui.Options{By: o.by, Sort: o.sort, Color: inv.useColor(o.color)})
	if err != nil {
		return usagef("%v", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &feed{o: o, view: view, screen: tea.NewProgram(framed{view}, o.screenOptions(inv)...), begun: make(chan struct{})}
	defer context.AfterFunc(ctx, f.screen.Quit)()

	counted := make(chan error, 1)
	go func() {
		counted <- f.run(ctx, inv)
		cancel()
	}()
	select {
	case <-f.begun:
	case err := <-counted: // there was nothing to draw: the screen stays as it is
		return err
	}
	_, err = f.screen.Run()
	cancel()
	return errors.Join(err, <-counted)
}

func (o *topOptions) screenOptions(inv *invocation) []tea.ProgramOption {
	env := make([]string, 0, len(inv.env))
	for key, value := range inv.env {
		env = append(env, key+"="+value)
	}
	profile := colorprofile.ANSI
	if !inv.useColor(o.color) {
		profile = colorprofile.ASCII
	}
	options := []tea.ProgramOption{
		tea.WithOutput(inv.screen),
		tea.WithEnvironment(env),
		tea.WithColorProfile(profile), // nothing is looked up about the terminal: sudo may not know it
		tea.WithoutSignalHandler(),    // the context ends with them
		tea.WithFPS(30),
		tea.WithFilter(func(_ tea.Model, msg tea.Msg) tea.Msg {
			if _, ok := msg.(tea.SuspendMsg); ok && !canSuspend() {
				return nil
			}
			return msg
		}),
	}
	// What is piped in is nobody's keys: the terminal itself has them.
	if keys, ok := inv.stdin.(*os.File); ok && terminal(keys) != nil {
		options = append(options, tea.WithInput(keys))
	}
	return options
}

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

// framed is the view with an answer to who hands it a window.
type framed struct{ *tui.Model }

// frame is a window on its way to the view. Taken is closed when the view has let go of the one before.
type frame struct {
	*model.Snapshot
	taken chan struct{}
}

func (f framed) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if next, ok := msg.(frame); ok {
		defer close(next.taken)
		msg = tui.Frame{Snapshot: next.Snapshot}
	}
	_, cmd := f.Model.Update(msg)
	return f, cmd
}

// feed counts for the screen.
type feed struct {
	o      *topOptions
	view   *tui.Model
	screen *tea.Program
	begun  chan struct{} // closed when counting has begun, and the screen may
	last   string        // what was said last
}

func (f *feed) run(ctx context.Context, inv *invocation) error {
	defer func() {
		if r := recover(); r != nil {
			f.screen.Kill() // or the stack would go to a screen that nobody can read
			panic(r)
		}
	}()
	f.o.keepRows, f.o.notice, f.o.begun = true, f.notice, func() { close(f.begun) }
	err := f.o.watching.run(ctx, inv, func(s *model.Snapshot) error {
		taken := make(chan struct{})
		f.screen.Send(frame{s, taken})
		select {
		case <-taken:
		case <-ctx.Done():
		}
		return nil
	})
	if err == nil && ctx.Err() == nil && f.hasBegun() {
		f.screen.Send(tui.Ended{Err: errors.New(f.last)})
		<-ctx.Done()
	}
	return err
}

func (f *feed) hasBegun() bool {
	select {
	case <-f.begun:
		return true
	default:
		return false
	}
}

// notice shows on the screen what would disturb it on stderr.
func (f *feed) notice(text string) (stderrToo bool) {
	text = strings.TrimPrefix(text, "warning: ")
	if !f.hasBegun() {
		f.view.Update(tui.Warning(text))
		return true
	}
	f.last = text
	f.screen.Send(tui.Warning(text))
	return false
}
