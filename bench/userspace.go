package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/services"
)

const (
	readings    = 101  // of a full table
	maxRead     = 10.0 // milliseconds of CPU a reading
	maxSyscalls = 10.0 // a reading
	maxGlance   = 150.0
	fullTable   = 1 << 16
)

// figure of user space, with the most that it should be.
func (s spread) figure(what, unit string, most float64) figure {
	return figure{of: userSpace, what: what, measured: s, precision: 1, unit: unit, most: most}
}

const userSpace = "user space"

// measureUserSpace is what lotrace takes for itself.
func measureUserSpace(ctx context.Context, p plan, binary string, only *selection) (r report, err error) {
	if only.has(userSpace, "reading") {
		fmt.Fprintln(os.Stderr, "bench: readings of a full table")
		readings, err := measureReading(ctx)
		if err != nil {
			return r, fmt.Errorf("read a full table: %w", err)
		}
		r.figures = append(r.figures, readings...)
	}
	if only.has(userSpace, "glance") {
		fmt.Fprintln(os.Stderr, "bench: flows -d 0")
		glance, err := measureGlance(ctx, binary, p.glances)
		if err != nil {
			return r, fmt.Errorf("flows -d 0: %w", err)
		}
		r.figures = append(r.figures, glance)
	}
	if only.has(userSpace, "top") {
		screen, err := measureTop(ctx, p, binary)
		if err != nil {
			return r, err
		}
		r.figures = append(r.figures, screen...)
	}
	// Last: it leaves many thousand connections in TIME_WAIT behind.
	if only.has(userSpace, "watching") {
		watched, err := measureWatching(ctx, p, binary)
		if err != nil {
			return r, fmt.Errorf("flows --watch 1s: %w", err)
		}
		r.add(watchingReport(watched))
	}
	return r, nil
}

// measureReading fills a large table and reads it again and again.
func measureReading(ctx context.Context) (figures []figure, err error) {
	l, err := loader.Open(loader.Config{MaxFlows: fullTable})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	f, err := newFanout()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.send(0, fullTable); err != nil {
		return nil, err
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var r reading.Reading
	read := func() error { return l.Read(&r) }
	// The first reading touches the pages and makes room; those that follow find both.
	if err := read(); err != nil {
		return nil, err
	}
	if len(r.Slots) != fullTable {
		return nil, fmt.Errorf("%d flows in the table, sent %d", len(r.Slots), fullTable)
	}
	what := fmt.Sprintf("reading a table of %d flows", fullTable)
	took, err := timeReadings(read)
	if err != nil {
		return nil, err
	}
	calls, err := countSyscalls(ctx, what+", system calls", readings, read)
	if err != nil {
		return nil, err
	}
	return []figure{took.figure(what+", CPU", "ms", maxRead), calls}, nil
}

// timeReadings is the CPU time of a reading in milliseconds.
func timeReadings(read func() error) (spread, error) {
	var took []float64
	for range readings {
		used, err := spent(read)
		if err != nil {
			return spread{}, err
		}
		took = append(took, used)
	}
	return spreadOf(took), nil
}

// spent is the CPU time of this process while f runs in milliseconds, the garbage collector's included.
func spent(f func() error) (float64, error) {
	before, err := cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID)
	return milliseconds(after - before), err
}

var straceReady = regexp.MustCompile(`attached`)

// countSyscalls has strace(1) count what the calling thread asks of the kernel while it calls f so many
// times. The thread must be locked.
func countSyscalls(ctx context.Context, what string, times int, f func() error) (figure, error) {
	out := spread{}.figure(what, "", maxSyscalls)
	strace, err := exec.LookPath("strace")
	if err != nil {
		out.missing = "strace is not installed"
		return out, nil
	}
	dir, err := os.MkdirTemp("", "lotrace-bench-")
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "calls")
	cmd := exec.CommandContext(ctx, strace, "-o", path, "-p", strconv.Itoa(unix.Gettid()))
	if err := during(cmd, straceReady, func(*services.Proc) error {
		for range times {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return out, err
	}
	log, err := os.ReadFile(path)
	if err != nil {
		return out, err
	}
	var calls int
	for line := range strings.Lines(string(log)) {
		// Others are signals (---) and the end (+++).
		if line[0] >= 'a' && line[0] <= 'z' {
			calls++
		}
	}
	each := float64(calls) / float64(times)
	if calls < times {
		return out, fmt.Errorf("strace saw %d system calls of %d readings", calls, times)
	}
	out.measured = exactly(each)
	return out, nil
}

// measureGlance takes the time from start to end of the shortest run there is.
func measureGlance(ctx context.Context, binary string, times int) (figure, error) {
	var took []float64
	for range times {
		start := time.Now()
		if out, err := exec.CommandContext(ctx, binary, "flows", "-q", "-d", "0").CombinedOutput(); err != nil {
			return figure{}, fmt.Errorf("%w: %s", err, out)
		}
		took = append(took, float64(time.Since(start))/float64(time.Millisecond))
	}
	return spreadOf(took).figure("flows -d 0, from start to end", "ms", maxGlance), nil
}

// during runs f while cmd runs: from when it has printed that it is ready, until it is interrupted.
func during(cmd *exec.Cmd, ready *regexp.Regexp, f func(*services.Proc) error) error {
	p, err := services.Start(cmd)
	if err != nil {
		return err
	}
	defer p.Kill()
	if _, err := p.Await(ready, 1); err != nil {
		return err
	}
	if err := errors.Join(f(p), p.Stop(unix.SIGINT)); err != nil {
		return err
	}
	// Interrupted, lotrace ends with 0; strace passes the signal on to itself.
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	if !p.ProcessState.Success() && !(ok && status.Signal() == unix.SIGINT) {
		return fmt.Errorf("%v: %v: %s", p.Args, p.ProcessState, p.Output())
	}
	return nil
}
