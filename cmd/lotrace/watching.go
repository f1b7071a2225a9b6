package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/machine"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/owner"
	"github.com/lotrace/lotrace/internal/stats"
)

// watching is what the commands that count have in common: what their flags say, and the way from
// attaching to the last window.
type watching struct {
	filter, netns, hook                 string
	maxFlows                            int
	duration, watch, slow               time.Duration
	stages, excludeSelf, quiet, verbose bool
	breakdown                           bool

	sample   model.SampleConfig    // what to copy of packets
	slowTurn func(*model.SlowTurn) // called for each as it is read; may be nil
	keep     []uint                // capabilities that the job needs

	// For a screen, which stderr would disturb.
	begun  func()                 // called when counting has begun
	notice func(text string) bool // gets what is said, and reports whether stderr should have it, too
}

// registerTurns registers what is told of turns beyond how long they took.
func (c *watching) registerTurns(fs *pflag.FlagSet) {
	fs.BoolVar(&c.breakdown, "breakdown", false, "measure where the time of turns goes")
	durationVar(fs, &c.slow, "slow", "", 0, "list the turns that took D or longer")
}

// session is what there is while packets are counted.
type session struct {
	loader *loader.Loader
	engine *stats.Engine
	owners *owner.Resolver
	expr   *filter.Filter
}

// run counts and calls show for every window. A filter that does not parse is a usage error.
func (c *watching) run(ctx context.Context, inv *invocation, show func(*model.Window) error) error {
	config, err := c.config(inv)
	if err != nil {
		return err
	}
	s, err := live.Open(config)
	if err != nil {
		return c.openError(err)
	}
	err = s.Run(ctx, live.Sinks{Window: show})
	return errors.Join(c.ended(inv, err), s.Close())
}

// config is what the flags say.
func (c *watching) config(inv *invocation) (live.Config, error) {
	expr, err := filter.Parse(c.filter)
	if err != nil {
		return live.Config{}, filterError(err)
	}
	if c.filter == "" {
		expr = nil
	}
	learn := loader.LearnUsual
	if c.breakdown {
		learn |= loader.LearnBreakdown
	}
	return live.Config{
		Timing: c.timing(inv),
		Kernel: loader.Config{
			Netns:    c.netns,
			Hook:     hook.Kind(c.hook),
			MaxFlows: c.maxFlows,
			Stages:   c.stages,
			Learn:    learn,
			Slow:     c.slow,
			Sample:   c.sample,
		},
		Filter:   expr,
		HideSelf: c.excludeSelf,
		Rights:   live.Rights{Keep: c.keep},
		Warn:     func(text string) { c.say(inv, "%s", text) },
		Counting: func(at model.Site) { c.counting(inv, at) },
	}, nil
}

// timing is one window of --duration, or windows of --watch until ^C or for --duration if that was
// asked for.
func (c *watching) timing(inv *invocation) live.Timing {
	t := live.Timing{Interval: c.watch, For: c.duration}
	switch {
	case c.watch > 0 && !inv.isSet("duration"):
		t.For = 0
	case c.duration == 0:
		t.For = live.Glance
	}
	return t
}

// counting says that counting has begun.
func (c *watching) counting(inv *invocation, at model.Site) {
	if !c.quiet {
		fmt.Fprintf(inv.stderr, "lotrace: counting on %s (%s), network namespace %d\n", at.Device, at.Hook, at.Netns)
	}
	if c.begun != nil {
		c.begun()
	}
}

// ended says why counting ended before its time; an error that is left is that of the command.
func (c *watching) ended(inv *invocation, err error) error {
	if errors.Is(err, loader.ErrNetnsGone) {
		c.say(inv, "%v: counting ended", err)
		return nil
	}
	return err
}

// do calls job while packets are counted.
func (c *watching) do(inv *invocation, job func(*session) error) error {
	expr, err := filter.Parse(c.filter)
	if err != nil {
		return filterError(err)
	}
	kernelFilter, _ := expr.Kernel()
	learn := loader.LearnUsual
	if c.breakdown {
		learn |= loader.LearnBreakdown
	}
	l, err := loader.Open(loader.Config{
		Netns:    c.netns,
		Hook:     hook.Kind(c.hook),
		MaxFlows: c.maxFlows,
		Filter:   kernelFilter,
		Stages:   c.stages,
		Learn:    learn,
		Slow:     c.slow,
		Sample:   c.sample,
	})
	if err != nil {
		return c.openError(err)
	}
	return errors.Join(c.begin(inv, l, expr, job), l.Close())
}

// begin runs between Open and Close.
func (c *watching) begin(inv *invocation, l *loader.Loader, expr *filter.Filter, job func(*session) error) error {
	listeners, err := l.Listeners()
	if err != nil {
		c.say(inv, "%v; roles of older connections are guessed", err)
	}
	if err := l.DropPrivileges(c.keep...); err != nil {
		c.say(inv, "warning: %v", err)
	}
	for _, warning := range l.Warnings() {
		c.say(inv, "warning: %s", warning)
	}
	monotonic, boottime, err := machine.ClocksAhead()
	if err != nil {
		return err
	}
	owners := owner.New(owner.Config{Scan: l.Holders, MonotonicAhead: monotonic, BoottimeAhead: boottime})
	defer owners.Close()
	if err := owners.ScanNow(); err != nil {
		c.say(inv, "%v; owners of older connections show when they speak", err)
	}
	config := stats.Config{
		MaxFlows:   c.maxFlows,
		Exchanges:  loader.Exchanges(c.maxFlows),
		Troubles:   loader.Troubles(c.maxFlows),
		Origin:     origin(l, expr),
		Owners:     owners,
		Listeners:  listeners,
		Slow:       c.slow,
		SlowTurn:   c.slowTurn,
		DropReason: loader.DropReason,
	}
	if c.filter != "" {
		config.Match = expr.Match
	}
	if c.excludeSelf {
		config.Hide = endsAt(uint32(os.Getpid()))
	}
	engine, err := stats.Start(l, config)
	if err != nil {
		return err
	}
	c.counting(inv, config.Origin.Site())
	return c.ended(inv, job(&session{l, engine, owners, expr}))
}

func origin(l *loader.Loader, expr *filter.Filter) model.Origin {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return model.Origin{
		Host:   host,
		Kernel: machine.Release(),
		Filter: expr.String(),
		Sites:  []model.Site{{Number: loader.Site, Netns: l.Netns(), Device: l.Device(), Hook: string(l.Hook())}},
	}
}

// endsAt asks of a flow whether one of its ends is the process.
func endsAt(pid uint32) func(*model.Flow) bool {
	is := func(o *model.Owner) bool { return o != nil && o.PID == pid }
	return func(f *model.Flow) bool { return is(f.Client.Owner) || is(f.Server.Owner) }
}

// say writes a line to stderr, where it does not mix with the result.
func (c *watching) say(inv *invocation, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c.notice != nil && !c.notice(text) || c.quiet {
		return
	}
	fmt.Fprintf(inv.stderr, "lotrace: %s\n", text)
}

// openError adds the verifier's log with --verbose.
func (c *watching) openError(err error) error {
	if c.verbose {
		if log := loader.VerifierLog(err); log != "" {
			return fmt.Errorf("%w\n%s", err, log)
		}
	}
	return err
}

// filterError points at the place in the expression.
func filterError(err error) error {
	var at *filter.Error
	if errors.As(err, &at) && at.Caret() != "" {
		return usagef("%v\n%s", err, at.Caret())
	}
	return usagef("%v", err)
}
