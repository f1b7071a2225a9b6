package trace

import (
	"context"
	"errors"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// How often what happened is told, and after how many of those times flows that are over are freed and the
// engine begins a new window, which nobody looks at.
const (
	tellEvery   = 100 * time.Millisecond
	sweepEvery  = 2
	windowEvery = 10
)

// Sampler gives samples; the loader is one.
type Sampler interface {
	ReadSamples(deadline time.Time, into func(*model.Sample) error) error
}

// Engine names flows and frees those that are over; stats.Engine is one.
type Engine interface {
	Look() error
	Sweep() error
	Window() (*model.Window, error)
	FlowOf(s *model.Sample) (f model.Flow, known bool)
}

// Readings says what the engine knows by its newest reading; stats.Engine is one.
type Readings interface {
	Now() (ns uint64, wall time.Time)
	Progress(of *model.Sample) (p model.Progress, known bool)
}

// Job is what is followed, and for how long.
type Job struct {
	Sampler  Sampler
	Engine   Engine
	Readings Readings
	Tracker  *Tracker
	Duration time.Duration // negative: until the context ends
	Alive    func() error  // asked several times a second; an error ends the job; may be nil

	slow []model.SlowTurn // told since they were looked at last
}

// SlowTurn keeps a copy of a slow turn. It is to be called for each that the engine reads.
func (j *Job) SlowTurn(turn *model.SlowTurn) {
	kept := *turn
	if turn.Parts != nil {
		parts := *turn.Parts
		kept.Parts = &parts
	}
	j.slow = append(j.slow, kept)
}

// Run calls tell for what happens until the context ends, which is no error, and ticked whenever all was told
// that is known by then. What tell is given is valid during the call. An error of either ends the job, and so
// does one of Alive, after the last was told.
func (j *Job) Run(ctx context.Context, tell func(*model.Traced) error, ticked func(time.Time) error) error {
	now := time.Now()
	next, end := now.Add(tellEvery), now.Add(j.Duration)
	for ticks := 1; ; {
		if err := j.read(next); err != nil {
			return err
		}
		now := time.Now()
		over := ctx.Err() != nil || j.Duration >= 0 && !now.Before(end)
		if now.Before(next) && !over {
			continue
		}
		var gone error
		if j.Alive != nil {
			gone = j.Alive()
		}
		over = over || gone != nil
		if err := errors.Join(j.look(over, tell), ticked(now)); err != nil || over {
			return errors.Join(err, gone)
		}
		if err := j.free(ticks); err != nil {
			return err
		}
		ticks++
		next = earlier(now.Add(tellEvery), end, j.Duration >= 0)
	}
}

func earlier(a, b time.Time, bounded bool) time.Time {
	if bounded && b.Before(a) {
		return b
	}
	return a
}

func (j *Job) read(deadline time.Time) error {
	return j.Sampler.ReadSamples(deadline, func(s *model.Sample) error {
		j.Tracker.Add(s)
		return nil
	})
}

// look tells what is known by now, and at the end of all what is under way.
func (j *Job) look(all bool, tell func(*model.Traced) error) error {
	if all {
		if err := j.read(time.Time{}); err != nil {
			return err
		}
	}
	if err := j.Engine.Look(); err != nil {
		return err
	}
	j.Tracker.Explain(j.slow)
	j.slow = j.slow[:0]
	now, wall := j.Readings.Now()
	j.Tracker.Rest(now, all, j.Readings.Progress)
	for _, e := range j.Tracker.Take() {
		flow, _ := j.Engine.FlowOf(&e.Of)
		if !describe(&flow, &e) {
			continue
		}
		at := wall.Add(-time.Duration(now - e.NS))
		if err := tell(&model.Traced{Time: at, Flow: &flow, Turn: e.Turn, Conn: e.Conn}); err != nil {
			return err
		}
	}
	return nil
}

// free has the engine let go of what is over. The window ends first: what is freed now was told of in the
// samples of the next reading at the latest, and has a name until then.
func (j *Job) free(ticks int) error {
	if ticks%windowEvery == 0 {
		if _, err := j.Engine.Window(); err != nil {
			return err
		}
	}
	if ticks%sweepEvery == 0 {
		return j.Engine.Sweep()
	}
	return nil
}

// describe makes a flow one of this event alone. Its client stays the one that windows show, whoever the kernel took
// for it as it sampled: that may have been only the sender of the first packet that was seen. A turn of which that was
// so is none, as what its client asked was the server's answer: then describe returns false.
func describe(f *model.Flow, e *Event) bool {
	isClient := func(end uint8) bool { return f.Client.AddrPort() == e.Of.Key.Endpoint(int(end&1)) }
	if e.Turn != nil && !isClient(e.Of.Client) {
		return false
	}
	f.Turn, f.Response, f.Health = model.Latency{}, model.Latency{}, nil
	if turn := e.Turn; turn != nil {
		f.ToServer.PayloadBytes, f.ToClient.PayloadBytes = turn.RequestBytes, turn.AnswerBytes
		f.Turn = single(turn.Took)
		if turn.Response > 0 {
			f.Response = single(turn.Response)
		}
	}
	if conn := e.Conn; conn != nil {
		conn.ByServer = !isClient(e.By)
		f.Health = &model.Health{}
		switch {
		case conn.Change == model.ConnRefused:
			f.Health.Refused = 1
		case conn.Change == model.ConnReset && conn.ByServer:
			f.Health.Server.Resets = 1
		case conn.Change == model.ConnReset:
			f.Health.Client.Resets = 1
		}
	}
	return true
}

func single(d time.Duration) model.Latency { return model.Latency{Count: 1, Sum: d, Min: d, Max: d} }
