package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
)

// flowsOptions is what the flags of flows say.
type flowsOptions struct {
	countFlags
	output, by, sort, color string
	limit                   int
}

func flowsCommand() *command {
	var o flowsOptions
	return &command{
		name:     "flows",
		synopsis: "count local traffic for a while and print who talked to whom",
		long: `
One row per client process and service. The totals are the device's own.`,
		examples: []string{
			"sudo lotrace flows -d 10  what happened on lo in ten seconds",
			"sudo lotrace flows --watch 1s -f 'port:5432' -o json | jq .rows",
		},
		flags: o.register,
		run:   o.run,
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
	o.registerTurns(fs)
	fs.BoolVar(&o.excludeSelf, "exclude-self", true, "leave out lotrace's own traffic")
	colorFlag(fs, &o.color)
	quietFlag(fs, &o.quiet)
	verboseFlag(fs, &o.verbose)
}

func (o *flowsOptions) run(ctx context.Context, inv *invocation) error {
	encoder, err := export.New(o.output, export.Options{
		By:    o.by,
		Sort:  o.sort,
		Limit: rowLimit(o.limit, o.output),
		Color: inv.useColor(o.color),
		Width: inv.width(),

		SlowLimit: rowLimit(o.limit, o.output),
	})
	if err != nil {
		return usagef("%v", err)
	}
	config, err := o.config(inv)
	if err != nil {
		return err
	}
	separator := ""
	var memory thrift
	return o.count(ctx, config, live.Sinks{Window: func(s *model.Window) error {
		memory.adjust(s.Flows.Len())
		fmt.Fprint(inv.stdout, separator)
		if o.forPeople() {
			separator = "\n"
		}
		if o.output == "csv" { // has rows and no place for anything else
			o.sayOverflow(inv, s)
			o.saySlow(inv, s)
		}
		return encoder.Encode(inv.stdout, s)
	}})
}

// forPeople reports whether a blank line between two windows helps rather than disturbs.
func (o *flowsOptions) forPeople() bool { return export.DefaultLimit(o.output) > 0 }

// sayOverflow tells of what is in no row.
func (o *flowsOptions) sayOverflow(inv *invocation, s *model.Window) {
	for _, cause := range slices.Sorted(maps.Keys(s.ByCause)) {
		o.say(inv, "warning: packets in no row: %s %d", cause, s.ByCause[cause].Packets)
	}
	if s.Uncounted > 0 {
		o.say(inv, "warning: flows whose troubles are in no row: %d", s.Uncounted)
	}
	if s.Hidden.Flows > 0 {
		o.say(inv, "hidden: %d flows of lotrace itself, %d packets, %d bytes",
			s.Hidden.Flows, s.Hidden.Packets, s.Hidden.Bytes)
	}
}

func (o *flowsOptions) saySlow(inv *invocation, s *model.Window) {
	if n := uint64(len(s.Slow)); n > 0 {
		o.say(inv, "warning: slow turns in no row: %d; -o json has them", n)
	}
}
