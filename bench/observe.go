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
)

// observe is lotrace flows --watch 1s -o json with less than everything on, which users cannot have: "counts"
// only, or those and "owners". "least" is no lotrace but what anybody must do who watches packets.
func observe(ctx context.Context, args []string, stdout io.Writer) error {
	config := live.Config{
		Timing:   live.Timing{Interval: time.Second},
		Kernel:   loader.Config{Learn: loader.LearnCounts},
		Warn:     func(text string) { fmt.Fprintf(os.Stderr, "lotrace: %s\n", text) },
		Counting: func(model.Site) { fmt.Fprintln(os.Stderr, "lotrace: counting") },
	}
	switch what := strings.Join(args, " "); what {
	case "least":
		return observeLeast(ctx, stdout)
	case "counts":
	case "owners":
		config.Kernel.Learn |= loader.LearnOwners | loader.LearnHolders
	default:
		return fmt.Errorf("observe %q: least, counts or owners", what)
	}
	encoder, err := export.New("json", export.Options{})
	if err != nil {
		return err
	}
	s, err := live.Open(config)
	if err != nil {
		return err
	}
	err = s.Run(ctx, live.Sinks{Window: func(w *model.Window) error { return encoder.Encode(stdout, w) }})
	return errors.Join(err, s.Close())
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
