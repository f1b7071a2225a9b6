package export

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
)

// tally is what rows of every view have, beyond their counts and their turns. What is added to model.Tally goes
// behind these.
type tally struct {
	Errors    uint64     `json:"errors"`
	Health    *health    `json:"health"`
	Drops     drops      `json:"drops"`
	Breakdown *breakdown `json:"breakdown"`
}

type health struct {
	Refused       uint64    `json:"refused"`
	SYNRetries    uint64    `json:"syn_retries"`
	SYNACKRetries uint64    `json:"synack_retries"`
	Client        endHealth `json:"client"`
	Server        endHealth `json:"server"`
}

type endHealth struct {
	Resets            uint64 `json:"resets"`
	Timeouts          uint64 `json:"timeouts"`
	OutOfOrder        uint64 `json:"out_of_order"`
	SocketDrops       uint64 `json:"socket_drops"`
	ZeroWindows       uint64 `json:"zero_windows"`
	ZeroWindowNs      int64  `json:"zero_window_ns"`
	Stalls            uint64 `json:"stalls"`
	StalledNs         int64  `json:"stalled_ns"`
	ReceiveQueueBytes uint64 `json:"receive_queue_bytes"`
	SendQueueBytes    uint64 `json:"send_queue_bytes"`
}

// drops is skbs by reason.
type drops map[string]uint64

// String is the one cell that they have in CSV.
func (d drops) String() string {
	var cell []string
	for _, reason := range slices.Sorted(maps.Keys(d)) {
		cell = append(cell, reason+"="+strconv.FormatUint(d[reason], 10))
	}
	return strings.Join(cell, ";")
}

type breakdown struct {
	Turns      uint64 `json:"turns"`
	Delivered  uint64 `json:"delivered"`
	DeliveryNs *int64 `json:"delivery_ns"`
	WaitNs     int64  `json:"wait_ns"`
	ThinkNs    int64  `json:"think_ns"`
	Backs      uint64 `json:"backs"`
	BackNs     *int64 `json:"back_ns"`
}

type acceptQueue struct {
	Length    uint32 `json:"length"`
	Limit     uint32 `json:"limit"`
	Overflows uint64 `json:"overflows"`
}

// slowRow is one slow turn.
type slowRow struct {
	Time       *string  `json:"time"`
	Proto      string   `json:"proto"`
	Client     endpoint `json:"client"`
	Server     endpoint `json:"server"`
	TurnNs     int64    `json:"turn_ns"`
	DeliveryNs *int64   `json:"delivery_ns"`
	WaitNs     *int64   `json:"wait_ns"`
	ThinkNs    *int64   `json:"think_ns"`
}

func newTally(t *model.Tally) tally {
	h := t.Health
	row := tally{Errors: h.Errors(), Drops: drops{}, Breakdown: newBreakdown(&t.Breakdown)}
	if h == nil {
		return row
	}
	row.Health = &health{
		Refused:       h.Refused,
		SYNRetries:    h.SYNRetries,
		SYNACKRetries: h.SYNACKRetries,
		Client:        newEndHealth(&h.Client),
		Server:        newEndHealth(&h.Server),
	}
	for _, d := range h.Drops {
		row.Drops[d.Reason] = d.SKBs
	}
	return row
}

func newEndHealth(e *model.EndHealth) endHealth {
	return endHealth{
		Resets:            e.Resets,
		Timeouts:          e.Timeouts,
		OutOfOrder:        e.OutOfOrder,
		SocketDrops:       e.SocketDrops,
		ZeroWindows:       e.ZeroWindows,
		ZeroWindowNs:      e.ZeroWindow.Nanoseconds(),
		Stalls:            e.Stalls,
		StalledNs:         e.Stalled.Nanoseconds(),
		ReceiveQueueBytes: e.ReceiveQueue,
		SendQueueBytes:    e.SendQueue,
	}
}

// newBreakdown is nil where nothing is known.
func newBreakdown(b *model.Breakdown) *breakdown {
	if b.Turns == 0 && b.Backs == 0 {
		return nil
	}
	row := &breakdown{
		Turns:     b.Turns,
		Delivered: b.Delivered,
		WaitNs:    b.Wait.Nanoseconds(),
		ThinkNs:   b.Think.Nanoseconds(),
		Backs:     b.Backs,
	}
	if b.Delivered > 0 {
		row.DeliveryNs = exactly(b.Delivery)
	}
	if b.Backs > 0 {
		row.BackNs = exactly(b.Back)
	}
	return row
}

func newAcceptQueue(q *model.AcceptQueue) *acceptQueue {
	if q == nil {
		return nil
	}
	return &acceptQueue{Length: q.Length, Limit: q.Limit, Overflows: q.Overflows}
}

// newSlowRow returns t's row; it points into t.
func newSlowRow(t *model.SlowTurnRow) slowRow {
	row := slowRow{
		Time:   timestamp(t.Time),
		Proto:  t.Proto.String(),
		Client: newEndpoint(&t.Client),
		Server: newEndpoint(&t.Server),
		TurnNs: t.Turn.Nanoseconds(),
	}
	if p := t.Parts; p != nil {
		row.DeliveryNs, row.WaitNs, row.ThinkNs = nanoseconds(p.Delivery), exactly(p.Wait), exactly(p.Think)
	}
	return row
}

// slowRows is nil unless slow turns were asked for.
func slowRows(s *model.Window) []slowRow {
	if s.SlowFrom == 0 {
		return nil
	}
	rows := make([]slowRow, len(s.Slow))
	for i := range s.Slow {
		rows[i] = newSlowRow(&s.Slow[i])
	}
	return rows
}
