package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
)

// countFlags is what the flags say that the commands that count have in common.
type countFlags struct {
	filter, netns, hook                 string
	maxFlows                            int
	duration, watch, slow               time.Duration
	stages, excludeSelf, quiet, verbose bool
	breakdown                           bool
}

// registerTurns registers what is told of turns beyond how long they took.
func (c *countFlags) registerTurns(fs *pflag.FlagSet) {
	fs.BoolVar(&c.breakdown, "breakdown", false, "measure where the time of turns goes")
	durationVar(fs, &c.slow, "slow", "", 0, "list the turns that took D or longer")
}

// count counts as config says, for sinks.
func (c *countFlags) count(ctx context.Context, config live.Config, sinks live.Sinks) error {
	s, err := live.Open(config)
	if err != nil {
		return c.openError(err)
	}
	err = s.Run(ctx, sinks)
	return errors.Join(ended(err, config.Warn), s.Close())
}

// config is what the flags say. A filter that does not parse is a usage error.
func (c *countFlags) config(inv *invocation) (live.Config, error) {
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
		},
		Filter:   expr,
		HideSelf: c.excludeSelf,
		Warn:     func(text string) { c.say(inv, "%s", text) },
		Counting: func(at model.Site) { c.counting(inv, at) },
	}, nil
}

// timing is one window of --duration, or windows of --watch until ^C or for --duration if that was
// asked for.
func (c *countFlags) timing(inv *invocation) live.Timing {
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
func (c *countFlags) counting(inv *invocation, at model.Site) {
	if !c.quiet {
		fmt.Fprintf(inv.stderr, "lotrace: counting on %s (%s), network namespace %d\n", at.Device, at.Hook, at.Netns)
	}
}

// ended warns of why counting ended before its time; an error that is left is that of the command.
func ended(err error, warn func(text string)) error {
	if errors.Is(err, loader.ErrNetnsGone) {
		warn(fmt.Sprintf("%v: counting ended", err))
		return nil
	}
	return err
}

// say writes a line to stderr, where it does not mix with the result.
func (c *countFlags) say(inv *invocation, format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(inv.stderr, "lotrace: %s\n", fmt.Sprintf(format, args...))
	}
}

// openError adds the verifier's log with --verbose.
func (c *countFlags) openError(err error) error {
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
