package view

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// Measure is one number of a row.
type Measure struct {
	Name string
	Of   func(*Row) (n uint64, known bool)
}

// Measures is all of them.
var Measures = []*Measure{
	{Name: "packets", Of: both(func(c *model.Counters) uint64 { return c.Packets })},
	{Name: "bytes", Of: both(func(c *model.Counters) uint64 { return c.Bytes })},
	{Name: "payload", Of: both(func(c *model.Counters) uint64 { return c.PayloadBytes })},
	{Name: "skbs", Of: both(func(c *model.Counters) uint64 { return c.SKBs })},
	{Name: "retransmits", Of: both(func(c *model.Counters) uint64 { return c.Retransmits })},
	{Name: "turns", Of: func(r *Row) (uint64, bool) { return r.Turn.Count, true }},
	{Name: "p50", Of: turn(func(l *model.Latency) time.Duration { return l.Quantile(0.50) })},
	{Name: "p99", Of: turn(func(l *model.Latency) time.Duration { return l.Quantile(0.99) })},
	{Name: "max", Of: turn(func(l *model.Latency) time.Duration { return l.Max })},
	{Name: "errors", Of: func(r *Row) (uint64, bool) { return r.Health.Errors(), true }},
	{Name: "sent", Of: func(r *Row) (uint64, bool) { return r.ToServer.Bytes, true }},
	{Name: "received", Of: func(r *Row) (uint64, bool) { return r.ToClient.Bytes, true }},
	{Name: "flows", Of: func(r *Row) (uint64, bool) { return uint64(r.Flows), true }},
	{Name: "clients", Of: func(r *Row) (uint64, bool) { return uint64(r.Clients), true }},
}

func both(of func(*model.Counters) uint64) func(*Row) (uint64, bool) {
	return func(r *Row) (uint64, bool) { return of(&r.ToServer) + of(&r.ToClient), true }
}

func turn(of func(*model.Latency) time.Duration) func(*Row) (uint64, bool) {
	return func(r *Row) (uint64, bool) { return uint64(of(&r.Turn)), r.Turn.Count > 0 }
}

// MeasureNamed returns the measure of that name; nil if there is none.
func MeasureNamed(name string) *Measure {
	for _, m := range Measures {
		if m.Name == name {
			return m
		}
	}
	return nil
}
