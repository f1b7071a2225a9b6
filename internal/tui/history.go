package tui

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// slots is how many frames a history goes back: a minute, a second each.
const slots = 60

// sample is what a row did in one frame.
type sample struct {
	frame              uint64 // which; another one's is none of ours
	toServer, toClient uint64 // bytes
	turns, errors      uint64
}

// history is a row's last frames. Its memory does not grow.
type history struct {
	ring  [slots]sample
	turns *[slots]spans // nil while there never was one
}

// spans is a latency of one frame, without the buckets that are empty.
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

// set says what the frame was; once more replaces it.
func (h *history) set(s sample, turn *model.Latency) {
	at := s.frame % slots
	h.ring[at] = s
	if turn.Count == 0 {
		if h.turns != nil {
			h.turns[at].frame = 0
		}
		return
	}
	if h.turns == nil {
		h.turns = new([slots]spans)
	}
	kept := &h.turns[at]
	bins := kept.bins[:0]
	from, to := model.Bucket(turn.Min), model.Bucket(turn.Max)
	for bucket := from; bucket <= to; bucket++ {
		if n := turn.Histogram[bucket]; n > 0 {
			bins = append(bins, bin{n, bucket})
		}
	}
	*kept = spans{s.frame, turn.Sum, turn.Min, turn.Max, turn.Count, bins}
}

// at is the sample of a frame; what is not known is nothing.
func (h *history) at(frame uint64) sample {
	if s := h.ring[frame%slots]; s.frame == frame {
		return s
	}
	return sample{frame: frame}
}

// sum adds up frames up to and including the last one.
func (h *history) sum(last uint64, frames int) (s sample) {
	for frame := last; frames > 0 && frame > 0; frame, frames = frame-1, frames-1 {
		one := h.at(frame)
		s.toServer += one.toServer
		s.toClient += one.toClient
		s.turns += one.turns
		s.errors += one.errors
	}
	return s
}

// latency merges the turns of as many frames into l, which keeps its memory.
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

// clock knows how long the last frames were.
type clock struct {
	frame     uint64 // the newest, from 1
	durations [slots]time.Duration
	counts    [slots]model.Count // totals
}

func (c *clock) tick(s *model.Snapshot) {
	c.frame++
	c.durations[c.frame%slots], c.counts[c.frame%slots] = s.Duration, s.Totals
}

// rate is what so many in a frame are per second.
func (c *clock) rate(frame, count uint64) uint64 {
	seconds := c.durations[frame%slots].Seconds()
	if seconds <= 0 {
		return 0
	}
	return uint64(float64(count)/seconds + 0.5)
}

// lasting is how long so many of the newest frames were.
func (c *clock) lasting(frames int) (d time.Duration) {
	for frame := c.frame; frame > 0 && frames > 0; frame, frames = frame-1, frames-1 {
		d += c.durations[frame%slots]
	}
	return d
}

// window returns how many of the newest frames make up about d, how long they really were, and what was
// counted in them.
func (c *clock) window(d time.Duration) (frames int, truly time.Duration, total model.Count) {
	const slack = 20 // a frame that is a twentieth short will do
	for frame := c.frame; frame > 0 && frames < slots && truly < d-d/slack; frame-- {
		truly += c.durations[frame%slots]
		total.Add(c.counts[frame%slots])
		frames++
	}
	return frames, truly, total
}
