package export

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

// few are the measures that a terminal has room for, those that may be left out behind the others.
var few = []struct {
	name     string
	optional bool
}{
	{"flows", false},
	{"clients", false},
	{"to_server.packets", false},
	{"to_server.bytes", false},
	{"to_client.packets", false},
	{"to_client.bytes", false},
	{"errors", true},
	{"turn.p50_ns", true},
	{"turn.p99_ns", true},
	{"turn.count_per_s", true},
}

func (l *layout) fewMeasures(s *model.Window) []column[view.Row] {
	has := l.Measures()
	var columns []column[view.Row]
	for _, f := range few {
		m := view.MeasureNamed(f.name)
		if !slices.Contains(has, m) || m.Name == "errors" && s.Flows.Errors() == 0 { // it would only take the place of others
			continue
		}
		c := measureColumn(s, m)
		c.optional = f.optional
		columns = append(columns, c)
	}
	return columns
}

// wideMeasures are all with a head; where the time of turns went if that was measured.
func (l *layout) wideMeasures(s *model.Window) []column[view.Row] {
	parts := s.Flows.HasBreakdown()
	var columns []column[view.Row]
	for _, m := range l.Measures() {
		if m.Head != "" && (parts || !strings.HasPrefix(m.Leaves, "breakdown.")) {
			columns = append(columns, measureColumn(s, m))
		}
	}
	return columns
}

func measureColumn(s *model.Window, m *view.Measure) column[view.Row] {
	switch m.Head {
	case "QUEUES":
		return number(m.Head, queues)
	case "ACCEPTQ":
		return number(m.Head, func(r *view.Row) string { return acceptQueueText(r.AcceptQueue) })
	}
	return number(m.Head, func(r *view.Row) string {
		n, known := m.Of(r)
		if !known || n == 0 && m.Calm {
			return "-"
		}
		return draw(s, m.Unit, n)
	})
}

// draw prints a number for people.
func draw(s *model.Window, unit view.Unit, n uint64) string {
	switch unit {
	case view.Segments:
		return decimal(uint32(n))
	case view.Bytes:
		return human.Size(n)
	case view.Nanoseconds:
		return human.Latency(time.Duration(n))
	case view.RoughNanoseconds:
		return human.Span(time.Duration(n))
	case view.CountPerSecond:
		return human.Rate(n, s.Duration, human.Amount)
	case view.BytesPerSecond:
		return human.Rate(n, s.Duration, human.Size)
	case view.TurnsPerSecond:
		return human.Frequency(n, s.Duration)
	default:
		return human.Amount(n)
	}
}

// queues is what both ends have not read, and not yet seen acknowledged.
func queues(r *view.Row) string {
	h := r.Health
	if h == nil {
		return "-"
	}
	unread, unacknowledged := h.Client.ReceiveQueue+h.Server.ReceiveQueue, h.Client.SendQueue+h.Server.SendQueue
	if unread == 0 && unacknowledged == 0 {
		return "-"
	}
	return human.Size(unread) + "/" + human.Size(unacknowledged)
}

// acceptQueueText is how full a queue is, and how many did not fit.
func acceptQueueText(q *model.AcceptQueue) string {
	switch {
	case q == nil:
		return "-"
	case q.Overflows == 0:
		return fmt.Sprintf("%d/%d", q.Length, q.Limit)
	}
	return fmt.Sprintf("%d/%d +%s", q.Length, q.Limit, human.Amount(q.Overflows))
}
