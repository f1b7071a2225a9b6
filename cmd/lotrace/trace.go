package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/trace"
)

// traceOptions is what the flags of trace say.
type traceOptions struct {
	countFlags
	output                       string
	limit                        lineLimit
	payload                      int
	errors, conns, hex, noRedact bool
	packets                      bool
}

func traceCommand() *command {
	var o traceOptions
	return &command{
		name:     "trace",
		synopsis: "print requests and their answers as they happen",
		long: `
A line per turn: when the request had left, who asked whom, how much, how long
until the answer began and ended. Passwords and the like in payload are masked.`,
		examples: []string{
			"sudo lotrace trace -f port:5432",
			"sudo lotrace trace --slow 50ms --errors --breakdown",
			"sudo lotrace trace --payload 200 -o jsonl -f server:nginx | jq .request_head",
		},
		groups: []flagGroup{
			{"As with flows", []string{"filter", "breakdown", "netns", "hook", "max-flows", "exclude-self", "quiet", "verbose"}},
		},
		flags: o.register,
		run:   o.run,
	}
}

func (o *traceOptions) register(fs *pflag.FlagSet) {
	durationVar(fs, &o.duration, "duration", "d", 0, "end after so long (default: at ^C)")
	durationVar(fs, &o.slow, "slow", "", 0, "only turns that took D or longer")
	fs.BoolVar(&o.errors, "errors", false, "only what is refused, reset, dropped or sent again")
	fs.BoolVar(&o.conns, "conns", false, "connections that open and close, too")
	intVar(fs, &o.payload, "payload", "", 0, 0, 16<<10, "show the first `N` bytes of request and answer")
	fs.BoolVar(&o.hex, "hex", false, "payload as a hex dump")
	fs.BoolVar(&o.noRedact, "no-redact", false, "payload with its secrets")
	fs.BoolVar(&o.packets, "packets", false, "a line per packet instead, as capture prints them")
	fs.BoolVar(&o.breakdown, "breakdown", false, "measure where the time of turns goes")
	filterFlag(fs, &o.filter)
	outputFlag(fs, &o.output, export.TraceFormats()...)
	o.limit.register(fs)
	netnsFlag(fs, &o.netns)
	hookFlag(fs, &o.hook)
	maxFlowsFlag(fs, &o.maxFlows, loader.DefaultFlows, loader.MinFlows, loader.MaxFlows)
	fs.BoolVar(&o.excludeSelf, "exclude-self", true, "leave out lotrace's own traffic")
	quietFlag(fs, &o.quiet)
	verboseFlag(fs, &o.verbose)
}

func (o *traceOptions) run(ctx context.Context, inv *invocation) error {
	if o.packets {
		return o.listPackets(ctx, inv)
	}
	encoder, err := export.NewTrace(o.output, export.TraceOptions{Parts: o.breakdown, Errors: o.errors, Hex: o.hex})
	if err != nil {
		return usagef("%v", err)
	}
	if o.hex && o.payload == 0 {
		return usagef("--hex needs --payload N")
	}
	config, err := o.config(inv)
	if err != nil {
		return err
	}
	config.For, config.Kernel.Slow = o.duration, 0
	config.Turns = &trace.Config{
		Payload: o.payload, NoRedact: o.noRedact, Conns: o.conns || o.errors, Errors: o.errors,
	}
	out := bufio.NewWriter(inv.stdout) // emptied several times a second
	counting := config.Counting
	config.Counting = func(at model.Site) {
		counting(at)
		_ = errors.Join(encoder.Begin(out), out.Flush()) // what fails is returned by the next Flush, too
	}
	start := time.Now() // attaching takes a while, and what happens meanwhile is told, too
	s, err := live.Open(config)
	if err != nil {
		return o.openError(err)
	}
	return errors.Join(ended(o.follow(ctx, s, out, encoder, start), config.Warn), s.Close())
}

// listPackets prints packets instead of turns. A limit per second is the kernel's budget then.
func (o *traceOptions) listPackets(ctx context.Context, inv *invocation) error {
	for _, flag := range []string{"slow", "conns", "payload", "hex", "breakdown"} {
		if inv.isSet(flag) {
			return usagef("--packets: no --%s is known of packets", flag)
		}
	}
	if o.output != "table" {
		return usagef("--packets: lines of packets are for people; for programs there is lotrace capture -w -")
	}
	c := captureOptions{countFlags: o.countFlags, errors: o.errors}
	if o.limit.perSecond {
		c.sample.PerSecond = uint32(o.limit.n)
	} else {
		c.packets = o.limit.n
	}
	return c.run(ctx, inv)
}

// follow runs while packets are counted and sampled. Where that never begins it writes nothing.
func (o *traceOptions) follow(ctx context.Context, s *live.Session, out *bufio.Writer, encoder export.TraceEncoder,
	start time.Time) error {
	selector := trace.NewSelector(o.selection(),
		func(e *model.Traced) error { return encoder.Event(out, e) },
		func(g *model.TraceGap) error { return encoder.Gap(out, g) })
	err := s.Run(ctx, live.Sinks{
		Turn:  selector.Show,
		Round: func(now time.Time) error { return errors.Join(selector.Tick(now), out.Flush()) },
	})
	if failed := out.Flush(); !s.HasBegun() || failed != nil && errors.Is(err, failed) {
		return err // nothing more can be written, or is to be
	}
	summary := model.TraceSummary{Start: start, End: time.Now(), Origin: s.Origin(), Counts: selector.Counts}
	summary.Counts.Forgotten = s.Forgotten()
	samples, countErr := s.SampleCounts()
	summary.Samples = samples
	return errors.Join(err, countErr, selector.Flush(), encoder.End(out, &summary), out.Flush())
}

func (o *traceOptions) selection() trace.Selection {
	s := trace.Selection{Slow: o.slow, Errors: o.errors, Conns: o.conns}
	s.Limit, s.PerSecond = o.limit.n, o.limit.perSecond
	if !o.limit.set && o.output == "table" {
		s.Limit, s.PerSecond = linesForPeople, true
	}
	return s
}

// linesForPeople is how many lines a second people are shown unless they say otherwise.
const linesForPeople = 100

// lineLimit is the flag --limit where lines come one after the other: N in all, or N/s.
type lineLimit struct {
	n              int
	perSecond, set bool
}

func (v *lineLimit) register(fs *pflag.FlagSet) {
	*v = lineLimit{}
	fs.VarP(v, "limit", "n", fmt.Sprintf("`N` lines in all, or N/s (default %d/s, jsonl: all)", linesForPeople))
}

func (v *lineLimit) Type() string { return "N" }

func (v *lineLimit) String() string {
	switch {
	case !v.set:
		return ""
	case v.perSecond:
		return strconv.Itoa(v.n) + "/s"
	}
	return strconv.Itoa(v.n)
}

func (v *lineLimit) Set(s string) error {
	text, perSecond := strings.CutSuffix(s, "/s")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return fmt.Errorf("want a whole number from 0 to %d, with /s behind it for so many a second", math.MaxInt32)
	}
	*v = lineLimit{n: n, perSecond: perSecond, set: true}
	return nil
}
