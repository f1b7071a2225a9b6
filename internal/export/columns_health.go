package export

import (
	"fmt"
	"time"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// signColumns are how fast requests were answered, and what went wrong.
func signColumns[T any](s *model.Window, wide bool, latency func(*T) (turn, response *model.Latency), signs func(*T) *model.Tally) []column[T] {
	if wide {
		return append(latencyColumns(s, wide, latency), healthColumns(s, signs)...)
	}
	return append(errorColumns(s, signs), latencyColumns(s, wide, latency)...)
}

// errorColumns count the errors of a row; without any in the whole window they would only take the place
// of others.
func errorColumns[T any](s *model.Window, of func(*T) *model.Tally) []column[T] {
	if errorsIn(s) == 0 {
		return nil
	}
	c := errorColumn(of)
	c.optional = true
	return []column[T]{c}
}

func errorsIn(s *model.Window) (n uint64) {
	for f := range s.Flows.All() {
		n += f.Health.Errors()
	}
	return n
}

func errorColumn[T any](of func(*T) *model.Tally) column[T] {
	return number("ERR", func(row *T) string { return unlessZero(of(row).Health.Errors(), human.Amount) })
}

// healthColumns are what went wrong on both ends together, and where the time of turns went if that was
// measured.
func healthColumns[T any](s *model.Window, signs func(*T) *model.Tally) []column[T] {
	of := func(row *T) *model.Health {
		if h := signs(row).Health; h != nil {
			return h
		}
		return &model.Health{}
	}
	count := func(head string, n func(*model.Health) uint64) column[T] {
		return number(head, func(row *T) string { return unlessZero(n(of(row)), human.Amount) })
	}
	columns := []column[T]{
		errorColumn(signs),
		count("RETRIES", func(h *model.Health) uint64 { return h.SYNRetries + h.SYNACKRetries }),
		count("RTO", func(h *model.Health) uint64 { return h.Client.Timeouts + h.Server.Timeouts }),
		count("RESETS", func(h *model.Health) uint64 { return h.Client.Resets + h.Server.Resets }),
		number("ZEROWIN", func(row *T) string {
			return unlessZero(of(row).Client.ZeroWindow+of(row).Server.ZeroWindow, human.Latency)
		}),
		count("STALLS", func(h *model.Health) uint64 { return h.Client.Stalls + h.Server.Stalls }),
		count("DROPS", droppedIn),
		number("QUEUES", func(row *T) string { return queues(of(row)) }),
	}
	if !measured(s) {
		return columns
	}
	mean := func(head string, sum func(*model.Breakdown) (time.Duration, uint64)) column[T] {
		return number(head, func(row *T) string {
			d, n := sum(&signs(row).Breakdown)
			if n == 0 {
				return "-"
			}
			return human.Latency(d / time.Duration(n))
		})
	}
	return append(columns,
		mean("DELIVERY", func(b *model.Breakdown) (time.Duration, uint64) { return b.Delivery, b.Delivered }),
		mean("WAIT", func(b *model.Breakdown) (time.Duration, uint64) { return b.Wait, b.Turns }),
		mean("THINK", func(b *model.Breakdown) (time.Duration, uint64) { return b.Think, b.Turns }),
		mean("BACK", func(b *model.Breakdown) (time.Duration, uint64) { return b.Back, b.Backs }))
}

// measured reports whether it is known of any flow where the time of its turns went.
func measured(s *model.Window) bool {
	for f := range s.Flows.All() {
		if f.Breakdown != (model.Breakdown{}) {
			return true
		}
	}
	return false
}

// droppedIn is the drops of a row. A socket counts its own, which may be the same.
func droppedIn(h *model.Health) (n uint64) {
	for _, d := range h.Drops {
		n += d.SKBs
	}
	return max(n, h.Client.SocketDrops+h.Server.SocketDrops)
}

// queues is what both ends have not read, and not yet seen acknowledged.
func queues(h *model.Health) string {
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
