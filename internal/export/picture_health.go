package export

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// margin is what stands before the lines about a service that have no name of their own.
const margin = "          "

// parts draws where the time of a service's turns went: a bar for the mean turn, split, and the way back
// behind it.
func (e pictureEncoder) parts(w io.Writer, v *model.Service) {
	b := &v.Breakdown
	turn := b.Delivery + b.Wait + b.Think
	if b.Turns == 0 || turn <= 0 {
		return
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
	perCell := float64(mean(turn, b.Turns)+back) / float64(e.room())
	var bar strings.Builder
	var names []string
	for _, part := range split {
		if part.sum == 0 {
			continue
		}
		d := mean(part.sum, b.Turns)
		bar.WriteString(strings.Repeat(part.cell, cells(d, perCell)))
		names = append(names, fmt.Sprintf("%s %s %s %.0f %%", part.cell, part.name, latencyText(d), 100*float64(part.sum)/float64(turn)))
	}
	if back > 0 {
		bar.WriteString("│" + strings.Repeat("▓", cells(back, perCell)))
	}
	fmt.Fprintf(w, "%-8s  %s\n%s%s\n", "parts", bar.String(), margin, strings.Join(names, "  "))
	var rest []string
	if back > 0 {
		rest = append(rest, "▓ back "+latencyText(back)+", behind the turn")
	}
	if b.Turns != v.Turn.Count {
		rest = append(rest, "known of "+counted(b.Turns, "turn"))
	}
	if len(rest) > 0 {
		fmt.Fprintf(w, "%s%s\n", margin, strings.Join(rest, " · "))
	}
}

// cells is how much of a bar d takes; what is there at all is visible.
func cells(d time.Duration, perCell float64) int { return max(1, int(float64(d)/perCell+0.5)) }

// wrongs names and counts what went wrong at a service.
func (e pictureEncoder) wrongs(w io.Writer, v *model.Service) {
	label := "wrong"
	for _, wrong := range wrongsOf(v) {
		if e.Width > 0 {
			wrong = cut(wrong, e.Width-len(margin))
		}
		fmt.Fprintf(w, "%-8s  %s\n", label, tableEncoder{request: request{Options: e.Options}}.paint(red, wrong))
		label = ""
	}
}

// ailing says at how many of the services that a limit hid something went wrong; "" for none.
func (e pictureEncoder) ailing(hidden []model.Service) string {
	n := uint64(0)
	for i := range hidden {
		if len(wrongsOf(&hidden[i])) > 0 {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return tableEncoder{request: request{Options: e.Options}}.paint(red, ", something wrong at "+commas(n))
}

func wrongsOf(v *model.Service) []string {
	var all []string
	add := func(n uint64, format string, args ...any) {
		if n > 0 {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	h := v.Health
	if h == nil {
		h = &model.Health{}
	}
	add(h.Refused, "%s refused", commas(h.Refused))
	add(h.SYNRetries, "%s sent again", counted(h.SYNRetries, "SYN"))
	add(h.SYNACKRetries, "%s sent again", counted(h.SYNACKRetries, "SYN-ACK"))
	if q := v.AcceptQueue; q != nil {
		full := q.Overflows
		if q.Length > 0 && q.Length >= q.Limit {
			full++
		}
		add(full, "accept queue %d of %d, %s overflowed", q.Length, q.Limit, commas(q.Overflows))
	}
	for _, end := range []struct {
		name string
		*model.EndHealth
	}{{plain(v.Name), &h.Server}, {"clients", &h.Client}} {
		add(end.Resets, "%s reset by %s", counted(end.Resets, "connection"), end.name)
		add(end.Timeouts, "%s at %s", counted(end.Timeouts, "retransmission timeout"), end.name)
		add(end.OutOfOrder, "%s out of order at %s", counted(end.OutOfOrder, "segment"), end.name)
		add(uint64(end.ZeroWindow), "receive window of %s closed %s, %s", end.name, times(end.ZeroWindows), latencyText(end.ZeroWindow))
		add(end.Stalls, "%s of Nagle against delayed ACK at %s, %s each", counted(end.Stalls, "stall"), end.name,
			latencyText(end.Stalled/time.Duration(max(end.Stalls, 1))))
		if len(h.Drops) == 0 {
			add(end.SocketDrops, "%s found no room at %s", counted(end.SocketDrops, "datagram"), end.name)
		}
	}
	var reasons []string
	for _, d := range h.Drops {
		reasons = append(reasons, plain(d.Reason)+" "+commas(d.SKBs))
	}
	add(uint64(len(reasons)), "drops: %s", strings.Join(reasons, ", "))
	return all
}

// times is how often something began; what goes on from before did not.
func times(n uint64) string {
	if n == 0 {
		return "since before"
	}
	return counted(n, "time")
}
