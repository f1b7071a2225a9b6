package view

import (
	"fmt"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// A roll-up that is asked for one measure has it right, and none of the latencies that this does not need.
func TestOnly(t *testing.T) {
	rows := crowd(3, 200)
	for i := range rows {
		f := &rows[i]
		f.Handshake = time.Duration(1+i) * time.Microsecond
		f.Connect = model.Single(f.Handshake)
	}
	flows := model.NewFlows(rows...)
	for _, by := range All() {
		if by.each {
			continue
		}
		whole, roll := rollOf(by, flows), NewRoll(by)
		for _, m := range by.Measures() {
			roll.Reset()
			roll.Only([]*Measure{m})
			roll.Add(flows)
			for i := range whole.Len() {
				if want, got := fmt.Sprint(m.Of(whole.At(i))), fmt.Sprint(m.Of(roll.At(i))); got != want {
					t.Errorf("by %s, row %d: %s alone is %s, with all others %s", by.Name, i, m.Name, got, want)
				}
			}
			has := roll.At(0)
			latencies := 0
			for _, l := range []*model.Latency{&has.Turn, &has.Response, &has.Connect} {
				if l.Count > 0 {
					latencies++
				}
			}
			if want := min(1, int(m.needs)); latencies != want {
				t.Errorf("by %s: rows have %d latencies for %s, want %d", by.Name, latencies, m.Name, want)
			}
		}
	}
}
