package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/owner"
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/watch"
)

// observe is lotrace flows --watch 1s -o json with less than everything on, which users cannot have: "counts"
// only, or those and "owners".
func observe(ctx context.Context, args []string, stdout io.Writer) (err error) {
	config := loader.Config{NoOwners: true, NoScan: true, NoTurns: true, NoHealth: true}
	if len(args) != 1 || args[0] != "counts" && args[0] != "owners" {
		return fmt.Errorf("observe %q: counts or owners", args)
	}
	if args[0] == "owners" {
		config.NoOwners, config.NoScan = false, false
	}
	l, err := loader.Open(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	counted := stats.Config{MaxFlows: loader.DefaultFlows}
	if !config.NoOwners {
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
	return watch.Run(ctx, engine, watch.Config{Interval: time.Second, Duration: -1}, func(s *model.Snapshot) error {
		return encoder.Encode(stdout, s)
	})
}
