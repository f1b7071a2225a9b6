package loader_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/trace"
)

// looker is an engine that remembers whether it said how far a flow is that has an answer.
type looker struct {
	*stats.Engine
	looked bool
}

func (l *looker) Progress(of *reading.Sample) (reading.Progress, bool) {
	p, known := l.Engine.Progress(of)
	l.looked = l.looked || p.Answered > 0
	return p, known
}

// A window says of a turn what it says without a trace beside it: of a single one the shortest and the longest
// are the sum, to the nanosecond.
func TestTraceBesideWindows(t *testing.T) {
	const think = 9 * time.Millisecond
	for _, traced := range []bool{false, true} {
		r := newRig(t, loader.Config{Sample: new(trace.Config).Sample()})
		client, server := tcpPair(t, r.ns)
		converse(t, client, server, func() error {
			_, err := ask(client, 1, 10)
			return err
		}, func() error {
			return answer(server, func() time.Duration { return think }, 10, 1)
		})
		var turns []*model.Turn
		if traced {
			turns = r.trace(t)
		}
		f := r.talkRow()
		turn := f.Turn
		if turn.Count != 1 || turn.Sum < think || turn.Min != turn.Sum || turn.Max != turn.Sum {
			t.Errorf("traced %v: %d turns from %v to %v, %v in all", traced, turn.Count, turn.Min, turn.Max, turn.Sum)
		}
		if full := f.Response; full.Count != 1 || full.Min != full.Sum || full.Max != full.Sum {
			t.Errorf("traced %v: %d responses from %v to %v, %v in all", traced, full.Count, full.Min, full.Max, full.Sum)
		}
		if traced && (len(turns) != 1 || turns[0].Took != turn.Sum) {
			t.Errorf("traced %+v, the window has %v", turns, turn.Sum)
		}
	}
}

// trace traces, without ending a window, until the engine was asked about an answer that had come.
func (r *rig) trace(t *testing.T) (turns []*model.Turn) {
	t.Helper()
	ctx, end := context.WithTimeout(context.Background(), 20*time.Second)
	defer end()
	engine := &looker{Engine: r.engine}
	parts := live.Parts{Engine: engine, Readings: engine, Samples: r.loader}
	parts.Turns = trace.NewTurns(trace.Config{}, func(e *model.Traced) error {
		turns = append(turns, e.Turn)
		return nil
	})
	err := live.Loop(ctx, live.Timing{}, parts, live.Sinks{Round: func(time.Time) error {
		if engine.looked {
			end()
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !engine.looked {
		t.Error("the engine was never asked how far the flow is")
	}
	return turns
}

// A client that takes its time reads an answer in a later window than it came in, and that window tells of it,
// though it has no packet.
func TestAnswersReadLater(t *testing.T) {
	r := newRig(t, loader.Config{Learn: withParts(true)})
	client, server := tcpPair(t, r.ns)
	defer client.Close()
	defer server.Close()
	for from, to := client, server; ; from, to = to, from {
		if _, err := from.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if from == server {
			break
		}
		if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if f := r.talkRow(); f.Turn.Count != 1 || f.Breakdown.Turns != 1 || f.Breakdown.Backs != 0 {
		t.Fatalf("%d turns, %+v", f.Turn.Count, f.Breakdown)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s, err := r.engine.Window(new(model.Flows))
	if err != nil {
		t.Fatal(err)
	}
	if s.Flows.Len() != 1 || s.Flows.At(0).Breakdown.Backs != 1 || s.Flows.At(0).Breakdown.Turns != 0 || s.Totals.Packets != 0 {
		t.Errorf("totals %+v: %+v", s.Totals, s.Flows.Slice())
	}
}

// Where the kernel does not let us walk over sockets any more, the windows go on, and say so.
func TestWindowsWithoutWalks(t *testing.T) {
	r := newRig(t, loader.Config{})
	client, server := tcpPair(t, r.ns)
	defer client.Close()
	defer server.Close()
	for _, broken := range []bool{false, true} {
		if broken {
			if err := loader.BreakWalksForTest(r.loader); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		s := r.window()
		f := s.Flows.At(0)
		if failed := s.QueuesFailed != nil; failed != broken || (f.Health == nil) != broken {
			t.Errorf("broken %v: failed %v, health %+v", broken, s.QueuesFailed, f.Health)
		}
		if !broken && f.Health.Server.ReceiveQueue != 1 {
			t.Errorf("%+v", f.Health)
		}
	}
}
