package model

import (
	"cmp"
	"slices"
	"time"
)

// Fold makes w what one longer window would have been: w and next, which begins where w ends, at the same
// sites. What adds up is the sum, exactly: counters, histograms, health, causes. What was true at a moment,
// such as queues, round trips, states and roles, is what next says; a flow without a row in next keeps what w
// said of it. Extremes are equal to their bucket, since those of a turn at the edge may be in either window.
// A flow that was hidden in both counts twice in Hidden.Flows. Of slow turns the bounds of one window hold.
// W keeps of next its owners, health, sites and slow turns, which nobody changes.
func (w *Window) Fold(next *Window) {
	w.Listening = w.Listening.fold(next)
	w.Flows = foldFlows(w.Flows, next.Flows, w.Listening)
	w.add(next)
	w.Self = w.Self.fold(&next.Self, w.Duration, next.Duration)
	w.End = next.End
	w.Duration += next.Duration
	w.Origin = next.Origin
	switch {
	case w.Device == nil || next.Device == nil:
		w.Device = nil
	default:
		counted := w.Totals
		counted.Add(w.Hidden.Count)
		w.Device = NewDevice(w.Device.Start, next.Device.End, counted)
	}
}

// Join adds what other sites counted in the same time as w. Rows of one site never meet those of another.
func (w *Window) Join(other *Window) {
	w.Origin.Sites = slices.Concat(w.Origin.Sites, other.Origin.Sites)
	slices.SortFunc(w.Origin.Sites, func(a, b Site) int { return cmp.Compare(a.Number, b.Number) })
	w.Listening = w.Listening.join(other.Listening)
	w.Flows = w.Flows.Clone()
	for f := range other.Flows.All() {
		w.Flows.Append(f)
	}
	w.add(other)
	switch {
	case w.Device == nil || other.Device == nil:
		w.Device = nil
	default:
		d := *w.Device
		d.Packets += other.Device.Packets
		d.Bytes += other.Device.Bytes
		d.Dropped += other.Device.Dropped
		d.Agrees = d.Agrees && other.Device.Agrees
		d.Start.add(&other.Device.Start)
		d.End.add(&other.Device.End)
		w.Device = &d
	}
}

// add adds what adds up alike, whether other is of later time or of other sites.
func (w *Window) add(other *Window) {
	w.Totals.Add(other.Totals)
	w.Overflow.Add(other.Overflow)
	causes := make(map[string]Count, len(w.ByCause))
	for _, of := range []map[string]Count{w.ByCause, other.ByCause} {
		for cause, count := range of {
			sum := causes[cause]
			sum.Add(count)
			causes[cause] = sum
		}
	}
	w.ByCause = causes
	w.Hidden.Flows += other.Hidden.Flows
	w.Hidden.Add(other.Hidden.Count)
	w.Unmeasured += other.Unmeasured
	w.Uncounted += other.Uncounted
	w.Samples = w.Samples.add(other.Samples)
	w.QueuesFailed = cmp.Or(w.QueuesFailed, other.QueuesFailed)
	w.Stages = w.Stages.add(other.Stages)
	w.addSlow(other)
}

func (s *DeviceSpan) add(o *DeviceSpan) {
	s.Before.Add(o.Before)
	s.After.Add(o.After)
}

// add returns the sum; nil if either is unknown.
func (s *Stages) add(o *Stages) *Stages {
	if s == nil || o == nil {
		return nil
	}
	sum := *s
	sum.Egress.Add(o.Egress)
	sum.Ingress.Add(o.Ingress)
	return &sum
}

func (c SampleCounts) add(o SampleCounts) SampleCounts {
	return SampleCounts{
		Seen: c.Seen + o.Seen, Taken: c.Taken + o.Taken,
		Budget: c.Budget + o.Budget, Full: c.Full + o.Full, Failed: c.Failed + o.Failed,
	}
}

// fold weighs what is said per time by the time, took and tookNext.
func (s Self) fold(next *Self, took, tookNext time.Duration) Self {
	folded := *next
	if all := took + tookNext; all > 0 {
		folded.CPUPercent = (s.CPUPercent*took.Seconds() + next.CPUPercent*tookNext.Seconds()) / all.Seconds()
	}
	return folded
}

// addSlow merges the slow turns, newest first, within the bounds of one window.
func (w *Window) addSlow(other *Window) {
	w.SlowFrom = max(w.SlowFrom, other.SlowFrom)
	w.SlowLost += other.SlowLost
	if len(other.Slow) == 0 {
		return
	}
	all := slices.Concat(w.Slow, other.Slow)
	SortSlow(all)
	slices.Reverse(all)
	kept, lost := KeepSlow(all, func(t *SlowTurnRow) time.Duration { return t.Turn })
	SortSlow(kept)
	w.Slow, w.SlowLost = kept, w.SlowLost+lost
}

// fold returns the queues of those who listen at the end of next, over both windows. Where next does not know its
// queues they are what they were.
func (l Listening) fold(next *Window) Listening {
	if next.QueuesFailed != nil && len(next.Listening) == 0 {
		return l
	}
	folded := make(Listening, len(next.Listening))
	for _, queues := range next.Listening {
		for _, newer := range queues {
			queue := *newer
			if older := l.At(queue.ListenKey); older != nil {
				queue.Overflows += older.Overflows
			}
			folded.Add(&queue)
		}
	}
	return folded
}

// join returns the queues of both, which are at other sites.
func (l Listening) join(other Listening) Listening {
	joined := make(Listening, max(len(l), len(other)))
	for _, all := range []Listening{l, other} {
		for port, queues := range all {
			joined[port] = append(joined[port], queues...)
		}
	}
	return joined
}

// foldFlows returns the rows of both windows, one of each flow.
func foldFlows(older, newer *Flows, listening Listening) *Flows {
	parts := make(map[int][]int) // of a row of older: rows of newer that go on with it
	alone := newer.continuing(older, parts)
	folded := new(Flows)
	folded.Grow(older.Len() + len(alone))
	add := func(f *Flow) {
		if f.Proto == ProtoTCP {
			f.AcceptQueue = listening.Of(f.Site, f.Server.AddrPort())
		}
		folded.Append(f)
	}
	for i := range older.Len() {
		f := older.At(i)
		if len(parts[i]) > 0 {
			sum := f.Clone()
			for _, j := range parts[i] {
				sum.fold(newer.At(j))
			}
			f = &sum
		}
		add(f)
	}
	for _, j := range alone {
		add(newer.At(j))
	}
	return folded
}

// continuing puts into parts, by row of older, the rows of p that are of the same flow, in their order, and
// returns the others. A row goes on with the flow that began when it did; where nobody saw it begin, with the
// newest older row of its key, as it would within one window.
func (p *Flows) continuing(older *Flows, parts map[int][]int) (alone []int) {
	newest := make(map[FlowKey]int, older.Len()) // row
	before := make([]int, older.Len())           // by row: the one of the same key before it; -1: none
	for i := range before {
		key := older.key(i)
		before[i] = -1
		if same, ok := newest[key]; ok {
			before[i] = same
		}
		newest[key] = i
	}
	for j := range p.Len() {
		row, at := &p.rows[j], -1
		i, ok := newest[p.key(j)]
		for ; ok && i >= 0; i = before[i] {
			began := older.rows[i].began
			if began == row.began {
				at = i
				break
			}
			if p.roles[row.role] != RoleSYN && began < row.began && (at < 0 || began > older.rows[at].began) {
				at = i
			}
		}
		if at < 0 {
			alone = append(alone, j)
			continue
		}
		parts[at] = append(parts[at], j)
	}
	return alone
}

// fold makes f what one row over its window and the next one would have been; next goes on with f's flow.
func (f *Flow) fold(next *Flow) {
	sameSlot := f.BeganNS == next.BeganNS
	older := *f
	*f = *next
	turned := older.Client.AddrPort() != next.Client.AddrPort()
	if turned {
		older.turnRound()
	}
	f.Tally = older.Tally
	f.Tally.fold(&next.Tally)
	f.foldPath(&older)
	if !sameSlot { // the first part saw how the flow began, and who is the client
		f.RoleSource = older.RoleSource
		f.Handshake, f.Accept, f.FirstByte = older.Handshake, older.Accept, older.FirstByte
		if turned {
			f.turnRound()
		}
	}
	f.BeganNS, f.FirstSeen = older.BeganNS, older.FirstSeen
	f.Judge()
}

// foldPath takes from the older row, its ends in the same order, what this one does not know.
func (f *Flow) foldPath(older *Flow) {
	for i := range f.TCPFlags {
		f.TCPFlags[i] |= older.TCPFlags[i]
	}
	if older.LastNS[0] > f.LastNS[0] { // an end that sent nothing in this part says nothing of its path
		f.LastNS[0], f.ClientSRTT, f.ClientCwnd = older.LastNS[0], older.ClientSRTT, older.ClientCwnd
	}
	if older.LastNS[1] > f.LastNS[1] {
		f.LastNS[1], f.ServerSRTT, f.ServerCwnd = older.LastNS[1], older.ServerSRTT, older.ServerCwnd
	}
	if older.LastSeen.After(f.LastSeen) {
		f.LastSeen = older.LastSeen
	}
	if f.Client.Owner == nil {
		f.Client.Owner = older.Client.Owner
	}
	if f.Server.Owner == nil {
		f.Server.Owner = older.Server.Owner
	}
}

// turnRound makes the client the server.
func (f *Flow) turnRound() {
	f.Client, f.Server = f.Server, f.Client
	f.ClientSRTT, f.ServerSRTT = f.ServerSRTT, f.ClientSRTT
	f.ClientCwnd, f.ServerCwnd = f.ServerCwnd, f.ClientCwnd
	f.TCPFlags[0], f.TCPFlags[1] = f.TCPFlags[1], f.TCPFlags[0]
	f.LastNS[0], f.LastNS[1] = f.LastNS[1], f.LastNS[0]
	f.Tally.turnRound()
}

// fold adds what adds up, and takes over what next says of its end.
func (t *Tally) fold(next *Tally) {
	t.Add(next)
	if t.Health == nil {
		return
	}
	for _, end := range []struct{ to, from *EndHealth }{
		{&t.Health.Client, next.Health.client()}, {&t.Health.Server, next.Health.server()},
	} {
		end.to.ReceiveQueue, end.to.SendQueue = end.from.ReceiveQueue, end.from.SendQueue
	}
	if t.Health.IsZero() {
		t.Health = nil
	}
}

func (h *Health) client() *EndHealth {
	if h == nil {
		return new(EndHealth)
	}
	return &h.Client
}

func (h *Health) server() *EndHealth {
	if h == nil {
		return new(EndHealth)
	}
	return &h.Server
}
