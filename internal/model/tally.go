package model

// Tally is everything that adds up of one flow, or of all flows of a row, over one window. The zero value is
// that of a window in which nothing happened.
type Tally struct {
	ToServer  Counters
	ToClient  Counters
	Turn      Latency // a request's last payload to its answer's first
	Response  Latency // a request's last payload to its answer's last
	Connect   Latency // TCP handshakes that ended in the window, from the SYN
	Crossed   uint64  // requests that did not wait for the whole answer before them
	Health    *Health // nil: nothing went wrong, and nothing waits
	Breakdown Breakdown
}

// Add adds o to t, which keeps nothing of o. Adding is exact and associative, whatever the order.
func (t *Tally) Add(o *Tally) {
	t.ToServer.Add(o.ToServer)
	t.ToClient.Add(o.ToClient)
	t.Turn.Add(&o.Turn)
	t.Response.Add(&o.Response)
	t.Connect.Add(&o.Connect)
	t.Crossed += o.Crossed
	t.Breakdown.Add(&o.Breakdown)
	if o.Health != nil {
		if t.Health == nil {
			t.Health = new(Health)
		}
		t.Health.Add(o.Health)
	}
}

// IsZero reports whether nothing was counted.
func (t *Tally) IsZero() bool {
	return t.ToServer == (Counters{}) && t.ToClient == (Counters{}) &&
		t.Turn.Count == 0 && t.Response.Count == 0 && t.Connect.Count == 0 && t.Crossed == 0 &&
		t.Health == nil && t.Breakdown == (Breakdown{})
}

// Clone returns a Tally that shares no memory with t.
func (t *Tally) Clone() Tally {
	c := *t
	c.Turn, c.Response, c.Connect = t.Turn.Clone(), t.Response.Clone(), t.Connect.Clone()
	c.Health = t.Health.Clone()
	return c
}

// turnRound exchanges the ends: what the client did becomes what the server did.
func (t *Tally) turnRound() {
	t.ToServer, t.ToClient = t.ToClient, t.ToServer
	if t.Health != nil {
		t.Health.Client, t.Health.Server = t.Health.Server, t.Health.Client
	}
}
