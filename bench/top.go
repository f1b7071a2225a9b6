package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/services"
	"github.com/lotrace/lotrace/internal/tui"
)

const (
	crowdFlows  = 100_000
	calmFlows   = 1_000
	crowdTable  = 131_072
	maxFrame    = 25.0  // milliseconds of CPU for a frame of the crowd
	maxTopRSS   = 150.0 // MB with the crowd
	maxCalm     = 1.5   // percent of a CPU for the calm, everything included
	maxKey      = 50.0  // milliseconds from a key to the screen
	keysPressed = 21
	frames      = 21
)

func measureTop(ctx context.Context, p plan, binary string) ([]figure, error) {
	fmt.Fprintln(os.Stderr, "bench: top")
	calm, err := measureCalm(ctx, p, binary)
	if err != nil {
		return nil, fmt.Errorf("top with %d flows: %w", calmFlows, err)
	}
	crowd, err := measureCrowd(ctx, p, binary)
	if err != nil {
		return nil, fmt.Errorf("top with %d flows: %w", crowdFlows, err)
	}
	frame, err := measureFrames(ctx)
	if err != nil {
		return nil, fmt.Errorf("frames of %d flows: %w", crowdFlows, err)
	}
	return append([]figure{calm, frame}, crowd...), nil
}

// measureCalm takes all of the CPU time that top needs for flows with a packet a second each.
func measureCalm(ctx context.Context, p plan, binary string) (figure, error) {
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
	return exactly(percent).figure(fmt.Sprintf("top, %d live flows, CPU, everything included", calmFlows), "%", maxCalm), err
}

// measureFrames takes what top's view needs to take a window of the crowd and bring it to a terminal, without
// counting: the CPU time of this process meanwhile, the garbage collector's included.
func measureFrames(ctx context.Context) (frame figure, err error) {
	s, err := live.Open(live.Config{
		Timing: live.Timing{Interval: 100 * time.Millisecond},
		Kernel: loader.Config{MaxFlows: crowdTable, Learn: loader.LearnCounts},
		Rights: live.Rights{KeepAll: true},
	})
	if err != nil {
		return frame, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	f, err := newFanout()
	if err != nil {
		return frame, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	view, err := tui.New(tui.Options{Color: true})
	if err != nil {
		return frame, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // as top does with so many
	drawn := make(drawings, 1)
	program := tea.NewProgram(view, tea.WithContext(ctx), tea.WithInput(nil), tea.WithOutput(drawn), tea.WithoutSignalHandler(),
		tea.WithEnvironment([]string{"TERM=xterm-256color"}), tea.WithColorProfile(colorprofile.ANSI), tea.WithWindowSize(200, 60))
	ended := make(chan error, 1)
	go func() {
		_, err := program.Run()
		ended <- err
	}()
	defer func() { program.Quit(); err = errors.Join(err, <-ended) }()
	<-drawn // the screen before the first frame

	var took []float64
	windows := live.NewHandoff(crowdTable)
	sinks := windows.Sinks()
	handOver, sent := sinks.Window, false
	sinks.Window = func(w *model.Window) error {
		if !sent { // what there was before
			sent = true
			return f.send(0, crowdFlows)
		}
		if n := w.Flows.Len(); n != crowdFlows {
			return fmt.Errorf("%d flows in a window, sent %d", n, crowdFlows)
		}
		if err := handOver(w); err != nil {
			return err
		}
		used, err := spent(func() error { return draw(program, windows, drawn) })
		if err != nil {
			return err
		}
		if took = append(took, used); len(took) == frames {
			return model.ErrEnough
		}
		return f.send(0, crowdFlows) // all of them are in the window that has begun
	}
	if err := errors.Join(s.Run(ctx, sinks), ctx.Err()); err != nil {
		return frame, err
	}
	return spreadOf(took).figure(fmt.Sprintf("top, %d flows, CPU a frame, without counting", crowdFlows), "ms", maxFrame), nil
}

// draw has the window that waits shown, and waits until it is.
func draw(program *tea.Program, windows *live.Handoff, drawn drawings) error {
	window, folded := windows.Take()
	program.Send(tui.Frame{Window: window, Folded: folded})
	select {
	case <-drawn:
		return nil
	case <-time.After(patience * time.Second):
		return errors.New("a frame changed nothing on the screen")
	}
}

// drawings tells of every time that something was drawn.
type drawings chan struct{}

func (d drawings) Write(b []byte) (int, error) {
	select {
	case d <- struct{}{}:
	default:
	}
	return len(b), nil
}

// measureCrowd is the worst there is: each flow is a client and a service of its own. It takes how much memory
// top needs for many flows, and how long a key takes to the screen meanwhile.
func measureCrowd(ctx context.Context, p plan, binary string) ([]figure, error) {
	var rss uint64
	var took []float64
	err := onTop(ctx, binary, func(t *top, f *fanout) (err error) {
		if err := f.repeat(ctx, crowdFlows, 4*time.Second+p.watch); err != nil {
			return err
		}
		if rss, _, err = memoryOf(t.pid()); err != nil {
			return err
		}
		if err := t.awaits(ctx, "100,000 flows"); err != nil {
			return err
		}
		took, err = t.pressKeys(ctx)
		return err
	}, "--max-flows", strconv.Itoa(crowdTable))
	return []figure{
		exactly(float64(rss)/1e6).figure(fmt.Sprintf("top, %d flows, memory (RSS)", crowdFlows), "MB", maxTopRSS),
		spreadOf(took).figure(fmt.Sprintf("top, %d flows, from a key to the screen", crowdFlows), "ms", maxKey),
	}, err
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
