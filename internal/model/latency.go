package model

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// Latency histograms are log-linear: eight buckets an octave, from 512 ns to 137 s; what lies outside
// is in the first or the last. The numbers are those of bpf/lotrace.h.
const (
	HistogramBuckets = 8 * histogramOctaves
	histogramOctaves = 28
	histogramShift   = 9
)

// Bucket is the bucket that d is counted in; negative is 0.
func Bucket(d time.Duration) int {
	ns := uint64(max(d, 0))
	octave := bits.Len64(ns>>histogramShift) - 1
	switch {
	case octave < 0:
		return 0
	case octave >= histogramOctaves:
		return HistogramBuckets - 1
	}
	return octave*8 + int(ns>>(octave+histogramShift-3)&7)
}

// BucketBounds returns the bucket's bounds; high belongs to the next.
func BucketBounds(bucket int) (low, high time.Duration) {
	step := time.Duration(1) << (bucket/8 + histogramShift - 3)
	low = step * time.Duration(8+bucket%8)
	return low, low + step
}

// Latency sums up turns or responses of one window. Count, Sum, Min and Max are exact, quantiles within
// 6 %. The zero value is none.
type Latency struct {
	Count     uint64
	Sum       time.Duration
	Min, Max  time.Duration
	Histogram []uint64 // HistogramBuckets long; nil while Count is 0, and in a Single
}

// Single is one latency of length d, without a histogram of its own.
func Single(d time.Duration) Latency { return Latency{Count: 1, Sum: d, Min: d, Max: d} }

// Add merges o into l, which keeps its own histogram.
func (l *Latency) Add(o *Latency) {
	if o.Count == 0 {
		return
	}
	if l.Count == 0 {
		l.Min, l.Max = o.Min, o.Max
	}
	into := l.buckets()
	l.Min, l.Max = min(l.Min, o.Min), max(l.Max, o.Max)
	l.Count += o.Count
	l.Sum += o.Sum
	if o.Histogram == nil {
		into[Bucket(o.Min)] += o.Count
		return
	}
	from, to := Bucket(o.Min), Bucket(o.Max)+1
	into = into[from:to]
	for i, n := range o.Histogram[from:to] {
		into[i] += n
	}
}

// buckets returns the histogram, which it makes if there is none yet.
func (l *Latency) buckets() []uint64 {
	if l.Histogram == nil {
		l.Histogram = make([]uint64, HistogramBuckets)
		if l.Count > 0 {
			l.Histogram[Bucket(l.Min)] = l.Count
		}
	}
	return l.Histogram
}

// Clone returns a Latency with a histogram of its own.
func (l *Latency) Clone() Latency {
	c := *l
	c.Histogram = slices.Clone(l.Histogram)
	return c
}

// Quantile returns the duration that a share q (0 to 1) of all did not exceed, within 6 % (nearest
// rank); 0 if there are none.
func (l *Latency) Quantile(q float64) time.Duration {
	if l.Count == 0 {
		return 0
	}
	rank := uint64(max(1, math.Ceil(q*float64(l.Count))))
	for bucket, n := range l.Histogram {
		if n < rank {
			rank -= n
			continue
		}
		low, high := BucketBounds(bucket)
		// As far from both bounds, relative to what is reported.
		middle := time.Duration(2 * float64(low) * float64(high) / float64(low+high))
		return min(max(middle, l.Min), l.Max)
	}
	return l.Max
}
