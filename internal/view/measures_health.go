package view

import (
	"slices"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// healthMeasures are what went wrong.
var healthMeasures = slices.Concat(
	[]*Measure{
		(&Measure{Name: "errors", Sort: "errors", Head: "ERR", Calm: true, Help: "refused connections, resets and lost datagrams; only where there are any"}).amount("errors"),
		healthOf("refused", "", "SYNs that a RST answered", func(h *model.Health) uint64 { return h.Refused }),
		healthOf("syn_retries", "", "SYNs sent again", func(h *model.Health) uint64 { return h.SYNRetries }),
		healthOf("synack_retries", "", "SYN-ACKs sent again", func(h *model.Health) uint64 { return h.SYNACKRetries }),
		joined("retries", "RETRIES", "health.syn_retries health.synack_retries", Count, "SYNs and SYN-ACKs sent again",
			func(h *model.Health) uint64 { return h.SYNRetries + h.SYNACKRetries }),
	},
	both("timeouts", "RTO", Count, "segments sent again because the retransmission timer ran out", func(e *model.EndHealth) uint64 { return e.Timeouts }),
	both("resets", "RESETS", Count, "established connections that were reset", func(e *model.EndHealth) uint64 { return e.Resets }),
	both("out_of_order", "", Count, "segments that came out of order", func(e *model.EndHealth) uint64 { return e.OutOfOrder }),
	both("socket_drops", "", Count, "datagrams that found no room in a socket", func(e *model.EndHealth) uint64 { return e.SocketDrops }),
	both("zero_windows", "", Count, "how often receive windows closed", func(e *model.EndHealth) uint64 { return e.ZeroWindows }),
	both("zero_window_ns", "ZEROWIN", Nanoseconds, "how long receive windows were closed", func(e *model.EndHealth) uint64 { return uint64(e.ZeroWindow) }),
	both("stalls", "STALLS", Count, "how often data waited for a delayed acknowledgement (Nagle)", func(e *model.EndHealth) uint64 { return e.Stalls }),
	both("stalled_ns", "", Nanoseconds, "how long data waited for delayed acknowledgements", func(e *model.EndHealth) uint64 { return uint64(e.Stalled) }),
	[]*Measure{joined("drops", "DROPS", "drops health.client.socket_drops health.server.socket_drops", Count, "skbs that the kernel dropped", dropped)},
	both("receive_queue_bytes", "", Bytes, "bytes that wait to be read, at the window's end", func(e *model.EndHealth) uint64 { return e.ReceiveQueue }),
	both("send_queue_bytes", "", Bytes, "bytes that wait to be acknowledged, at the window's end", func(e *model.EndHealth) uint64 { return e.SendQueue }),
	[]*Measure{joined("queues", "QUEUES", "health.client.receive_queue_bytes health.server.receive_queue_bytes health.client.send_queue_bytes health.server.send_queue_bytes",
		Bytes, "bytes that wait to be read, and to be acknowledged, at the window's end",
		func(h *model.Health) uint64 {
			return h.Client.ReceiveQueue + h.Server.ReceiveQueue + h.Client.SendQueue + h.Server.SendQueue
		})},
)

// healthOf is unknown where nothing went wrong and nothing waits, as in JSON.
func healthOf(leaf, head, help string, of func(*model.Health) uint64) *Measure {
	return &Measure{Name: "health." + leaf, Head: head, Help: help, Calm: true, Of: func(r *Row) (uint64, bool) {
		if r.Health == nil {
			return 0, false
		}
		return of(r.Health), true
	}}
}

// joined is made of other measures.
func joined(name, head, leaves string, unit Unit, help string, of func(*model.Health) uint64) *Measure {
	m := healthOf("", head, help, of)
	m.Name, m.Leaves, m.Unit = name, leaves, unit
	return m
}

// both is the health of each end, and of both with a column where there is a head for it.
func both(leaf, head string, unit Unit, help string, of func(*model.EndHealth) uint64) []*Measure {
	client := healthOf("client."+leaf, "", help+": at the client", func(h *model.Health) uint64 { return of(&h.Client) })
	server := healthOf("server."+leaf, "", help+": at the server", func(h *model.Health) uint64 { return of(&h.Server) })
	client.Unit, server.Unit = unit, unit
	if head == "" {
		return []*Measure{client, server}
	}
	return []*Measure{client, server, joined(leaf, head, client.Name+" "+server.Name, unit, help,
		func(h *model.Health) uint64 { return of(&h.Client) + of(&h.Server) })}
}

// dropped is the drops of a row. A socket counts its own, which may be the same.
func dropped(h *model.Health) (n uint64) {
	for _, d := range h.Drops {
		n += d.SKBs
	}
	return max(n, h.Client.SocketDrops+h.Server.SocketDrops)
}

// parts are where the time of turns went.
var parts = slices.Concat(
	[]*Measure{
		ofParts("turns", Count, "turns of which it is known where their time went", func(b *model.Breakdown) (uint64, bool) { return b.Turns, true }),
		ofParts("delivered", Count, "turns of which the delivery is known", func(b *model.Breakdown) (uint64, bool) { return b.Delivered, true }),
		ofParts("backs", Count, "answers of which the way back is known", func(b *model.Breakdown) (uint64, bool) { return b.Backs, true }),
		ofParts("delivery_ns", Nanoseconds, "deliveries together", func(b *model.Breakdown) (uint64, bool) { return uint64(b.Delivery), b.Delivered > 0 }),
		ofParts("wait_ns", Nanoseconds, "waits together", func(b *model.Breakdown) (uint64, bool) { return uint64(b.Wait), true }),
		ofParts("think_ns", Nanoseconds, "work together", func(b *model.Breakdown) (uint64, bool) { return uint64(b.Think), true }),
		ofParts("back_ns", Nanoseconds, "ways back together", func(b *model.Breakdown) (uint64, bool) { return uint64(b.Back), b.Backs > 0 }),
	},
	[]*Measure{
		mean("delivery", "DELIVERY", "delivered", "from the request's last byte until it was at the server's socket",
			func(b *model.Breakdown) (time.Duration, uint64) { return b.Delivery, b.Delivered }),
		mean("wait", "WAIT", "turns", "from there until the server's process read it", func(b *model.Breakdown) (time.Duration, uint64) { return b.Wait, b.Turns }),
		mean("think", "THINK", "turns", "from there to the answer's first byte", func(b *model.Breakdown) (time.Duration, uint64) { return b.Think, b.Turns }),
		mean("back", "BACK", "backs", "from there until the client's process read it", func(b *model.Breakdown) (time.Duration, uint64) { return b.Back, b.Backs }),
	},
)

// ofParts is unknown where nothing is known of any turn.
func ofParts(leaf string, unit Unit, help string, of func(*model.Breakdown) (uint64, bool)) *Measure {
	return &Measure{Name: "breakdown." + leaf, Unit: unit, Help: help, Of: func(r *Row) (uint64, bool) {
		n, known := of(&r.Breakdown)
		return n, known && r.Breakdown.Turns+r.Breakdown.Backs > 0
	}}
}

func mean(name, head, of, help string, sum func(*model.Breakdown) (d time.Duration, n uint64)) *Measure {
	return &Measure{
		Name: name, Leaves: "breakdown." + name + "_ns breakdown." + of, Head: head, Unit: Nanoseconds, Help: help,
		Of: func(r *Row) (uint64, bool) {
			d, n := sum(&r.Breakdown)
			if n == 0 {
				return 0, false
			}
			return uint64(d) / n, true
		},
	}
}

// lives are how connections begin.
var lives = slices.Concat(connects, only("flow", []*Measure{
	{Name: "connect_ns", Head: "CONNECT", Unit: Nanoseconds, Help: "from the SYN to the end of the handshake; of several connections the median",
		Of: ofFlow(func(f *model.Flow) time.Duration { return f.Handshake })},
	{Name: "accept_ns", Unit: Nanoseconds, Help: "from the SYN to the first sign of a process at the server's socket",
		Of: ofFlow(func(f *model.Flow) time.Duration { return f.Accept })},
	{Name: "first_byte_ns", Unit: Nanoseconds, Help: "from the SYN to the server's first payload",
		Of: ofFlow(func(f *model.Flow) time.Duration { return f.FirstByte })},
	{Name: "crossed", Head: "CROSSED", Help: "requests that did not wait for the whole answer before them",
		Of: func(r *Row) (uint64, bool) { return r.Crossed, true }},
}), only("service", []*Measure{
	queue("length", "", "connections that wait to be accepted", func(q *model.AcceptQueue) uint64 { return uint64(q.Length) }),
	queue("limit", "", "how many connections may wait to be accepted", func(q *model.AcceptQueue) uint64 { return uint64(q.Limit) }),
	queue("overflows", "ACCEPTQ", "by service: connections that wait to be accepted, the limit, and how many found no room",
		func(q *model.AcceptQueue) uint64 { return q.Overflows }),
}))

// queue is unknown where nobody is known to listen.
func queue(leaf, head, help string, of func(*model.AcceptQueue) uint64) *Measure {
	return &Measure{Name: "accept_queue." + leaf, Head: head, Help: help, Of: func(r *Row) (uint64, bool) {
		if r.AcceptQueue == nil {
			return 0, false
		}
		return of(r.AcceptQueue), true
	}}
}
