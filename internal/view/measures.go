package view

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// sums are of both directions, as filters have them.
var sums = []*Measure{
	sum("packets", "packets", Count), sum("bytes", "bytes", Bytes), sum("payload", "payload_bytes", Bytes),
	sum("skbs", "skbs", Count), sum("retransmits", "retransmits", Count),
}

func sum(word, leaf string, unit Unit) *Measure {
	m := &Measure{Name: word, Leaves: "to_server." + leaf + " to_client." + leaf, Sort: word, Unit: unit}
	return m.amount(word)
}

// amount makes the measure the amount that filters know by that word, which says how to get it.
func (m *Measure) amount(word string) *Measure {
	a := model.Amounts[slices.IndexFunc(model.Amounts, func(a model.Amount) bool { return a.Name == word })]
	m.Amount, m.Help = word, cmp.Or(m.Help, a.Help)
	m.Of = func(r *Row) (uint64, bool) { return a.Of(&r.Tally) }
	return m
}

var rowCounts = []*Measure{
	{Name: "flows", Sort: "flows", Head: "FLOWS", Live: "CONN", By: "service pair process cgroup",
		Help: "connections and conversations in this row", Of: func(r *Row) (uint64, bool) { return uint64(r.Flows), true }},
	{Name: "clients", Sort: "clients", Head: "CLIENTS", By: "service",
		Help: "distinct client processes; addresses where those are unknown", Of: func(r *Row) (uint64, bool) { return uint64(r.Clients), true }},
}

func sent(r *Row) (*model.Counters, string)     { return &r.ToServer, "sent" }
func received(r *Row) (*model.Counters, string) { return &r.ToClient, "received" }

// direction is what one side sent, and what its socket knows of the way.
func direction(path, arrow, end string, of func(*Row) (*model.Counters, string)) []*Measure {
	_, word := of(&Row{})
	counter := func(leaf, head, sort string, unit Unit, help string, n func(*model.Counters) uint64) *Measure {
		m := &Measure{Name: path + "." + leaf, Sort: sort, Unit: unit, Help: help, Of: func(r *Row) (uint64, bool) {
			c, _ := of(r)
			return n(c), true
		}}
		if head != "" {
			m.Head = arrow + head
		}
		return m
	}
	rate := func(leaf, head string, unit Unit, help string, n func(*model.Counters) uint64) *Measure {
		m := counter(leaf+"_per_s", head, "", unit, help, n)
		m.Leaves = path + "." + leaf
		return m
	}
	packets := func(c *model.Counters) uint64 { return c.Packets }
	bytes := func(c *model.Counters) uint64 { return c.Bytes }
	inBytes := rate("bytes", "BYTES/S", BytesPerSecond, "bytes a second", bytes)
	inBytes.Live = strings.TrimSpace(arrow) + "/s"
	return []*Measure{
		counter("packets", "PACKETS", "", Count, "device packets, as `ip -s link show lo` counts them", packets),
		counter("bytes", "BYTES", word, Bytes, "device bytes: from the IP header on", bytes),
		rate("packets", "PACKETS/S", CountPerSecond, "packets a second", packets),
		inBytes,
		counter("skbs", "SKBS", "", Count, "what the stack handed down; one can be many packets", func(c *model.Counters) uint64 { return c.SKBs }),
		counter("payload_bytes", "PAYLOAD", "", Bytes, "bytes above TCP or UDP, without what TCP sent again",
			func(c *model.Counters) uint64 { return c.PayloadBytes }),
		counter("retransmits", "RETRANS", "", Count, "packets that TCP sent again", func(c *model.Counters) uint64 { return c.Retransmits }),
		counter("retrans_bytes", "", "", Bytes, "payload that TCP sent again", func(c *model.Counters) uint64 { return c.RetransBytes }),
		{Name: "srtt_ns." + end, Head: arrow + "SRTT", Unit: RoughNanoseconds, By: "flow", Help: "the sending socket's smoothed round trip",
			Of: ofFlow(func(f *model.Flow) time.Duration {
				if end == "client" {
					return f.ClientSRTT
				}
				return f.ServerSRTT
			})},
		{Name: "cwnd." + end, Head: arrow + "CWND", Unit: Segments, By: "flow", Help: "the sending socket's congestion window, in segments",
			Of: ofFlow(func(f *model.Flow) uint32 {
				if end == "client" {
					return f.ClientCwnd
				}
				return f.ServerCwnd
			})},
	}
}

// ofFlow takes 0 for unknown.
func ofFlow[T time.Duration | uint32](of func(*model.Flow) T) func(*Row) (uint64, bool) {
	return func(r *Row) (uint64, bool) {
		n := of(r.Flow)
		return uint64(n), n > 0
	}
}

var (
	turns = latency("turn", ofTurns, func(r *Row) *model.Latency { return &r.Turn }, described{
		"count": {"turns", "TURNS", "answered requests", "turns"},
		"p50":   {"p50", "P50", "turns, from a request's last byte to its answer's first: half were no longer"},
		"p90":   {"", "P90", "nine in ten turns were no longer"},
		"p99":   {"p99", "P99", "99 in a hundred turns were no longer"},
		"max":   {"max", "MAX", "the longest turn", "turn"},
		"rate":  {"", "REQ/S", "answered requests a second"},
		"sum":   {"", "", "all turns together"},
		"min":   {"", "", "the shortest turn"},
	})
	responses = latency("response", ofResponses, func(r *Row) *model.Latency { return &r.Response }, described{
		"count": {"", "", "answers that have ended"},
		"p50":   {"", "RESP P50", "the same to the answer's last byte"},
		"p90":   {"", "", "nine in ten responses were no longer"},
		"p99":   {"", "RESP P99", "the same to the answer's last byte"},
		"max":   {"", "", "the longest response", "response"},
		"sum":   {"", "", "all responses together"},
		"min":   {"", "", "the shortest response"},
	})
	connects = only("service pair", latency("connect", ofConnects, func(r *Row) *model.Latency { return &r.Connect }, described{
		"count": {"", "", "handshakes that ended"},
		"p50":   {"", "CONNECT", "from the SYN to the end of the handshake; of several connections the median"},
		"p90":   {"", "", "nine in ten handshakes took no longer"},
		"p99":   {"", "", "99 in a hundred handshakes took no longer"},
		"max":   {"", "", "the longest handshake"},
		"sum":   {"", "", "all handshakes together"},
		"min":   {"", "", "the shortest handshake"},
	}))
)

// described has the sort word, the head and the help of each number of a latency, and the amount that it is, if it is one.
type described map[string][4]string

func latency(path string, needs latencies, of func(*Row) *model.Latency, as described) []*Measure {
	number := func(m *Measure, name string, otherwise func(*Row) (uint64, bool)) *Measure {
		m.Sort, m.Head, m.Help, m.Of, m.needs = as[name][0], as[name][1], as[name][2], otherwise, needs
		if word := as[name][3]; word != "" {
			m.amount(word)
		}
		return m
	}
	length := func(name string, d func(*model.Latency) time.Duration) *Measure {
		return number(&Measure{Name: path + "." + name + "_ns", Unit: Nanoseconds}, name, func(r *Row) (uint64, bool) {
			l := of(r)
			return uint64(d(l)), l.Count > 0
		})
	}
	quantile := func(name string, q float64) *Measure {
		return length(name, func(l *model.Latency) time.Duration { return l.Quantile(q) })
	}
	count := func(r *Row) (uint64, bool) { return of(r).Count, true }
	measures := []*Measure{
		number(&Measure{Name: path + ".count", Calm: true}, "count", count),
		number(&Measure{Name: path + ".sum_ns", Unit: Nanoseconds}, "sum", func(r *Row) (uint64, bool) { return uint64(of(r).Sum), true }),
		length("min", func(l *model.Latency) time.Duration { return l.Min }),
		quantile("p50", 0.50),
		quantile("p90", 0.90),
		quantile("p99", 0.99),
		length("max", func(l *model.Latency) time.Duration { return l.Max }),
	}
	if _, has := as["rate"]; has {
		rate := number(&Measure{Name: path + ".count_per_s", Leaves: path + ".count", Calm: true, Unit: TurnsPerSecond}, "rate", count)
		measures = slices.Insert(measures, 1, rate)
	}
	return measures
}

// only has the measures in rows of those views alone.
func only(by string, measures []*Measure) []*Measure {
	for _, m := range measures {
		m.By = by
	}
	return measures
}
