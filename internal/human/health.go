package human

import (
	"fmt"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// HealthLines names and counts what went wrong, a line each; server is a name fit to show, h and q may be nil.
// Nothing is said of what is as it should be.
func HealthLines(server string, h *model.Health, q *model.AcceptQueue) []string {
	var all []string
	add := func(n uint64, format string, args ...any) {
		if n > 0 {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	if h == nil {
		h = &model.Health{}
	}
	add(h.Refused, "%s refused", Commas(h.Refused))
	add(h.SYNRetries, "%s sent again", Counted(h.SYNRetries, "SYN"))
	add(h.SYNACKRetries, "%s sent again", Counted(h.SYNACKRetries, "SYN-ACK"))
	if q != nil {
		full := q.Overflows
		if q.Length > 0 && q.Length >= q.Limit {
			full++
		}
		add(full, "accept queue %d of %d, %s overflowed", q.Length, q.Limit, Commas(q.Overflows))
	}
	for _, end := range []struct {
		name string
		*model.EndHealth
	}{{server, &h.Server}, {"clients", &h.Client}} {
		add(end.Resets, "%s reset by %s", Counted(end.Resets, "connection"), end.name)
		add(end.Timeouts, "%s at %s", Counted(end.Timeouts, "retransmission timeout"), end.name)
		add(end.OutOfOrder, "%s out of order at %s", Counted(end.OutOfOrder, "segment"), end.name)
		add(uint64(end.ZeroWindow), "receive window of %s closed %s, %s", end.name, times(end.ZeroWindows), Latency(end.ZeroWindow))
		add(end.Stalls, "%s of Nagle against delayed ACK at %s, %s each", Counted(end.Stalls, "stall"), end.name,
			Latency(end.Stalled/time.Duration(max(end.Stalls, 1))))
		if len(h.Drops) == 0 {
			add(end.SocketDrops, "%s found no room at %s", Counted(end.SocketDrops, "datagram"), end.name)
		}
	}
	var reasons []string
	for _, d := range h.Drops {
		reasons = append(reasons, Plain(d.Reason)+" "+Commas(d.SKBs))
	}
	add(uint64(len(reasons)), "drops: %s", strings.Join(reasons, ", "))
	return all
}

// times is how often something began; what goes on from before did not.
func times(n uint64) string {
	if n == 0 {
		return "since before"
	}
	return Counted(n, "time")
}
