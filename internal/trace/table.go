package trace

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/stats"
)

// Table stands between an engine and its source, and looks on as the flow table is read: it knows how far
// flows have come. It is for the engine's goroutine.
type Table struct {
	stats.Source
	reading  *model.Reading // the newest, which is the engine's
	slow     []model.SlowTurn
	exchange model.Exchange
}

// Read takes a whole reading.
func (t *Table) Read(r *model.Reading) error {
	err := t.Source.Read(r)
	t.look(r)
	return err
}

// ReadSlots takes one of the flow table only.
func (t *Table) ReadSlots(r *model.Reading) error {
	err := t.Source.ReadSlots(r)
	t.look(r)
	return err
}

func (t *Table) look(r *model.Reading) {
	t.reading = r
	t.slow = append(t.slow, r.Slow...)
}

// takeSlow returns the turns that the source told of since it was called last. They are valid until the next
// reading.
func (t *Table) takeSlow() []model.SlowTurn {
	turns := t.slow
	t.slow = t.slow[:0]
	return turns
}

// progress says how far the flow of a sample has come; false: it is not in the newest reading.
func (t *Table) progress(of *model.Sample) (p Progress, known bool) {
	count := t.reading.Slot(of.Slot)
	if count == nil {
		return p, false
	}
	slot := model.Slot{SlotCount: *count}
	t.ReadSlot(&slot)
	if slot.Key != of.Key || slot.CreatedNS > of.MonoNS {
		return p, false
	}
	p.Sent = [2]uint64{slot.Dir[0].PayloadBytes, slot.Dir[1].PayloadBytes}
	if slot.Exchange > 0 && t.ReadExchange(slot.Exchange, &t.exchange, 0, 0) {
		p.Asked, p.Answered, p.AnsweredNS = t.exchange.Asked, t.exchange.Answered, t.exchange.AnsweredNS
	}
	return p, true
}

// wall turns a CLOCK_MONOTONIC stamp into a time of day.
func (t *Table) wall(ns uint64) time.Time {
	return t.reading.Wall.Add(-time.Duration(t.reading.MonoNS - ns))
}
