package model

// SampleCounts says what became of the packets that a policy asked for, cumulative:
// Seen = Taken + Budget + Full + Failed.
type SampleCounts struct {
	Seen   uint64
	Taken  uint64
	Budget uint64 // the budget of the second was used up
	Full   uint64 // the buffer had no room
	Failed uint64 // the kernel could not copy it
}

// Sub returns c less o; both cumulative, o the older.
func (c SampleCounts) Sub(o SampleCounts) SampleCounts {
	return SampleCounts{
		Seen: c.Seen - o.Seen, Taken: c.Taken - o.Taken,
		Budget: c.Budget - o.Budget, Full: c.Full - o.Full, Failed: c.Failed - o.Failed,
	}
}

// Lost is how many were asked for and not taken.
func (c SampleCounts) Lost() uint64 { return c.Budget + c.Full + c.Failed }
