// Bench measures what watching costs: each packet, the services that are watched, user space, and all of that
// as flows become more. docs/bench.md says how. It runs in namespaces of its own, needs root and Linux 6.6,
// and leaves nothing behind.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// plan is how much is measured.
type plan struct {
	rounds    int // in which every instance has a turn
	taxRounds int

	pairs     int           // of runs with a watcher and without
	trips     int           // a run of ping-pong
	bulkBytes int           // a run
	datagrams int           // a run of UDP small packets
	requests  int           // a run of redis-benchmark
	load      time.Duration // a run of wrk

	glances int // runs of flows -d 0
	watch   time.Duration
	flows   []alive // that user space shows
	rates   []int   // of new connections a second

	growthRounds int
	connections  []int // TCP connections that live
	peers        []int // UDP flows that live
}

var (
	fullPlan = plan{
		rounds: 15, taxRounds: 300,
		pairs: 20, trips: 10_000, bulkBytes: 1 << 29, datagrams: 100_000, requests: 20_000, load: 300 * time.Millisecond,
		glances: 11, watch: 6 * time.Second,
		flows: allAlive, rates: []int{100, 1000, 10_000, 50_000},
		growthRounds: 6,
		connections:  []int{1, 10, 1000, 10_000, 100_000}, peers: []int{1, 10, 1000, 10_000, 100_000, 1_000_000},
	}
	shortPlan = plan{
		rounds: 5, taxRounds: 100,
		pairs: 2, trips: 5000, bulkBytes: 1 << 28, datagrams: 50_000, requests: 10_000, load: 100 * time.Millisecond,
		glances: 1, watch: 2 * time.Second,
		flows: allAlive[2:5], rates: []int{100, 10_000},
		growthRounds: 2,
		connections:  []int{1000, 10_000}, peers: []int{1000, 100_000},
	}
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	output := flags.String("o", "table", "`format`: table or markdown")
	only := flags.String("only", "", "measure `this` only: "+measureNames()+", or a part of one, as loss/wrk")
	short := flags.Bool("short", false, "a quick look: few rounds, less traffic")
	save := flags.Bool("save", false, "write "+resultsDir+" and the tables in "+pagePath+" instead of printing")
	page := flags.String("page", "", "only write the tables in "+pagePath+", from these `results`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if role, ok := roles[flags.Arg(0)]; ok {
		return role(ctx, flags.Args()[1:], stdout)
	}
	if *output != "table" && *output != "markdown" {
		return fmt.Errorf("no output format %q: table or markdown", *output)
	}
	if *page != "" {
		return writePage(*page)
	}
	if *save {
		if *short || *only != "" {
			return errors.New("save: results are of the whole plan")
		}
		return measureAndSave(ctx)
	}
	binary := os.Getenv(envBinary)
	if binary == "" {
		return enter(ctx, args, stdout)
	}
	p := fullPlan
	if *short {
		p = shortPlan
	}
	all, err := measureAll(ctx, p, binary, *only)
	if err != nil {
		return err
	}
	return all.print(stdout, *output == "markdown")
}

// roles are what this program does in processes beside the one that measures.
var roles = map[string]func(ctx context.Context, args []string, stdout io.Writer) error{
	"observe": observe,
	"hold":    hold,
}

func measureAndSave(ctx context.Context) error {
	var report bytes.Buffer
	if err := enter(ctx, []string{"-o", "markdown"}, &report); err != nil {
		return err
	}
	path := resultsPath()
	if err := os.WriteFile(path, report.Bytes(), 0o644); err != nil {
		return err
	}
	return writePage(path)
}

// measures are the parts of the whole, in the order of the report.
var measures = []struct {
	name string
	run  func(ctx context.Context, p plan, binary string, only *selection) (report, error)
}{
	{"cost", measureCost},
	{"loss", measureLoss},
	{"user space", measureUserSpace},
	{"growth", measureGrowth},
}

func measureNames() string {
	var names []string
	for _, m := range measures {
		names = append(names, m.name)
	}
	return strings.Join(names, ", ")
}

// selection is what -only names: a measure, one of its parts, a part of that.
type selection struct {
	names []string
	met   bool // something has this name
}

func selected(only string) *selection {
	if only == "" {
		return &selection{met: true}
	}
	return &selection{names: strings.Split(only, "/")}
}

// has reports whether something of these names is to be measured, in part or whole.
func (s *selection) has(names ...string) bool {
	n := min(len(names), len(s.names))
	if !slices.Equal(names[:n], s.names[:n]) {
		return false
	}
	s.met = s.met || n == len(s.names)
	return true
}

func measureAll(ctx context.Context, p plan, binary, only string) (all report, err error) {
	if err := settle(); err != nil {
		return all, err
	}
	what := selected(only)
	for _, m := range measures {
		if !what.has(m.name) {
			continue
		}
		r, err := m.run(ctx, p, binary, what)
		if err != nil {
			return all, fmt.Errorf("%s: %w", m.name, err)
		}
		all.add(r)
	}
	if !what.met {
		return all, fmt.Errorf("nothing to measure is called %q", only)
	}
	return all, nil
}
