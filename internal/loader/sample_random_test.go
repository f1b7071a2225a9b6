package loader

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// within reports whether n is within four standard deviations of one in oneIn of total.
func within(n, total, oneIn float64) bool {
	p := 1 / oneIn
	return math.Abs(n-total*p) <= 4*math.Sqrt(total*p*(1-p))
}

func TestSampleOneIn(t *testing.T) {
	const packets = 1_000_000
	for _, oneIn := range []uint32{3, 100} {
		t.Run(fmt.Sprint(oneIn), func(t *testing.T) {
			config := reading.SampleConfig{Policies: reading.SampleRandom, OneIn: oneIn, Snaplen: 64}
			eachSampling(t, config, nil, func(t *testing.T, b *bench) {
				b.repeat(t, testkit.Packet(testkit.UDP()), packets)
				counts, err := b.SampleCounts()
				if runs := b.runs(t); err != nil || runs < packets || !within(float64(counts.Seen), float64(runs), float64(oneIn)) {
					t.Errorf("one in %d of %d: %+v, %v", oneIn, runs, counts, err)
				}
				all := b.readSamples(t)
				if counts.Taken != uint64(len(all)) || counts.Seen != counts.Taken+counts.Full || len(all) == 0 {
					t.Errorf("%d samples: %+v", len(all), counts)
				}
				for _, s := range all {
					if s.OneIn != oneIn || s.Why != reading.SampleRandom {
						t.Fatalf("%+v", s)
					}
				}
			})
		})
	}
}

// A flow is sampled whole, both directions and all its packets, or not at all; another run chooses others.
func TestSampleWholeFlows(t *testing.T) {
	const flows, packets, oneIn = 900, 4, 5
	config := reading.SampleConfig{Policies: reading.SampleFlows, OneIn: oneIn}
	eachSampling(t, config, nil, func(t *testing.T, b *bench) {
		runs := [2]map[reading.SlotKey]int{}
		for run := range runs {
			runs[run] = make(map[reading.SlotKey]int)
			b := newBench(t, sampling(b.kind, config))
			for i := range flows * packets {
				client := fmt.Sprintf("127.0.0.1:%d", 40000+i%flows)
				if i/flows%2 == 0 {
					b.pass(t, testkit.Packet(testkit.From(client), testkit.UDP()))
				} else {
					b.pass(t, testkit.Packet(back, testkit.To(client), testkit.UDP()))
				}
			}
			for _, s := range b.readSamples(t) {
				runs[run][s.Key]++
				if s.OneIn != oneIn || s.Why != reading.SampleFlows {
					t.Fatalf("%+v", s)
				}
			}
			for key, n := range runs[run] {
				if n != packets {
					t.Errorf("%d of %d packets of %v", n, packets, key)
				}
			}
			if n := len(runs[run]); !within(float64(n), flows, oneIn) {
				t.Errorf("%d of %d flows", n, flows)
			}
		}
		if cmp.Equal(runs[0], runs[1]) {
			t.Error("two runs chose the same flows")
		}
	})
}
