package human

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// Bars draws a histogram: a line per half octave, from the first with anything in it to the last, with
// bars of at most room columns. The latency must not be empty.
func Bars(l *model.Latency, room int) []string {
	const step = 4 // buckets
	counts := make([]uint64, len(l.Histogram)/step)
	for bucket, n := range l.Histogram {
		counts[bucket/step] += n
	}
	first := slices.IndexFunc(counts, func(n uint64) bool { return n > 0 })
	last := len(counts) - 1
	for counts[last] == 0 {
		last--
	}
	most := slices.Max(counts)
	var lines []string
	for i := first; i <= last; i++ {
		if empty := slices.IndexFunc(counts[i:], func(n uint64) bool { return n > 0 }); empty > 2 {
			lines = append(lines, "        ⋮")
			i += empty
		}
		from, _ := model.BucketBounds(i * step)
		_, to := model.BucketBounds(i*step + step - 1)
		lines = append(lines, fmt.Sprintf("%8s – %-8s %s %9s %5.1f %%", Latency(from), Latency(to),
			pad(bar(float64(counts[i])/float64(most)*float64(room)), room), Amount(counts[i]),
			100*float64(counts[i])/float64(l.Count)))
	}
	return lines
}

// bar draws length columns, in eighths; what is there at all is visible.
func bar(length float64) string {
	eighths := int(length*8 + 0.5)
	if eighths == 0 && length > 0 {
		eighths = 1
	}
	b := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		b += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return b
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-len([]rune(s))))
}

// Parts draws where the time of turns went: a bar of about room columns for the mean turn, split, and the
// way back behind it; then what is what. Turns is how many there were in all. Nothing known is no line.
func Parts(b *model.Breakdown, turns uint64, room int) []string {
	turn := b.Delivery + b.Wait + b.Think
	if b.Turns == 0 || turn <= 0 {
		return nil
	}
	mean := func(sum time.Duration, n uint64) time.Duration { return sum / time.Duration(max(n, 1)) }
	back := mean(b.Back, b.Backs)
	wait := "wait"
	if b.Delivered == 0 {
		wait = "delivery and wait"
	}
	split := []struct {
		cell, name string
		sum        time.Duration
	}{{"░", "delivery", b.Delivery}, {"▒", wait, b.Wait}, {"█", "think", b.Think}}
	perCell := float64(mean(turn, b.Turns)+back) / float64(room)
	var bar strings.Builder
	var names []string
	for _, part := range split {
		if part.sum == 0 {
			continue
		}
		d := mean(part.sum, b.Turns)
		bar.WriteString(strings.Repeat(part.cell, cells(d, perCell)))
		names = append(names, fmt.Sprintf("%s %s %s %.0f %%", part.cell, part.name, Latency(d), 100*float64(part.sum)/float64(turn)))
	}
	if back > 0 {
		bar.WriteString("│" + strings.Repeat("▓", cells(back, perCell)))
	}
	lines := []string{bar.String(), strings.Join(names, "  ")}
	var rest []string
	if back > 0 {
		rest = append(rest, "▓ back "+Latency(back)+", behind the turn")
	}
	if b.Turns != turns {
		rest = append(rest, "known of "+Counted(b.Turns, "turn"))
	}
	if len(rest) > 0 {
		lines = append(lines, strings.Join(rest, " · "))
	}
	return lines
}

// cells is how much of a bar d takes; what is there at all is visible.
func cells(d time.Duration, perCell float64) int { return max(1, int(float64(d)/perCell+0.5)) }
