package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
)

const (
	liveFlows   = 10_000
	burstsASec  = 100
	readings    = 101  // of a full table
	maxRead     = 10.0 // milliseconds of CPU a reading
	maxSyscalls = 10.0 // a reading
	maxGlance   = 300.0
	maxWatchCPU = 2.0 // percent of one CPU, in user space
)

// result is one measurement with the target it is held to.
type result struct {
	what     string
	value    string // with its spread, where there is one
	target   string
	reached  bool
	measured bool
}

func (s spread) result(what, unit string, limit float64) result {
	return result{
		what:  what,
		value: fmt.Sprintf("%.1f (%.1f–%.1f) %s", s.median, s.low, s.high, unit), target: fmt.Sprintf("≤ %g %s", limit, unit),
		reached: s.median <= limit, measured: true,
	}
}

func measureUserSpace(ctx context.Context, p plan, binary string) ([]result, error) {
	fmt.Fprintln(os.Stderr, "bench: readings of a full table")
	results, err := measureReading(ctx)
	if err != nil {
		return nil, fmt.Errorf("read a full table: %w", err)
	}
	fmt.Fprintln(os.Stderr, "bench: flows -d 0")
	glance, err := measureGlance(ctx, binary, p.glances)
	if err != nil {
		return nil, fmt.Errorf("flows -d 0: %w", err)
	}
	fmt.Fprintln(os.Stderr, "bench: flows --watch 1s")
	watching, err := measureWatch(ctx, binary, p.watch)
	if err != nil {
		return nil, fmt.Errorf("flows --watch 1s: %w", err)
	}
	return append(results, glance, watching), nil
}

// measureReading fills a large table and reads it again and again.
func measureReading(ctx context.Context) (results []result, err error) {
	l, err := loader.Open(loader.Config{MaxFlows: fanoutMax})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	f, err := newFanout()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.send(0, fanoutMax); err != nil {
		return nil, err
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var r model.Reading
	read := func() error { return l.Read(&r) }
	// The first reading touches the pages and makes room; those that follow find both.
	if err := read(); err != nil {
		return nil, err
	}
	if len(r.Slots) != fanoutMax {
		return nil, fmt.Errorf("%d flows in the table, sent %d", len(r.Slots), fanoutMax)
	}
	what := fmt.Sprintf("reading a table of %d flows", fanoutMax)
	took, err := timeReadings(read)
	if err != nil {
		return nil, err
	}
	calls, err := countSyscalls(ctx, what+", system calls", readings, read)
	if err != nil {
		return nil, err
	}
	return []result{took.result(what+", CPU", "ms", maxRead), calls}, nil
}

// timeReadings is the CPU time of a reading in milliseconds, the garbage collector's included.
func timeReadings(read func() error) (spread, error) {
	var took []float64
	for range readings {
		before, err := cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID)
		if err != nil {
			return spread{}, err
		}
		if err := read(); err != nil {
			return spread{}, err
		}
		after, err := cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID)
		if err != nil {
			return spread{}, err
		}
		took = append(took, float64(after-before)/float64(time.Millisecond))
	}
	return spreadOf(took), nil
}

// countSyscalls has strace(1) count what the calling thread asks of the kernel while it calls f so many
// times. The thread must be locked.
func countSyscalls(ctx context.Context, what string, times int, f func() error) (result, error) {
	out := result{what: what, value: "n/a: strace is not installed", target: fmt.Sprintf("≤ %g", maxSyscalls)}
	strace, err := exec.LookPath("strace")
	if err != nil {
		return out, nil
	}
	dir, err := os.MkdirTemp("", "lotrace-bench-")
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "calls")
	cmd := exec.CommandContext(ctx, strace, "-o", path, "-p", strconv.Itoa(unix.Gettid()))
	if err := during(cmd, "attached", func() error {
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
	out.value, out.reached, out.measured = fmt.Sprintf("%.1f", each), each <= maxSyscalls, true
	return out, nil
}

// measureGlance takes the time from start to end of the shortest run there is.
func measureGlance(ctx context.Context, binary string, times int) (result, error) {
	var took []float64
	for range times {
		start := time.Now()
		if out, err := exec.CommandContext(ctx, binary, "flows", "-q", "-d", "0").CombinedOutput(); err != nil {
			return result{}, fmt.Errorf("%w: %s", err, out)
		}
		took = append(took, float64(time.Since(start))/float64(time.Millisecond))
	}
	return spreadOf(took).result("flows -d 0, from start to end", "ms", maxGlance), nil
}

// measureWatch takes the CPU time that a running lotrace needs for flows with a packet a second each.
func measureWatch(ctx context.Context, binary string, length time.Duration) (result, error) {
	f, err := newFanout()
	if err != nil {
		return result{}, err
	}
	var shown bytes.Buffer
	var used cpuUse
	cmd := exec.CommandContext(ctx, binary, "flows", "--watch", "1s")
	cmd.Stdout = &shown
	err = during(cmd, "counting", func() error {
		// What starting costs is not part of it, nor is the first sight of every flow, which makes room.
		if err := errors.Join(f.send(0, liveFlows), f.drip(ctx, 2*time.Second)); err != nil {
			return err
		}
		before, err := cpuUseOf(cmd.Process.Pid)
		if err != nil {
			return err
		}
		if err := f.drip(ctx, length); err != nil {
			return err
		}
		after, err := cpuUseOf(cmd.Process.Pid)
		used = after.since(before)
		return err
	})
	if err := errors.Join(err, f.Close()); err != nil {
		return result{}, err
	}
	if count := strconv.Itoa(liveFlows); !strings.Contains(strings.ReplaceAll(shown.String(), ",", ""), count+" flows") {
		return result{}, fmt.Errorf("it did not show %s flows", count)
	}
	percent := func(d time.Duration) float64 { return 100 * float64(d) / float64(length) }
	user := percent(used.user())
	return result{
		what:    fmt.Sprintf("flows --watch 1s, %d live flows, user CPU", liveFlows),
		value:   fmt.Sprintf("%.1f %% (with system: %.1f %%)", user, percent(used.total)),
		target:  fmt.Sprintf("≤ %g %%", maxWatchCPU),
		reached: user <= maxWatchCPU, measured: true,
	}, nil
}

// drip sends a datagram a second in each of liveFlows flows, in even bursts.
func (f *fanout) drip(ctx context.Context, length time.Duration) error {
	tick := time.NewTicker(time.Second / burstsASec)
	defer tick.Stop()
	const burst = liveFlows / burstsASec
	for i := range int(length.Seconds() * burstsASec) {
		from := i % burstsASec * burst
		if err := f.send(from, from+burst); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// during runs f while cmd runs: from the line on its stderr that holds ready, until it is interrupted.
func during(cmd *exec.Cmd, ready string, f func() error) error {
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(stderr)
	var said []string
	for lines.Scan() && !strings.Contains(lines.Text(), ready) {
		said = append(said, lines.Text())
	}
	if lines.Text() == "" { // it ended, or closed stderr, before it was ready
		err := errors.Join(cmd.Process.Kill(), cmd.Wait())
		return fmt.Errorf("start %s: %q: %w", cmd.Path, said, err)
	}
	err = errors.Join(f(), cmd.Process.Signal(os.Interrupt))
	_, drained := io.Copy(io.Discard, stderr)
	ended := cmd.Wait()
	// Interrupted, lotrace ends with 0; strace passes the signal on to itself.
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() == unix.SIGINT {
		ended = nil
	}
	return errors.Join(err, drained, ended)
}

// cpuUse is the CPU time of a process: exactly in all, and as the kernel splits it, which may be by
// looking at every tick.
type cpuUse struct{ total, ticks, userTicks time.Duration }

func (u cpuUse) since(o cpuUse) cpuUse {
	return cpuUse{u.total - o.total, u.ticks - o.ticks, u.userTicks - o.userTicks}
}

// user is the part that was spent outside the kernel.
func (u cpuUse) user() time.Duration {
	if u.ticks == 0 {
		return u.total
	}
	return time.Duration(float64(u.total) * float64(u.userTicks) / float64(u.ticks))
}

// cpuUseOf reads a process's clocks, named as MAKE_PROCESS_CPUCLOCK of the kernel's posix-timers.h does it:
// CPUCLOCK_SCHED, CPUCLOCK_PROF and CPUCLOCK_VIRT.
func cpuUseOf(pid int) (use cpuUse, err error) {
	clock := func(kind int) time.Duration {
		t, failed := cpuTime(int32(^pid<<3 | kind))
		err = errors.Join(err, failed)
		return t
	}
	use = cpuUse{total: clock(2), ticks: clock(0), userTicks: clock(1)}
	return use, err
}

func cpuTime(clock int32) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
