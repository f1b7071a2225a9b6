package export

import (
	"fmt"
	"strings"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// octaveBuckets is how many buckets of a histogram one cell of a bar stands for: twice the time.
const octaveBuckets = 8

// barScale is what the bars of one table have in common, so that a cell means the same in every row.
// Cells are octaves of time, from first up to but not including end.
type barScale struct{ first, end int }

// scaleOf trims the scale to what any of the histograms has.
func scaleOf(latencies []*model.Latency) barScale {
	scale := barScale{first: model.HistogramBuckets / octaveBuckets}
	for _, l := range latencies {
		for octave, n := range octaves(l) {
			if n > 0 {
				scale.first, scale.end = min(scale.first, octave), max(scale.end, octave+1)
			}
		}
	}
	return scale
}

// bar draws a histogram, the fullest cell highest. One in a million shows too, or nobody would find it.
func (s barScale) bar(l *model.Latency) string {
	if l.Count == 0 {
		return "-"
	}
	heights := []rune("▁▂▃▄▅▆▇█")
	counts := octaves(l)
	var most uint64
	for _, n := range counts {
		most = max(most, n)
	}
	var cells strings.Builder
	for _, n := range counts[s.first:s.end] {
		if n == 0 {
			cells.WriteRune('·')
			continue
		}
		height := float64(n) / float64(most) * float64(len(heights)-1)
		cells.WriteRune(heights[int(height+0.5)])
	}
	return cells.String()
}

// legend says what the cells stand for; "" if there is none.
func (s barScale) legend() string {
	if s.end == 0 {
		return ""
	}
	low, _ := model.BucketBounds(s.first * octaveBuckets)
	_, high := model.BucketBounds(s.end*octaveBuckets - 1)
	from, to := human.Latency(low), human.Latency(high)
	if s.first == 0 {
		from = "0 ns"
	}
	if s.end*octaveBuckets == model.HistogramBuckets {
		to += " and more"
	}
	return fmt.Sprintf("HIST: turns from %s to %s, each cell twice as long as the one before", from, to)
}

// octaves adds up the buckets of a latency by octave.
func octaves(l *model.Latency) []uint64 {
	counts := make([]uint64, model.HistogramBuckets/octaveBuckets)
	for bucket, n := range l.Histogram {
		counts[bucket/octaveBuckets] += n
	}
	return counts
}
