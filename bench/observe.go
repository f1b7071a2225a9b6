package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/owner"
	"github.com/lotrace/lotrace/internal/stats"
)

// observe is lotrace flows --watch 1s -o json with less than everything on, which users cannot have: "counts"
// only, or those and "owners". "least" is no lotrace but what anybody must do who watches packets.
func observe(ctx context.Context, args []string, stdout io.Writer) (err error) {
	config := loader.Config{Learn: loader.LearnCounts}
	switch what := strings.Join(args, " "); what {
	case "least":
		return observeLeast(ctx, stdout)
	case "counts":
	case "owners":
		config.Learn |= loader.LearnOwners | loader.LearnHolders
	default:
		return fmt.Errorf("observe %q: least, counts or owners", what)
	}
	l, err := loader.Open(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	counted := stats.Config{MaxFlows: loader.DefaultFlows}
	if config.Learns(loader.LearnOwners) {
		owners := owner.New(owner.Config{Scan: l.Holders})
		defer owners.Close()
		if err := owners.ScanNow(); err != nil {
			return err
		}
		counted.Owners = owners
	}
	engine, err := stats.Start(l, counted)
	if err != nil {
		return err
	}
	encoder, err := export.New("json", export.Options{})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "lotrace: counting")
	return live.Loop(ctx, live.Timing{Interval: time.Second}, live.Parts{Engine: engine}, live.Sinks{Window: func(w *model.Window) error {
		return encoder.Encode(stdout, w)
	}})
}

// observeLeast counts packets, and does nothing else.
func observeLeast(ctx context.Context, stdout io.Writer) (err error) {
	var c counting
	if err := loadOther("counter", &c, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Program.Close(), c.Seen.Close()) }()
	l, err := attachEgress(c.Program)
	if err != nil {
		return fmt.Errorf("attach counter: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	fmt.Fprintln(os.Stderr, "counting")
	<-ctx.Done()
	var seen []uint64
	if err := c.Seen.Lookup(uint32(0), &seen); err != nil {
		return fmt.Errorf("read counter: %w", err)
	}
	var sum uint64
	for _, n := range seen {
		sum += n
	}
	fmt.Fprintln(stdout, sum, "packets seen")
	return nil
}
