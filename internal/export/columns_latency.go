package export

import (
	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// latencyColumns are how fast requests were answered.
func latencyColumns[T any](s *model.Window, wide bool, of func(*T) (turn, response *model.Latency)) []column[T] {
	turn := func(row *T) *model.Latency { turn, _ := of(row); return turn }
	response := func(row *T) *model.Latency { _, response := of(row); return response }
	requests := latencyColumn("REQ/S", turn, func(l *model.Latency) string { return human.Frequency(l.Count, s.Duration) })
	if wide {
		return []column[T]{
			latencyColumn("TURNS", turn, func(l *model.Latency) string { return human.Amount(l.Count) }),
			requests,
			latencyColumn("P50", turn, quantile(0.50)),
			latencyColumn("P90", turn, quantile(0.90)),
			latencyColumn("P99", turn, quantile(0.99)),
			latencyColumn("MAX", turn, func(l *model.Latency) string { return human.Latency(l.Max) }),
			latencyColumn("RESP P50", response, quantile(0.50)),
			latencyColumn("RESP P99", response, quantile(0.99)),
		}
	}
	columns := []column[T]{
		latencyColumn("P50", turn, quantile(0.50)),
		latencyColumn("P99", turn, quantile(0.99)),
		requests,
	}
	for i := range columns {
		columns[i].optional = true
	}
	return columns
}

// latencyColumn has "-" in the rows that answered nothing.
func latencyColumn[T any](head string, of func(*T) *model.Latency, cell func(*model.Latency) string) column[T] {
	return number(head, func(row *T) string {
		l := of(row)
		if l.Count == 0 {
			return "-"
		}
		return cell(l)
	})
}

func quantile(q float64) func(*model.Latency) string {
	return func(l *model.Latency) string { return human.Latency(l.Quantile(q)) }
}
