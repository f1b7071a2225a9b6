package model

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// record adds one of length d.
func record(l *Latency, d time.Duration) {
	one := Single(d)
	l.Add(&one)
}

// Each bucket holds all from its low bound on, up to what the next one holds.
func TestBucketBounds(t *testing.T) {
	for bucket := range HistogramBuckets {
		low, high := BucketBounds(bucket)
		for _, d := range []time.Duration{low, (low + high) / 2, high - 1} {
			if got := Bucket(d); got != bucket {
				t.Errorf("%d ns: got bucket %d, want %d", d, got, bucket)
			}
		}
		if bucket == HistogramBuckets-1 {
			break
		}
		if next, _ := BucketBounds(bucket + 1); next != high {
			t.Errorf("bucket %d ends at %d ns, the next begins at %d", bucket, high, next)
		}
		if got := Bucket(high); got != bucket+1 {
			t.Errorf("%d ns: got bucket %d, want %d", high, got, bucket+1)
		}
	}
}

func TestBucketRange(t *testing.T) {
	first, _ := BucketBounds(0)
	_, last := BucketBounds(HistogramBuckets - 1)
	if first != 1<<9 || last != 1<<37 {
		t.Errorf("got a range from %d to %d ns, want 2^9 to 2^37", first, last)
	}
	for d, want := range map[time.Duration]int{
		math.MinInt64: 0, -1: 0, 0: 0, first - 1: 0,
		last: HistogramBuckets - 1, time.Hour: HistogramBuckets - 1, math.MaxInt64: HistogramBuckets - 1,
	} {
		if got := Bucket(d); got != want {
			t.Errorf("%d ns: got bucket %d, want %d", d, got, want)
		}
	}
}

// counted counts all samples at once, the plain way.
func counted(samples []time.Duration) Latency {
	l := Latency{
		Count: uint64(len(samples)), Min: slices.Min(samples), Max: slices.Max(samples),
		Histogram: make([]uint64, HistogramBuckets),
	}
	for _, d := range samples {
		l.Sum += d
		l.Histogram[Bucket(d)]++
	}
	return l
}

// spread returns n durations between 1 µs and 100 s, as many short as long ones.
func spread(r *rand.Rand, n int) []time.Duration {
	samples := make([]time.Duration, n)
	for i := range samples {
		samples[i] = time.Duration(1e3 * math.Pow(1e8, r.Float64()))
	}
	return samples
}

func TestLatencyAddIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var all []time.Duration
		var merged Latency
		for range 1 + r.IntN(9) {
			part := spread(r, 1+r.IntN(200))
			all = append(all, part...)
			l := counted(part)
			merged.Add(&l)
			merged.Add(&Latency{})
			if !reflect.DeepEqual(l, counted(part)) {
				t.Fatal("what was added has changed")
			}
		}
		if want := counted(all); !reflect.DeepEqual(merged, want) {
			t.Fatalf("got  %+v\nwant %+v", merged, want)
		}
	}
	var none Latency
	none.Add(&Latency{})
	if !reflect.DeepEqual(none, Latency{}) {
		t.Errorf("nothing and nothing: got %+v", none)
	}
}

// Rows are merged into rows of other rows: none may end up with another's histogram.
func TestLatencyAddSharesNothing(t *testing.T) {
	one := counted([]time.Duration{time.Millisecond})
	var a, b Latency
	a.Add(&one)
	b.Add(&one)
	b.Add(&one)
	if a.Histogram[Bucket(time.Millisecond)] != 1 || one.Histogram[Bucket(time.Millisecond)] != 1 {
		t.Errorf("got %+v and %+v, want one turn in each", a, one)
	}
}

func TestQuantileError(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	shapes := map[string]func(n int) []time.Duration{
		"any length": func(n int) []time.Duration { return spread(r, n) },
		"one length": func(n int) []time.Duration { return slices.Repeat(spread(r, 1), n) },
		"uniform": func(n int) []time.Duration {
			samples := make([]time.Duration, n)
			for i := range samples {
				samples[i] = time.Millisecond + time.Duration(r.Int64N(49e6))
			}
			return samples
		},
		"a few slow ones": func(n int) []time.Duration {
			samples := slices.Repeat([]time.Duration{time.Millisecond}, n)
			for i := 0; i < n; i += 100 {
				samples[i] = 200 * time.Millisecond
			}
			return samples
		},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				samples := shape(1 + r.IntN(2_000))
				l := counted(samples)
				slices.Sort(samples)
				for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
					rank := max(1, int(math.Ceil(q*float64(len(samples)))))
					got, want := float64(l.Quantile(q)), float64(samples[rank-1])
					if math.Abs(got-want) > 0.06*want {
						t.Fatalf("%g of %d: got %v, want %v", q, len(samples), l.Quantile(q), samples[rank-1])
					}
				}
			}
		})
	}
}

func TestQuantileBeyondRange(t *testing.T) {
	if got := (&Latency{}).Quantile(0.5); got != 0 {
		t.Errorf("of none: got %v, want 0", got)
	}
	for _, d := range []time.Duration{0, 100, time.Hour} {
		l := counted([]time.Duration{d, d})
		if got := l.Quantile(0.5); got != d {
			t.Errorf("%v, twice: got a median of %v", d, got)
		}
	}
}
