package live

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

// Parts are what a run is made of.
type Parts struct {
	Engine Engine
	Alive  func() error // asked several times a second and at the end; an error ends the run; nil: nothing does
}

// Loop moves parts through time: it calls sinks until the context or the time ends, or Alive fails, which is returned
// after they had the rest.
func Loop(ctx context.Context, timing Timing, parts Parts, sinks Sinks) error {
	if parts.Alive == nil {
		parts.Alive = func() error { return nil }
	}
	l := loop{Parts: parts, sinks: sinks}
	l.begin(timing, time.Now())
	return l.run(ctx)
}

// loop is a run under way.
type loop struct {
	Parts
	sinks Sinks

	end           time.Time // zero: there is none
	window, sweep beat
}

// beat is something that is due again and again.
type beat struct {
	every time.Duration // 0: never
	next  time.Time
}

func newBeat(every time.Duration, begin time.Time) beat { return beat{every, begin.Add(every)} }

// isDue reports whether a time has come that was not there when it was asked last. Of several, all but the newest are
// left out.
func (b *beat) isDue(now time.Time) bool {
	if b.every == 0 || now.Before(b.next) {
		return false
	}
	missed := now.Sub(b.next) / b.every
	b.next = b.next.Add((missed + 1) * b.every)
	return true
}

func (l *loop) run(ctx context.Context) error {
	for {
		l.wait(ctx)
		now := time.Now()
		if ctx.Err() != nil || l.isOver(now) {
			return l.last()
		}
		if l.window.isDue(now) {
			if err := l.showWindow(); err != nil {
				return err
			}
		}
		if l.sweep.isDue(now) {
			if err := l.Engine.Sweep(); err != nil {
				return err
			}
			if l.Alive() != nil {
				return l.last()
			}
		}
	}
}

func (l *loop) begin(t Timing, now time.Time) {
	if t.For > 0 {
		l.end = now.Add(t.For)
	}
	l.window = newBeat(t.Interval, now)
	l.sweep = newBeat(sweepEvery, now)
}

func (l *loop) isOver(now time.Time) bool { return !l.end.IsZero() && !now.Before(l.end) }

// next is when there is something to do again.
func (l *loop) next() time.Time {
	next := l.sweep.next
	if l.window.every > 0 && l.window.next.Before(next) {
		next = l.window.next
	}
	if !l.end.IsZero() && l.end.Before(next) {
		next = l.end
	}
	return next
}

func (l *loop) wait(ctx context.Context) {
	timer := time.NewTimer(time.Until(l.next()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// last asks after its window, which is not to be trusted beyond what was there until the end.
func (l *loop) last() error {
	err := l.showWindow()
	return errors.Join(err, l.Alive())
}

func (l *loop) showWindow() error {
	if l.sinks.Window == nil {
		return nil
	}
	window, err := l.Engine.Window()
	if err != nil {
		return err
	}
	return l.sinks.Window(window)
}
