package tui

import (
	"cmp"
	"slices"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// slots is how many frames a history goes back: a minute, a second each. Shorter ones share a slot until it
// has lasted wholeSlot, which leaves a tick that comes early its own.
const (
	slots     = 60
	wholeSlot = 950 * time.Millisecond
)

// sample is what a row did in one slot, or in several.
type sample struct {
	toServer, toClient uint64 // bytes
	turns, errors      uint64
}

// history is a row's last slots. Its memory does not grow, but for what many rows never have.
type history struct {
	tick   uint64 // the frame that was put in last
	ring   [slots]traffic
	errors *[slots]uint64 // beside the ring; nil while there never was one
	turns  *[slots]spans  // nil while there never was one
}

// traffic is the bytes of one slot.
type traffic struct {
	frame              uint64 // which slot; another one's is none of ours
	toServer, toClient uint64
}

// spans is a latency of one slot, without the buckets that are empty.
type spans struct {
	frame    uint64
	sum      time.Duration
	min, max time.Duration
	count    uint64
	bins     []bin
}

type bin struct {
	count  uint64
	bucket int
}

// put adds the clock's newest frame, of turns those of turn, to its slot. Once more replaces it where it has the slot for itself,
// and changes nothing where it has not.
func (h *history) put(c *clock, s sample, turn *model.Latency) {
	at := c.frame % slots
	again := h.tick == c.tick
	h.tick = c.tick
	shared := c.before > 0 && h.ring[at].frame == c.frame
	switch {
	case shared && again:
		return
	case !shared:
		h.clear(at)
	}
	slot := &h.ring[at]
	slot.frame = c.frame
	slot.toServer += s.toServer
	slot.toClient += s.toClient
	if s.errors > 0 {
		if h.errors == nil {
			h.errors = new([slots]uint64)
		}
		h.errors[at] += s.errors
	}
	if turn.Count == 0 {
		return
	}
	if h.turns == nil {
		h.turns = new([slots]spans)
	}
	h.turns[at].add(c.frame, turn)
}

func (h *history) clear(at uint64) {
	h.ring[at] = traffic{}
	if h.errors != nil {
		h.errors[at] = 0
	}
	if h.turns != nil {
		h.turns[at].clear()
	}
}

// clone is a history that goes on by itself.
func (h *history) clone() *history {
	c := *h
	if h.errors != nil {
		errors := *h.errors
		c.errors = &errors
	}
	if h.turns != nil {
		turns := *h.turns
		for i := range turns {
			turns[i].bins = slices.Clone(turns[i].bins)
		}
		c.turns = &turns
	}
	return &c
}

func (s *sample) add(o sample) {
	s.toServer += o.toServer
	s.toClient += o.toClient
	s.turns += o.turns
	s.errors += o.errors
}

// clear gives the memory back: what was kept for the next turn around would, in time, be what the widest
// spread of latencies ever took, sixty times over for each row.
func (s *spans) clear() { *s = spans{} }

func (s *spans) add(frame uint64, turn *model.Latency) {
	if s.frame != frame {
		s.clear()
		s.frame, s.min, s.max = frame, turn.Min, turn.Max
	}
	s.min, s.max = min(s.min, turn.Min), max(s.max, turn.Max)
	s.sum += turn.Sum
	s.count += turn.Count
	from, to := model.Bucket(turn.Min), model.Bucket(turn.Max)
	if s.bins == nil {
		s.bins = make([]bin, 0, filled(turn.Histogram[from:to+1]))
	}
	for bucket := from; bucket <= to; bucket++ {
		n := turn.Histogram[bucket]
		if n == 0 {
			continue
		}
		at, known := slices.BinarySearchFunc(s.bins, bucket, func(b bin, bucket int) int { return cmp.Compare(b.bucket, bucket) })
		if !known {
			s.bins = slices.Insert(s.bins, at, bin{bucket: bucket})
		}
		s.bins[at].count += n
	}
}

// filled is how many buckets are not empty.
func filled(buckets []uint64) (n int) {
	for _, count := range buckets {
		if count != 0 {
			n++
		}
	}
	return n
}

// at is the sample of a slot; what is not known is nothing.
func (h *history) at(frame uint64) sample {
	at := frame % slots
	if h.ring[at].frame != frame {
		return sample{}
	}
	s := sample{toServer: h.ring[at].toServer, toClient: h.ring[at].toClient}
	if h.errors != nil {
		s.errors = h.errors[at]
	}
	if h.turns != nil {
		s.turns = h.turns[at].count
	}
	return s
}

// sum adds up slots up to and including the last one.
func (h *history) sum(last uint64, frames int) (s sample) {
	for frame := last; frames > 0 && frame > 0; frame, frames = frame-1, frames-1 {
		s.add(h.at(frame))
	}
	return s
}

// latency merges the turns of as many slots into l, which keeps its memory.
func (h *history) latency(last uint64, frames int, l *model.Latency) {
	buckets := l.Histogram
	if buckets == nil {
		buckets = make([]uint64, model.HistogramBuckets)
	}
	clear(buckets)
	*l = model.Latency{Histogram: buckets}
	if h.turns == nil {
		return
	}
	for frame := last; frames > 0 && frame > 0; frame, frames = frame-1, frames-1 {
		s := &h.turns[frame%slots]
		if s.frame != frame {
			continue
		}
		if l.Count == 0 {
			l.Min, l.Max = s.min, s.max
		}
		l.Min, l.Max = min(l.Min, s.min), max(l.Max, s.max)
		l.Count += s.count
		l.Sum += s.sum
		for _, b := range s.bins {
			buckets[b.bucket] += b.count
		}
	}
}

// clock knows how long the last slots were.
type clock struct {
	tick      uint64        // frames so far
	frame     uint64        // the newest slot, from 1
	before    time.Duration // how long that had lasted when the newest frame came into it
	durations [slots]time.Duration
	counts    [slots]model.Count // totals
}

// moment is where in its slot something began.
type moment struct {
	frame  uint64
	before time.Duration
}

func (c *clock) now() moment { return moment{c.frame, c.before} }

func (m moment) compare(o moment) int {
	return cmp.Or(cmp.Compare(m.frame, o.frame), cmp.Compare(m.before, o.before))
}

func (c *clock) take(s *model.Window) {
	c.tick++
	at := c.frame % slots
	if c.frame > 0 && c.durations[at] < wholeSlot {
		c.before = c.durations[at]
	} else {
		c.frame++
		c.before, at = 0, c.frame%slots
		c.durations[at], c.counts[at] = 0, model.Count{}
	}
	c.durations[at] += s.Duration
	c.counts[at].Add(s.Totals)
}

// rate is what so many in a slot are per second.
func (c *clock) rate(frame, count uint64) uint64 {
	seconds := c.durations[frame%slots].Seconds()
	if seconds <= 0 {
		return 0
	}
	return uint64(float64(count)/seconds + 0.5)
}

// lasting is how long so many of the newest slots were.
func (c *clock) lasting(frames int) (d time.Duration) {
	for frame := c.frame; frame > 0 && frames > 0; frame, frames = frame-1, frames-1 {
		d += c.durations[frame%slots]
	}
	return d
}

// window returns how many of the newest slots make up about d, how long they really were, and what was
// counted in them.
func (c *clock) window(d time.Duration) (frames int, truly time.Duration, total model.Count) {
	slack := min(d/20, time.Second/2) // so much less will do: ticks are not quite even
	for frame := c.frame; frame > 0 && frames < slots && truly < d-slack; frame-- {
		truly += c.durations[frame%slots]
		total.Add(c.counts[frame%slots])
		frames++
	}
	return frames, truly, total
}
