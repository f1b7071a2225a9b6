// Package watch drives an engine through time: sweeps a few times a second, windows at the interval
// asked for, and a last one when time is up or the user has seen enough.
package watch

import (
	"context"
	"errors"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// sweepEvery is how often the slots of ended flows are freed. A table must hold the connections of
// one such period beside the living ones.
const sweepEvery = 250 * time.Millisecond

// Engine makes windows; stats.Engine is one.
type Engine interface {
	Sweep() error
	Window() (*model.Window, error)
}

// Config says for how long, and what ends it early.
type Config struct {
	Interval time.Duration // a window each; 0: one window for all of Duration
	Duration time.Duration // in all; negative: until the context ends
	Alive    func() error  // asked at every sweep and at the end; an error ends the watch; may be nil
}

// Run calls show for every window, the last of which may be cut short by ctx or by Alive. The end
// of ctx is no error; what Alive says is returned after the last window was shown.
func Run(ctx context.Context, engine Engine, c Config, show func(*model.Window) error) error {
	var end, tick <-chan time.Time
	if c.Duration >= 0 {
		timer := time.NewTimer(c.Duration)
		defer timer.Stop()
		end = timer.C
	}
	if c.Interval > 0 {
		ticker := time.NewTicker(c.Interval)
		defer ticker.Stop()
		tick = ticker.C
	}
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()

	for {
		select {
		case <-ctx.Done():
			return c.last(engine, show)
		case <-end:
			return c.last(engine, show)
		case <-tick:
			if err := window(engine, show); err != nil {
				return err
			}
		case <-sweep.C:
			if err := engine.Sweep(); err != nil {
				return err
			}
			if c.alive() != nil {
				return c.last(engine, show)
			}
		}
	}
}

func (c *Config) alive() error {
	if c.Alive == nil {
		return nil
	}
	return c.Alive()
}

// last asks after its window, which is not to be trusted beyond what was there until the end.
func (c *Config) last(engine Engine, show func(*model.Window) error) error {
	err := window(engine, show)
	return errors.Join(err, c.alive())
}

func window(engine Engine, show func(*model.Window) error) error {
	snapshot, err := engine.Window()
	if err != nil {
		return err
	}
	return show(snapshot)
}
