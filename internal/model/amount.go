package model

// Amount is a number of a Tally that filters compare. Engines filter by it and faces sort by it, so its floor is
// here, where both can reach it.
type Amount struct {
	Name    string // the filter's word
	Value   string // what it is compared with: SIZE, N or DURATION
	Example string
	Help    string
	Of      func(*Tally) (n uint64, known bool) // durations in nanoseconds
}

// Amounts is all of them, in the order to show them.
var Amounts = []Amount{
	{"bytes", "SIZE", "bytes>1MB", "device bytes, both directions", both(func(c *Counters) uint64 { return c.Bytes })},
	{"payload", "SIZE", "payload>=64KiB", "payload bytes, both directions", both(func(c *Counters) uint64 { return c.PayloadBytes })},
	{"packets", "N", "packets>1k", "device packets, both directions", both(func(c *Counters) uint64 { return c.Packets })},
	{"skbs", "N", "skbs<10", "skbs, both directions", both(func(c *Counters) uint64 { return c.SKBs })},
	{"retransmits", "N", "retransmits>0", "TCP segments sent again, both directions", both(func(c *Counters) uint64 { return c.Retransmits })},
	{"turn", "DURATION", "turn>5ms", "the longest time to an answer's beginning; unknown never matches",
		func(t *Tally) (uint64, bool) { return uint64(t.Turn.Max), t.Turn.Count > 0 }},
	{"response", "DURATION", "response>1s", "the longest time to an answer's end; unknown never matches",
		func(t *Tally) (uint64, bool) { return uint64(t.Response.Max), t.Response.Count > 0 }},
	{"turns", "N", "turns>100", "requests that were answered", func(t *Tally) (uint64, bool) { return t.Turn.Count, true }},
	{"errors", "N", "errors>0", "refused connections, resets and lost datagrams",
		func(t *Tally) (uint64, bool) { return t.Health.Errors(), true }},
}

func both(of func(*Counters) uint64) func(*Tally) (uint64, bool) {
	return func(t *Tally) (uint64, bool) { return of(&t.ToServer) + of(&t.ToClient), true }
}
