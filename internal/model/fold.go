package model

import (
	"cmp"
	"slices"
	"time"
)

// Folder makes of windows what one longer window would have been. Each begins where the one before it ends, at the same
// sites. What adds up is the sum, exactly: counters, histograms, health, causes. What was true at a moment, such as
// queues, round trips, states and roles, is what the newest window says; a flow without a row in it keeps what was said
// of it last. Extremes are equal to their bucket, since those of a turn at the edge may be in either window. A flow that
// was hidden in two windows counts twice in Hidden.Flows. Of slow turns the bounds of one window hold.
// A window more costs what that window has, whatever was folded before. The zero value has folded none.
type Folder struct {
	window *Window // nil: none
	rows   foldedRows
}

// Add folds the next window. It keeps of it owners, health, sites and slow turns, which nobody changes, and nothing
// that is lent.
func (f *Folder) Add(next *Window) {
	f.rows.fold(next.Flows)
	if f.window == nil {
		first := *next
		first.Flows = &f.rows.flows
		f.window = &first
		return
	}
	w := f.window
	w.Listening = w.Listening.fold(next)
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

// Window returns what was folded, valid until the next call of Add; nil if that is nothing.
func (f *Folder) Window() *Window {
	if f.window != nil {
		f.rows.findQueues(f.window.Listening)
	}
	return f.window
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
