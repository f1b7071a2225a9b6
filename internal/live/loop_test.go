package live

import (
	"context"
	"errors"
	"slices"
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
	gone    error
}

func (e *fakeEngine) alive() error { return e.gone }

func (e *fakeEngine) Look() error { return nil }
func (e *fakeEngine) Settle()     {}

func (e *fakeEngine) Sweep() error {
	e.sweeps++
	return e.fail
}

func (e *fakeEngine) Window(*model.Flows) (*model.Window, error) {
	e.windows = append(e.windows, time.Since(e.begin))
	return &model.Window{}, nil
}

// watch runs a loop with a clock of its own and returns what it did.
func watch(t *testing.T, e *fakeEngine, timing Timing, stopAfter time.Duration, show func(*model.Window) error) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e.begin = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), stopAfter)
		defer cancel()
		err = Loop(ctx, timing, Parts{Engine: e, Alive: e.alive}, Sinks{Window: show})
	})
	return err
}

func ignore(*model.Window) error { return nil }

func TestWindows(t *testing.T) {
	const never = time.Hour
	for _, test := range []struct {
		name      string
		config    Timing
		stopAfter time.Duration
		want      []time.Duration
	}{
		{"once", Timing{For: 10 * time.Second}, never, []time.Duration{10 * time.Second}},
		{"a glance", Timing{For: Glance}, never, []time.Duration{Glance}},
		{"ended early", Timing{For: 10 * time.Second}, 3 * time.Second, []time.Duration{3 * time.Second}},
		{
			"every second until stopped", Timing{Interval: time.Second}, 2500 * time.Millisecond,
			[]time.Duration{time.Second, 2 * time.Second, 2500 * time.Millisecond},
		},
		{
			"every second for a while", Timing{Interval: time.Second, For: 1500 * time.Millisecond}, never,
			[]time.Duration{time.Second, 1500 * time.Millisecond},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := &fakeEngine{}
			if err := watch(t, e, test.config, test.stopAfter, ignore); err != nil {
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
	if err := watch(t, e, Timing{For: 10*time.Second + sweepEvery/2}, time.Hour, ignore); err != nil {
		t.Fatal(err)
	}
	if want := int(10 * time.Second / sweepEvery); e.sweeps != want {
		t.Errorf("%d sweeps, want %d", e.sweeps, want)
	}
}

// That nothing was counted any more is said, also if time was up before anybody asked.
func TestGoneAtTheEnd(t *testing.T) {
	gone := errors.New("gone")
	for name, c := range map[string]Timing{"time is up": {For: sweepEvery / 4}, "stopped": {}} {
		if err := watch(t, &fakeEngine{gone: gone}, c, sweepEvery/2, ignore); !errors.Is(err, gone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Traffic that was counted until the namespace went is shown before the error comes back.
func TestGone(t *testing.T) {
	gone := errors.New("gone")
	e := &fakeEngine{gone: gone}
	err := watch(t, e, Timing{}, time.Hour, ignore)
	if !errors.Is(err, gone) || len(e.windows) != 1 {
		t.Errorf("%d windows, then %v", len(e.windows), err)
	}
}

func TestErrorsEndIt(t *testing.T) {
	broken := errors.New("broken")
	if err := watch(t, &fakeEngine{fail: broken}, Timing{}, time.Hour, ignore); !errors.Is(err, broken) {
		t.Errorf("sweep: %v", err)
	}
	full := func(*model.Window) error { return broken }
	if err := watch(t, &fakeEngine{}, Timing{Interval: time.Second}, time.Hour, full); !errors.Is(err, broken) {
		t.Errorf("show: %v", err)
	}
}

func TestMeter(t *testing.T) {
	m := newMeter()
	for busy := time.Now(); time.Since(busy) < 20*time.Millisecond; {
	}
	if self := m.read(); self.CPUPercent <= 0 || self.RSSBytes == 0 {
		t.Errorf("a busy process costs %+v", self)
	}
}

// One that is slow misses windows, and then keeps to the times it would have had.
func TestSlowSink(t *testing.T) {
	e := &fakeEngine{}
	slow := func(*model.Window) error {
		if len(e.windows) == 1 {
			time.Sleep(2500 * time.Millisecond)
		}
		return nil
	}
	if err := watch(t, e, Timing{Interval: time.Second, For: 4500 * time.Millisecond}, time.Hour, slow); err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{time.Second, 3500 * time.Millisecond, 4 * time.Second, 4500 * time.Millisecond}
	if !slices.Equal(e.windows, want) {
		t.Errorf("windows at %v, want %v", e.windows, want)
	}
}

// Sockets that cannot be walked over are a warning, once until they can.
func TestUnknownQueuesAreSaid(t *testing.T) {
	var said []string
	s := Session{config: Config{Warn: func(text string) { said = append(said, text) }}}
	for _, err := range []error{nil, errors.New("one"), errors.New("two"), nil, errors.New("three")} {
		s.sayQueues(&model.Window{QueuesFailed: err})
	}
	want := []string{
		"warning: one: what waits in sockets is unknown until this succeeds",
		"warning: three: what waits in sockets is unknown until this succeeds",
	}
	if !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
}
