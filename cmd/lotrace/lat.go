package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
)

// latOptions is what the flags of lat say.
type latOptions struct {
	countFlags
	limit int
	color string
}

func latCommand() *command {
	var o latOptions
	return &command{
		name:     "lat",
		synopsis: "draw how fast services answer",
		long: `
A histogram per service, the busiest first: how long from a request's last byte
to its answer's first, as both leave their sockets; below it, what went wrong.
FILTER is as with flows -f.`,
		operands: "[FILTER]...",
		examples: []string{
			"sudo lotrace lat port:6379        redis, for ten seconds",
			"sudo lotrace lat -d 60 --breakdown --slow 100ms server:postgres",
		},
		flags: o.register,
		run:   o.run,
	}
}

func (o *latOptions) register(fs *pflag.FlagSet) {
	durationFlag(fs, &o.duration, 10*time.Second, "measure for so long, or until ^C")
	durationVar(fs, &o.watch, "watch", "", 0, "draw again every D, until ^C or --duration")
	intVar(fs, &o.limit, "limit", "n", 3, 0, 1000, "at most `N` services, 0 for all")
	o.registerTurns(fs)
	netnsFlag(fs, &o.netns)
	hookFlag(fs, &o.hook)
	maxFlowsFlag(fs, &o.maxFlows, loader.DefaultFlows, loader.MinFlows, loader.MaxFlows)
	colorFlag(fs, &o.color)
	quietFlag(fs, &o.quiet)
	verboseFlag(fs, &o.verbose)
}

func (o *latOptions) run(ctx context.Context, inv *invocation) error {
	o.filter, o.excludeSelf = strings.Join(inv.args, " "), true
	options := export.Options{
		Limit: o.limit,
		Color: inv.useColor(o.color),
		Width: inv.width(),

		SlowLimit: rowLimit(limitUnset, "table"),
	}
	if inv.isSet("limit") {
		options.SlowLimit = o.limit
	}
	picture := export.NewPicture(options)
	config, err := o.config(inv)
	if err != nil {
		return err
	}
	separator := ""
	return o.count(ctx, config, live.Sinks{Window: func(s *model.Window) error {
		fmt.Fprint(inv.stdout, separator)
		separator = "\n"
		return picture.Encode(inv.stdout, s)
	}})
}
