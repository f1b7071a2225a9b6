package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// fakeEngine notes when it was asked for what.
type fakeEngine struct {
	begin   time.Time
	windows []time.Duration
	sweeps  int
	fail    error
}

func (e *fakeEngine) Sweep() error {
	e.sweeps++
	return e.fail
}

func (e *fakeEngine) Window() (*model.Window, error) {
	e.windows = append(e.windows, time.Since(e.begin))
	return &model.Window{}, nil
}

// watch runs with a clock of its own and returns what Run did.
func watch(t *testing.T, e *fakeEngine, c Config, stopAfter time.Duration, show func(*model.Window) error) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e.begin = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), stopAfter)
		defer cancel()
		err = Run(ctx, e, c, show)
	})
	return err
}

func shown(*model.Window) error { return nil }

func TestWindows(t *testing.T) {
	const never = time.Hour
	for _, test := range []struct {
		name      string
		config    Config
		stopAfter time.Duration
		want      []time.Duration
	}{
		{"once", Config{Duration: 10 * time.Second}, never, []time.Duration{10 * time.Second}},
		{"a glance", Config{Duration: 0}, never, []time.Duration{0}},
		{"ended early", Config{Duration: 10 * time.Second}, 3 * time.Second, []time.Duration{3 * time.Second}},
		{
			"every second until stopped", Config{Interval: time.Second, Duration: -1}, 2500 * time.Millisecond,
			[]time.Duration{time.Second, 2 * time.Second, 2500 * time.Millisecond},
		},
		{
			"every second for a while", Config{Interval: time.Second, Duration: 1500 * time.Millisecond}, never,
			[]time.Duration{time.Second, 1500 * time.Millisecond},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := &fakeEngine{}
			if err := watch(t, e, test.config, test.stopAfter, shown); err != nil {
				t.Fatal(err)
			}
			if len(e.windows) != len(test.want) {
				t.Fatalf("windows at %v, want %v", e.windows, test.want)
			}
			for i := range e.windows {
				if e.windows[i] != test.want[i] {
					t.Errorf("windows at %v, want %v", e.windows, test.want)
				}
			}
		})
	}
}

func TestSweepsMeanwhile(t *testing.T) {
	e := &fakeEngine{}
	if err := watch(t, e, Config{Duration: 10*time.Second + sweepEvery/2}, time.Hour, shown); err != nil {
		t.Fatal(err)
	}
	if want := int(10 * time.Second / sweepEvery); e.sweeps != want {
		t.Errorf("%d sweeps, want %d", e.sweeps, want)
	}
}

// That nothing was counted any more is said, also if time was up before anybody asked.
func TestGoneAtTheEnd(t *testing.T) {
	gone := errors.New("gone")
	for name, c := range map[string]Config{"time is up": {Duration: sweepEvery / 4}, "stopped": {Duration: -1}} {
		c.Alive = func() error { return gone }
		if err := watch(t, &fakeEngine{}, c, sweepEvery/2, shown); !errors.Is(err, gone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What was counted until the namespace went is shown before the error comes back.
func TestGone(t *testing.T) {
	gone := errors.New("gone")
	e := &fakeEngine{}
	err := watch(t, e, Config{Duration: -1, Alive: func() error { return gone }}, time.Hour, shown)
	if !errors.Is(err, gone) || len(e.windows) != 1 {
		t.Errorf("%d windows, then %v", len(e.windows), err)
	}
}

func TestErrorsEndIt(t *testing.T) {
	broken := errors.New("broken")
	if err := watch(t, &fakeEngine{fail: broken}, Config{Duration: -1}, time.Hour, shown); !errors.Is(err, broken) {
		t.Errorf("sweep: %v", err)
	}
	full := func(*model.Window) error { return broken }
	if err := watch(t, &fakeEngine{}, Config{Interval: time.Second, Duration: -1}, time.Hour, full); !errors.Is(err, broken) {
		t.Errorf("show: %v", err)
	}
}

func TestMeter(t *testing.T) {
	m := NewMeter()
	for busy := time.Now(); time.Since(busy) < 20*time.Millisecond; {
	}
	if self := m.Read(); self.CPUPercent <= 0 || self.RSSBytes == 0 {
		t.Errorf("a busy process costs %+v", self)
	}
}
