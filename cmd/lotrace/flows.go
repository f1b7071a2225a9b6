package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/owner"
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/watch"
)

// flowsOptions is what the flags of flows say.
type flowsOptions struct {
	output, by, sort, filter, netns, hook, color string
	limit, maxFlows                              int
	duration, watch                              time.Duration
	stages, excludeSelf, quiet, verbose          bool
}

func flowsCommand() *command {
	var o flowsOptions
	return &command{
		name:     "flows",
		synopsis: "count local traffic for a while and print who talked to whom",
		long: `
One row per client process and service. The totals are the device's own (ip -s
link show lo), to the packet and the byte; the first line says if they agree.`,
		examples: []string{
			"sudo lotrace flows -d 10  what happened on lo in ten seconds",
			"sudo lotrace flows --watch 1s -f 'port:5432'",
			"sudo lotrace flows --by service -o json | jq .rows",
		},
		flags: o.register,
		run:   func(ctx context.Context, inv *invocation) error { return o.run(ctx, inv) },
	}
}

func (o *flowsOptions) register(fs *pflag.FlagSet) {
	durationFlag(fs, &o.duration, time.Second, "count for so long; 0 is a glance")
	durationVar(fs, &o.watch, "watch", "", 0, "print again every D, until ^C or --duration")
	byFlag(fs, &o.by, export.Views()...)
	filterFlag(fs, &o.filter)
	outputFlag(fs, &o.output, export.Formats()...)
	sortFlag(fs, &o.sort, export.SortFields()...)
	limitFlag(fs, &o.limit)
	netnsFlag(fs, &o.netns)
	hookFlag(fs, &o.hook)
	maxFlowsFlag(fs, &o.maxFlows, loader.DefaultFlows, loader.MinFlows, loader.MaxFlows)
	fs.BoolVar(&o.stages, "stages", false, "count at TC ingress too: what left and never arrived")
	fs.BoolVar(&o.excludeSelf, "exclude-self", true, "leave out lotrace's own traffic")
	colorFlag(fs, &o.color)
	quietFlag(fs, &o.quiet)
	verboseFlag(fs, &o.verbose)
}

func (o *flowsOptions) run(ctx context.Context, inv *invocation) error {
	expr, err := filter.Parse(o.filter)
	if err != nil {
		return filterError(err)
	}
	encoder, err := export.New(o.output, export.Options{
		By:    o.by,
		Sort:  o.sort,
		Limit: rowLimit(o.limit, o.output),
		Color: inv.useColor(o.color),
		Width: inv.width(),
	})
	if err != nil {
		return usagef("%v", err)
	}
	kernelFilter, _ := expr.Kernel()
	l, err := loader.Open(loader.Config{
		Netns:    o.netns,
		Hook:     loader.Hook(o.hook),
		MaxFlows: o.maxFlows,
		Filter:   kernelFilter,
		Stages:   o.stages,
	})
	if err != nil {
		return o.openError(err)
	}
	return errors.Join(o.count(ctx, inv, l, expr, encoder), l.Close())
}

// count runs between Open and Close.
func (o *flowsOptions) count(ctx context.Context, inv *invocation, l *loader.Loader, expr *filter.Filter,
	encoder export.Encoder) error {
	listeners, err := l.Listeners()
	if err != nil {
		o.say(inv, "%v; roles of older connections are guessed", err)
	}
	if err := l.DropPrivileges(); err != nil {
		o.say(inv, "warning: %v", err)
	}
	for _, warning := range l.Warnings() {
		o.say(inv, "warning: %s", warning)
	}
	owners := owner.New(owner.Config{Scan: l.Holders})
	defer owners.Close()
	if err := owners.ScanNow(); err != nil {
		o.say(inv, "%v; owners of older connections show when they speak", err)
	}
	config := stats.Config{
		MaxFlows:  o.maxFlows,
		Exchanges: loader.Exchanges(o.maxFlows),
		Origin:    o.origin(l, expr),
		Owners:    owners,
		Listeners: listeners,
	}
	if o.filter != "" {
		config.Match = expr.Match
	}
	if o.excludeSelf {
		config.Hide = isOwn
	}
	engine, err := stats.Start(l, config)
	if err != nil {
		return err
	}
	o.say(inv, "counting on %s (%s), network namespace %d", l.Device(), l.Hook(), l.Netns())
	meter := watch.NewMeter()
	separator, denied := "", false
	err = watch.Run(ctx, engine, o.timing(inv, l), func(s *model.Snapshot) error {
		fmt.Fprint(inv.stdout, separator)
		if o.forPeople() {
			separator = "\n"
		}
		s.Self = meter.Read()
		s.Self.BPFNsPerPacket = l.Cost()
		if o.output == "csv" { // has rows and no place for anything else
			o.sayOverflow(inv, s)
		}
		if n := owners.Denied(); n > 0 && !denied {
			denied = true
			o.say(inv, "executables of %d processes of other users are unknown: run as root, "+
				"or give the binary cap_sys_ptrace", n)
		}
		return encoder.Encode(inv.stdout, s)
	})
	if errors.Is(err, loader.ErrNetnsGone) {
		o.say(inv, "%v: counting ended", err)
		return nil
	}
	return err
}

// forPeople reports whether a blank line between two windows helps rather than disturbs.
func (o *flowsOptions) forPeople() bool { return export.DefaultLimit(o.output) > 0 }

// timing is one window of --duration, or windows of --watch until ^C or for --duration if that was
// asked for.
func (o *flowsOptions) timing(inv *invocation, l *loader.Loader) watch.Config {
	c := watch.Config{Interval: o.watch, Duration: o.duration, Alive: l.Alive}
	if o.watch > 0 && !inv.isSet("duration") {
		c.Duration = -1
	}
	return c
}

func (o *flowsOptions) origin(l *loader.Loader, expr *filter.Filter) model.Origin {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return model.Origin{
		Host:   host,
		Kernel: loader.KernelRelease(),
		Netns:  l.Netns(),
		Device: l.Device(),
		Hook:   string(l.Hook()),
		Filter: expr.String(),
	}
}

// isOwn reports whether one end of the flow is this very process.
func isOwn(f *model.Flow) bool {
	self := uint32(os.Getpid())
	for _, o := range []*model.Owner{f.Client.Owner, f.Server.Owner} {
		if o != nil && o.PID == self {
			return true
		}
	}
	return false
}

// say writes a line to stderr, where it does not mix with the result.
func (o *flowsOptions) say(inv *invocation, format string, args ...any) {
	if !o.quiet {
		fmt.Fprintf(inv.stderr, "lotrace: "+format+"\n", args...)
	}
}

// sayOverflow tells of what was counted and is in no row.
func (o *flowsOptions) sayOverflow(inv *invocation, s *model.Snapshot) {
	for _, cause := range slices.Sorted(maps.Keys(s.ByCause)) {
		o.say(inv, "warning: packets in no row: %s %d", cause, s.ByCause[cause].Packets)
	}
	if s.Hidden.Flows > 0 {
		o.say(inv, "hidden: %d flows of lotrace itself, %d packets, %d bytes",
			s.Hidden.Flows, s.Hidden.Packets, s.Hidden.Bytes)
	}
}

// openError adds the verifier's log with --verbose.
func (o *flowsOptions) openError(err error) error {
	if o.verbose {
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
