package trace

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Readings says what the engine knows by its newest reading; stats.Engine is one.
type Readings interface {
	Now() (ns uint64, wall time.Time)
	Progress(of *reading.Sample) (p reading.Progress, known bool)
	FlowOf(s *reading.Sample) (f model.Flow, known bool)
}

// Turns makes turns and lives of connections with names. It is for one goroutine.
type Turns struct {
	policies reading.SamplePolicy
	tracker  *Tracker
	out      func(*model.Traced) error
	slow     []reading.SlowTurn // read since they were looked at last
}

// NewTurns returns one that has seen nothing. What out is given is valid during the call.
func NewTurns(c Config, out func(*model.Traced) error) *Turns {
	return &Turns{policies: c.Sample().Policies, tracker: NewTracker(c), out: out}
}

// Forgotten is how many requests under way had to make room for others.
func (t *Turns) Forgotten() uint64 { return t.tracker.Forgotten }

// Add follows what a sample says, if it was taken for that.
func (t *Turns) Add(s *reading.Sample) {
	if s.Why&t.policies != 0 {
		t.tracker.Add(s)
	}
}

// SlowTurn keeps a copy of a slow turn. It is to be called for each that the engine reads.
func (t *Turns) SlowTurn(turn *reading.SlowTurn) {
	kept := *turn
	if turn.Parts != nil {
		parts := *turn.Parts
		kept.Parts = &parts
	}
	t.slow = append(t.slow, kept)
}

// Show hands on what is known by the newest reading, and at the end of all what is under way. An error of out is
// returned.
func (t *Turns) Show(readings Readings, all bool) error {
	t.tracker.Explain(t.slow)
	t.slow = t.slow[:0]
	now, wall := readings.Now()
	t.tracker.Rest(now, all, readings.Progress)
	for _, e := range t.tracker.Take() {
		flow, _ := readings.FlowOf(&e.Of)
		if !describe(&flow, &e) {
			continue
		}
		at := wall.Add(-time.Duration(now - e.NS))
		if err := t.out(&model.Traced{Time: at, Flow: &flow, Turn: e.Turn, Conn: e.Conn}); err != nil {
			return err
		}
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
