package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/outfile"
	"github.com/lotrace/lotrace/internal/tui"
)

// topOptions is what the flags of top say.
type topOptions struct {
	countFlags
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
	fs.VarP(&intervalValue{durationValue{dst: &o.watch}}, "interval", "i", "time between two frames, 100ms or more")
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
	durationVar(fs, &o.slow, "slow", "", 100*time.Millisecond, "tell in the detail of turns that took D or longer")
	fs.BoolVar(&o.excludeSelf, "exclude-self", true, "leave out lotrace's own traffic")
	colorFlag(fs, &o.color)
	quietFlag(fs, &o.quiet)
	verboseFlag(fs, &o.verbose)
}

// leastInterval is what nobody can read faster than.
const leastInterval = 100 * time.Millisecond

// intervalValue is a time between two frames.
type intervalValue struct{ durationValue }

func (v *intervalValue) Set(s string) error {
	was := *v.dst
	if err := v.durationValue.Set(s); err != nil {
		return err
	}
	if *v.dst < leastInterval {
		*v.dst = was
		return fmt.Errorf("want %s or more", leastInterval)
	}
	return nil
}

// run counts in the background and draws in the foreground, until either ends.
func (o *topOptions) run(ctx context.Context, inv *invocation) error {
	if inv.screen == nil || inv.env["TERM"] == "dumb" {
		return errors.New("standard output is no terminal to draw on: use lotrace flows --watch 1s")
	}
	color := inv.useColor(o.color)
	view, err := tui.New(tui.Options{By: o.by, Sort: o.sort, Color: color, Write: keeper{outfile.BehindSudo(inv.env)}.write})
	if err != nil {
		return usagef("%v", err)
	}
	// At most twice that many flows wait for the screen: as many as end at most in one window of the engine.
	windows := live.NewHandoff(2 * o.maxFlows)
	f := &feed{
		o: o, view: view, screen: newScreen(inv, color, taker{view, windows}), windows: windows, begun: make(chan struct{}),
	}
	return f.screen.run(ctx, f.begun, func(ctx context.Context) error { return f.run(ctx, inv) })
}

// taker is the view, which takes its windows where they wait.
type taker struct {
	*tui.Model
	windows *live.Handoff
}

// ready says that a window may wait.
type ready struct{}

func (t taker) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(ready); ok {
		w, folded := t.windows.Take()
		if w == nil { // an earlier message found it
			return t, nil
		}
		msg = tui.Frame{Window: w, Folded: folded}
	}
	_, cmd := t.Model.Update(msg)
	return t, cmd
}

// feed counts for the screen, and waits for it nowhere.
type feed struct {
	o       *topOptions
	view    *tui.Model
	screen  *screen
	windows *live.Handoff
	begun   chan struct{} // closed when counting has begun, and the screen may

	mu   sync.Mutex
	said []string // what the screen is still to show
	last string   // what was said last
}

func (f *feed) run(ctx context.Context, inv *invocation) error {
	config, err := f.o.config(inv)
	if err != nil {
		return err
	}
	warn, counting := config.Warn, config.Counting
	config.Warn = func(text string) {
		if f.notice(text) {
			warn(text)
		}
	}
	config.Counting = func(at model.Site) {
		counting(at)
		close(f.begun)
	}
	economy := newEconomy()
	defer economy.end()
	sinks := f.windows.Sinks()
	handOver := sinks.Window
	sinks.Window = func(w *model.Window) error {
		economy.adjust(w.Flows.Len())
		return handOver(w)
	}
	running, ended := context.WithCancel(ctx)
	defer ended()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		f.sendAll(running)
	}()
	err = f.o.count(ctx, config, sinks)
	ended()
	<-sent
	if err == nil && ctx.Err() == nil && f.hasBegun() {
		f.send()
		f.screen.Send(tui.Ended{Err: errors.New(f.last)})
		<-ctx.Done()
	}
	return err
}

// sendAll tells the screen of all that there is, until ctx ends.
func (f *feed) sendAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.windows.Ready():
			f.send()
		}
	}
}

// send tells the screen what was said, and that a window may wait.
func (f *feed) send() {
	f.mu.Lock()
	said := f.said
	f.said = nil
	f.mu.Unlock()
	for _, text := range said {
		f.screen.Send(tui.Warning(text))
	}
	f.screen.Send(ready{})
}

func (f *feed) hasBegun() bool {
	select {
	case <-f.begun:
		return true
	default:
		return false
	}
}

// notice shows on the screen, with the next window, what would disturb it on stderr.
func (f *feed) notice(text string) (stderrToo bool) {
	text = strings.TrimPrefix(text, "warning: ")
	if !f.hasBegun() {
		f.view.Update(tui.Warning(text))
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = text
	if !slices.Contains(f.said, text) { // which is bounded so, however long the screen is late
		f.said = append(f.said, text)
	}
	return false
}
