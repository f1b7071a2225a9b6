package export

import (
	"strings"
	"testing"
	"time"

	"github.com/olekukonko/tablewriter/pkg/twwidth"

	"github.com/lotrace/lotrace/internal/model"
)

func TestBars(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	repeat := func(n int, d time.Duration, more ...time.Duration) model.Latency {
		for range n {
			more = append(more, d)
		}
		return took(more...)
	}
	tests := []struct {
		name   string
		rows   []model.Latency
		want   []string
		legend string // its two ends
	}{
		{"none", []model.Latency{{}, {}}, []string{"-", "-"}, ""},
		{"one cell", []model.Latency{took(20 * us), {}}, []string{"█", "-"}, "16.4 µs to 32.8 µs"},
		{"lined up", []model.Latency{took(3*us, 60*us), took(20 * us), took(5*us, 5*us, 6*us)},
			[]string{"█···█", "···█·", "·█···"}, "2.05 µs to 65.5 µs"},
		{"one in a thousand", []model.Latency{repeat(999, 1*ms, 3*ms)}, []string{"█·▁"}, "524 µs to 4.19 ms"},
		{"heights", []model.Latency{repeat(8, 20*us, 40*us, 40*us, 40*us, 40*us, 80*us)}, []string{"█▅▂"}, "16.4 µs to 131 µs"},
		{"both ends", []model.Latency{took(1, 200*time.Second)}, []string{"█" + strings.Repeat("·", 26) + "█"}, "0 ns to 2m17s and more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var latencies []*model.Latency
			for i := range tt.rows {
				latencies = append(latencies, &tt.rows[i])
			}
			scale := scaleOf(latencies)
			for i, l := range latencies {
				if got := scale.bar(l); got != tt.want[i] {
					t.Errorf("row %d: got %s, want %s", i, got, tt.want[i])
				}
			}
			want := ""
			if tt.legend != "" {
				want = "HIST: turns from " + tt.legend + ", each cell twice as long as the one before"
			}
			if got := scale.legend(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// Optional columns go from the right, before any text is cut, and comes back as there is room.
func TestOptionalColumns(t *testing.T) {
	latency := []string{"P50", "P99", "REQ/S"}
	for _, by := range Views() {
		optionalColumns(t, by, crowd(), latency)
		optionalColumns(t, by, ailing(), append([]string{"ERR"}, latency...))
	}
}

func optionalColumns(t *testing.T, by string, s *window, optional []string) {
	t.Helper()
	s.SlowFrom = 0
	whole := encode(t, "table", Options{By: by}, s)
	shown := 0
	for width := 60; width <= 300; width++ {
		out := encode(t, "table", Options{By: by, Width: width}, s)
		_, table, _ := strings.Cut(out, "\n\n")
		head, _, _ := strings.Cut(table, "\n")
		_, last, _ := strings.Cut(head, "← BYTES")
		got := strings.Fields(last)
		if len(got) < shown || strings.Join(got, " ") != strings.Join(optional[:len(got)], " ") {
			t.Errorf("by %s, width %d: got %v after %d of %v", by, width, got, shown, optional)
		}
		if shown = len(got); shown > 0 && strings.Contains(out, "…") {
			t.Errorf("by %s, width %d: texts are cut for the sake of %v:\n%s", by, width, got, out)
		}
		if fits := twwidth.Width(head) <= width; shown == len(optional) && (out != whole || !fits) {
			t.Errorf("by %s, width %d: got\n%s\nwant\n%s", by, width, out, whole)
		}
	}
	if shown != len(optional) {
		t.Errorf("by %s: at 300 columns only %d of %v", by, shown, optional)
	}
}
