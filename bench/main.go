// Bench measures what watching costs: each packet, against an empty program and against a reference
// that finds flows the usual way, and user space with full tables. It runs in a network namespace of
// its own, needs root and Linux 6.6, and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// envBinary names the lotrace binary to measure; the first process sets it for the second, which
// runs inside the namespace.
const envBinary = "LOTRACE_BENCH_BINARY"

// userSpace stands for the measurements without a kind of traffic of their own.
const userSpace = "user space"

// plan is how much is measured.
type plan struct {
	rounds    int
	trips     int // ping-pong round trips a run
	bulkBytes int // a run
	glances   int // runs of flows -d 0
	watch     time.Duration
}

var (
	fullPlan = plan{
		rounds: 25, trips: 10_000, bulkBytes: 1 << 29, glances: 11, watch: 10 * time.Second,
	}
	shortPlan = plan{
		rounds: 5, trips: 5_000, bulkBytes: 1 << 29, glances: 3, watch: 3 * time.Second,
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
	only := flags.String("only", "", "measure only the `traffic` of this name, or user space")
	short := flags.Bool("short", false, "a quick look: few rounds, less traffic")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *output != "table" && *output != "markdown" {
		return fmt.Errorf("no output format %q: table or markdown", *output)
	}
	binary := os.Getenv(envBinary)
	if binary == "" {
		return enter(ctx, args, stdout)
	}
	p := fullPlan
	if *short {
		p = shortPlan
	}
	tables, err := measureAll(ctx, p, binary, *only)
	if err != nil {
		return err
	}
	return printReport(stdout, tables, *output == "markdown")
}

// enter builds lotrace, which may need the network, and runs this program again where there is none.
func enter(ctx context.Context, args []string, stdout io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("measure: needs root")
	}
	dir, err := os.MkdirTemp("", "lotrace-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "lotrace")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
		"-o", binary, "github.com/lotrace/lotrace/cmd/lotrace")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build lotrace: %w", err)
	}

	inside := exec.CommandContext(ctx, "/proc/self/exe", args...)
	inside.Cancel = func() error { return inside.Process.Signal(os.Interrupt) }
	inside.Env = append(os.Environ(), envBinary+"="+binary)
	inside.Stdout, inside.Stderr = stdout, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := inside.Run(); err != nil {
		return fmt.Errorf("measure in a network namespace: %w", err)
	}
	return nil
}

func measureAll(ctx context.Context, p plan, binary, only string) ([]table, error) {
	if err := netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: loIndex}}); err != nil {
		return nil, fmt.Errorf("raise lo: %w", err)
	}
	var costs []cost
	for _, s := range scenarios(p) {
		if only != "" && only != s.name {
			continue
		}
		c, err := s.measure(ctx, p.rounds)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		costs = append(costs, c)
	}
	if only != "" && only != userSpace {
		return []table{costTable(costs), comparisonTable(costs)}, nil
	}
	results, err := measureUserSpace(ctx, p, binary)
	if err != nil {
		return nil, err
	}
	if only == userSpace {
		return []table{resultTable(results)}, nil
	}
	return []table{costTable(costs), comparisonTable(costs), resultTable(results)}, nil
}
