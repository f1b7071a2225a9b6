package live

import (
	"context"
	"errors"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/tap"
	"github.com/lotrace/lotrace/internal/trace"
)

const (
	// sweepEvery is how often the slots of ended flows are freed. A table must hold the connections of one such period
	// beside the living ones.
	sweepEvery = 250 * time.Millisecond

	// tellEvery is how often samples are read that did not come in numbers before, and what is known by then is told.
	tellEvery = 100 * time.Millisecond

	// forgetEvery is how often an engine lets go of flows that ended, where nobody wants its windows.
	forgetEvery = time.Second
)

// Engine knows flows and makes windows; stats.Engine does.
type Engine interface {
	Look() error
	Settle()
	Sweep() error
	Window(rows *model.Flows) (*model.Window, error)
}

// Samples is where samples come from; the loader is one.
type Samples interface {
	// ReadSamples waits for samples until the deadline at most, and calls into for those there are. An error of into
	// ends the reading and is returned.
	ReadSamples(deadline time.Time, into func(*reading.Sample) error) error

	// EndSamples has ReadSamples go no further than what was sampled by now.
	EndSamples() error
}

// Parts are what a run is made of.
type Parts struct {
	Engine   Engine
	Alive    func() error   // asked several times a second and at the end; an error ends the run; nil: nothing does
	Samples  Samples        // nil: there are none
	Tap      *tap.Tap       // nil: they become no packets
	Turns    *trace.Turns   // nil: they become no turns
	Readings trace.Readings // for Turns
}

// Loop moves parts through time: it calls sinks until the context or the time ends, or Alive fails, which is returned
// after they had the rest.
func Loop(ctx context.Context, timing Timing, parts Parts, sinks Sinks) error {
	if parts.Alive == nil {
		parts.Alive = func() error { return nil }
	}
	if sinks.Rows == nil {
		rows := new(model.Flows)
		sinks.Rows = func() *model.Flows { return rows }
	}
	l := loop{Parts: parts, sinks: sinks}
	l.begin(timing, time.Now())
	err := l.run(ctx)
	if errors.Is(err, model.ErrEnough) {
		return nil // also where the namespace went away meanwhile
	}
	return err
}

// loop is a run under way.
type loop struct {
	Parts
	sinks Sinks

	end                 time.Time // zero: there is none
	enough              bool      // a sink has; the others are to have the rest
	window, sweep, tell beat
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

func (l *loop) begin(t Timing, now time.Time) {
	if t.For > 0 {
		l.end = now.Add(t.For)
	}
	l.window, l.sweep = newBeat(t.Interval, now), newBeat(sweepEvery, now)
	if l.sinks.Window == nil {
		l.window = newBeat(forgetEvery, now)
	}
	if l.Samples != nil {
		l.tell = newBeat(tellEvery, now)
	}
}

func (l *loop) isOver(now time.Time) bool { return !l.end.IsZero() && !now.Before(l.end) }

// next is when there is something to do again.
func (l *loop) next() time.Time {
	next := l.sweep.next
	for _, b := range []*beat{&l.window, &l.tell} {
		if b.every > 0 && b.next.Before(next) {
			next = b.next
		}
	}
	if !l.end.IsZero() && l.end.Before(next) {
		next = l.end
	}
	return next
}

func (l *loop) run(ctx context.Context) error {
	for {
		more, err := l.wait(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if ctx.Err() != nil || l.isOver(now) {
			return l.last(now)
		}
		tell, window, sweep := l.tell.isDue(now), l.window.isDue(now), l.sweep.isDue(now)
		if err := l.step(now, due{more, tell, window, sweep}); err != nil {
			return err
		}
		if l.enough || (tell || sweep) && l.Alive() != nil {
			return l.last(now)
		}
	}
}

// due is what there is to do.
type due struct {
	more                bool // as many samples wait as may
	tell, window, sweep bool
}

// step does what is due. Samples that wait are not passed on before that, unless there are too many: a process that
// accepted has shown up then. The window ends before flows are freed: what is freed now was told of in the samples of
// the next reading at the latest, and has a name until the window after that ends.
func (l *loop) step(now time.Time, due due) error {
	if l.Samples != nil && (due.more || due.tell || due.window) {
		if err := l.pass(due.window); err != nil {
			return err
		}
		if due.tell || due.window {
			if err := l.showTurns(false); err != nil {
				return err
			}
		}
		if err := l.round(now); err != nil {
			return err
		}
	}
	if due.window {
		if err := l.showWindow(); err != nil {
			return err
		}
	}
	if due.sweep {
		return l.Engine.Sweep()
	}
	return nil
}

// wait returns when something is due, or when there are so many samples that they should not wait, and reports whether
// there may be more of them.
func (l *loop) wait(ctx context.Context) (more bool, err error) {
	if l.Samples != nil {
		return l.read(l.next())
	}
	timer := time.NewTimer(time.Until(l.next()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return false, nil
}

// read takes the samples there are by the deadline, or as many as may wait at once.
func (l *loop) read(deadline time.Time) (more bool, err error) {
	err = l.Samples.ReadSamples(deadline, l.take)
	if errors.Is(err, tap.ErrFull) {
		return true, nil
	}
	return false, err
}

func (l *loop) take(s *reading.Sample) error {
	if l.Turns != nil {
		l.Turns.Add(s)
	}
	if l.Tap != nil {
		return l.Tap.Add(s)
	}
	return nil
}

// pass reads flows, and hands on packets that waited long enough. Where it hands on all of them, it waits a moment for
// owners instead: the engine forgets as a window ends, so nothing may wait then.
func (l *loop) pass(all bool) error {
	if err := l.Engine.Look(); err != nil || l.Tap == nil {
		return err
	}
	hand := l.Tap.Pass
	if all {
		l.Engine.Settle()
		hand = l.Tap.Drain
	}
	return l.without(hand(), func() { l.Tap = nil })
}

// without is about an error of a sink. If that has enough, leave takes it out of the run, and the error is none while
// there are others.
func (l *loop) without(err error, leave func()) error {
	if !errors.Is(err, model.ErrEnough) {
		return err
	}
	leave()
	if l.Tap == nil && l.Turns == nil && l.sinks.Window == nil {
		return err
	}
	l.enough = true
	return nil
}

func (l *loop) showTurns(all bool) error {
	if l.Turns == nil {
		return nil
	}
	return l.without(l.Turns.Show(l.Readings, all), func() { l.Turns = nil })
}

func (l *loop) round(now time.Time) error {
	if l.sinks.Round == nil {
		return nil
	}
	return l.sinks.Round(now)
}

// last hands on what there is. It asks whether all was counted after its window, which is not to be trusted beyond
// what was there until the end.
func (l *loop) last(now time.Time) error {
	err := l.drain(now)
	if err == nil && l.sinks.Window != nil {
		err = l.showWindow()
	}
	return errors.Join(err, l.Alive())
}

// drain hands on what waits, and what was sampled before it was called.
func (l *loop) drain(now time.Time) error {
	if l.Samples == nil {
		return nil
	}
	if err := l.Samples.EndSamples(); err != nil {
		return err
	}
	if l.Tap != nil { // what was read last waits as long as any other
		if err := l.pass(false); err != nil {
			return err
		}
	}
	for more := true; more; {
		var err error
		if more, err = l.read(time.Time{}); err != nil {
			return err
		}
		if err := l.pass(true); err != nil {
			return err
		}
	}
	if err := l.showTurns(true); err != nil {
		return err
	}
	return l.round(now)
}

// showWindow ends a window, which is not wanted by everybody.
func (l *loop) showWindow() error {
	window, err := l.Engine.Window(l.sinks.Rows())
	if err != nil || l.sinks.Window == nil {
		return err
	}
	return l.without(l.sinks.Window(window), func() { l.sinks.Window = nil })
}
