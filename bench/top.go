package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/lotrace/lotrace/internal/services"
)

const (
	crowdFlows  = 100_000
	calmFlows   = 1_000
	maxFrame    = 25.0  // milliseconds of CPU for a frame of the crowd, beyond counting it
	maxTopRSS   = 150.0 // MB with the crowd
	maxCalm     = 1.5   // percent of a CPU for the calm, everything included
	maxKey      = 50.0  // milliseconds from a key to the screen
	keysPressed = 21
)

func measureTop(ctx context.Context, p plan, binary string) ([]result, error) {
	fmt.Fprintln(os.Stderr, "bench: top")
	calm, err := measureCalm(ctx, p, binary)
	if err != nil {
		return nil, fmt.Errorf("top with %d flows: %w", calmFlows, err)
	}
	crowd, err := measureCrowd(ctx, p, binary)
	if err != nil {
		return nil, fmt.Errorf("top with %d flows: %w", crowdFlows, err)
	}
	return append([]result{calm}, crowd...), nil
}

// measureCalm takes all of the CPU time that top needs for flows with a packet a second each.
func measureCalm(ctx context.Context, p plan, binary string) (result, error) {
	var used cpuUse
	err := onTop(ctx, binary, func(t *top, f *fanout) error {
		if err := f.repeat(ctx, calmFlows, 3*time.Second); err != nil {
			return err
		}
		before, err := cpuUseOf(t.pid())
		if err != nil {
			return err
		}
		if err := f.repeat(ctx, calmFlows, p.watch); err != nil {
			return err
		}
		after, err := cpuUseOf(t.pid())
		used = after.since(before)
		return errors.Join(err, t.awaits(ctx, "1,000 flows"))
	})
	percent := 100 * float64(used.total) / float64(p.watch)
	return result{
		what:    fmt.Sprintf("top, %d live flows, CPU, everything included", calmFlows),
		value:   fmt.Sprintf("%.2f %%", percent),
		target:  fmt.Sprintf("≤ %g %%", maxCalm),
		reached: percent <= maxCalm, measured: true,
	}, err
}

// measureCrowd is the worst there is: each flow is a client and a service of its own. It takes what top needs
// for a frame of many flows, beyond what flows needs to count them and print a row, and how long a key takes to
// the screen meanwhile.
func measureCrowd(ctx context.Context, p plan, binary string) ([]result, error) {
	var used cpuUse
	var rss uint64
	var took []float64
	err := onTop(ctx, binary, func(t *top, f *fanout) error {
		if err := f.repeat(ctx, crowdFlows, 4*time.Second); err != nil {
			return err
		}
		before, err := cpuUseOf(t.pid())
		if err != nil {
			return err
		}
		if err := f.repeat(ctx, crowdFlows, p.watch); err != nil {
			return err
		}
		after, err := cpuUseOf(t.pid())
		if err != nil {
			return err
		}
		used = after.since(before)
		if rss, _, err = memoryOf(t.pid()); err != nil {
			return err
		}
		if err := t.awaits(ctx, "100,000 flows"); err != nil {
			return err
		}
		took, err = t.pressKeys(ctx)
		return err
	}, "--max-flows", "131072")
	if err != nil {
		return nil, err
	}
	counting, err := measureCounting(ctx, p, binary)
	if err != nil {
		return nil, err
	}
	seconds := p.watch.Seconds()
	whole, count := milliseconds(used.total)/seconds, milliseconds(counting.total)/seconds
	keys := spreadOf(took)
	return []result{{
		what:    fmt.Sprintf("top, %d flows, CPU a frame beyond counting", crowdFlows),
		value:   fmt.Sprintf("%.1f ms (with counting: %.1f ms)", whole-count, whole),
		target:  fmt.Sprintf("≤ %g ms", maxFrame),
		reached: whole-count <= maxFrame, measured: true,
	}, {
		what:    fmt.Sprintf("top, %d flows, memory (RSS)", crowdFlows),
		value:   fmt.Sprintf("%.0f MB", float64(rss)/1e6),
		target:  fmt.Sprintf("≤ %g MB", maxTopRSS),
		reached: float64(rss) <= maxTopRSS*1e6, measured: true,
	}, keys.result(fmt.Sprintf("top, %d flows, from a key to the screen", crowdFlows), "ms", maxKey)}, nil
}

// measureCounting is the CPU time of flows for the same crowd, which draws nothing.
func measureCounting(ctx context.Context, p plan, binary string) (used cpuUse, err error) {
	f, err := newFanout()
	if err != nil {
		return used, err
	}
	cmd := exec.CommandContext(ctx, binary, "flows", "--watch", "1s", "-n", "1", "--max-flows", "131072")
	err = during(cmd, lotraceReady, func(*services.Proc) error {
		if err := f.repeat(ctx, crowdFlows, 4*time.Second); err != nil {
			return err
		}
		before, err := cpuUseOf(cmd.Process.Pid)
		if err != nil {
			return err
		}
		if err := f.repeat(ctx, crowdFlows, p.watch); err != nil {
			return err
		}
		after, err := cpuUseOf(cmd.Process.Pid)
		used = after.since(before)
		return err
	})
	return used, errors.Join(err, f.Close())
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// repeat sends a datagram in each of so many flows, once a second.
func (f *fanout) repeat(ctx context.Context, flows int, length time.Duration) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range int(length.Seconds()) {
		if err := f.send(0, flows); err != nil {
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

// top is a running one, on a terminal of our own.
type top struct {
	cmd    *exec.Cmd
	typist *os.File

	mu   sync.Mutex
	seen bytes.Buffer
	more chan struct{}
}

// onTop runs f while top runs.
func onTop(ctx context.Context, binary string, f func(*top, *fanout) error, args ...string) (err error) {
	typist, program, err := services.OpenTerminal(200, 60)
	if err != nil {
		return fmt.Errorf("open a terminal: %w", err)
	}
	defer func() { err = errors.Join(err, typist.Close(), program.Close()) }()
	crowd, err := newFanout()
	if err != nil {
		return err
	}
	t := &top{cmd: exec.CommandContext(ctx, binary, append([]string{"top"}, args...)...), typist: typist, more: make(chan struct{}, 1)}
	t.cmd.Stdin, t.cmd.Stdout = program, program
	go t.see()
	return errors.Join(during(t.cmd, lotraceReady, func(*services.Proc) error { return f(t, crowd) }), crowd.Close())
}

func (t *top) pid() int { return t.cmd.Process.Pid }

func (t *top) see() {
	for b := make([]byte, 1<<16); ; {
		n, err := t.typist.Read(b)
		if err != nil {
			return
		}
		t.mu.Lock()
		t.seen.Write(b[:n])
		t.mu.Unlock()
		select {
		case t.more <- struct{}{}:
		default:
		}
	}
}

// awaits waits until the terminal has been shown a text, and forgets what it was shown.
func (t *top) awaits(ctx context.Context, text string) error {
	timeout := time.After(patience * time.Second)
	for {
		t.mu.Lock()
		found := strings.Contains(t.seen.String(), text)
		if found {
			t.seen.Reset()
		}
		t.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-t.more:
		case <-timeout:
			return fmt.Errorf("it did not show %q", text)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pressKeys takes the milliseconds from keys that change the whole screen until it is changed.
func (t *top) pressKeys(ctx context.Context) (took []float64, err error) {
	for range keysPressed {
		for _, press := range []struct{ key, shows string }{{"?", "this help"}, {"q", "REQ/S"}} {
			start := time.Now()
			if _, err := t.typist.WriteString(press.key); err != nil {
				return nil, err
			}
			if err := t.awaits(ctx, press.shows); err != nil {
				return nil, err
			}
			took = append(took, milliseconds(time.Since(start)))
		}
	}
	return took, nil
}
