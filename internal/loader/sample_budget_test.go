package loader

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// storm runs the program on two CPUs for so long, as fast as it goes. Of the time that it took, the machine stood
// still for some.
func (b *bench) storm(t *testing.T, frame []byte, long time.Duration) (took, still time.Duration) {
	t.Helper()
	const each, pause = 200, int64(5 * time.Millisecond)
	began := time.Now()
	var last, stood atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for time.Since(began) < long {
				if _, err := b.program.Run(&ebpf.RunOptions{Data: frame, Repeat: each}); err != nil {
					t.Error(err)
					return
				}
				now := int64(time.Since(began))
				if gap := now - last.Swap(now); gap > pause {
					stood.Add(gap)
				}
			}
		})
	}
	workers.Wait()
	return time.Since(began), time.Duration(stood.Load())
}

// Under far more than ten times what the budget allows, it is kept in any second to within 5 %, and what it
// refused is counted to the one.
func TestSampleBudget(t *testing.T) {
	const long = 1200 * time.Millisecond
	frame := testkit.Packet(testkit.UDP(), testkit.Payload(958)) // 1000 bytes
	for name, c := range map[string]struct {
		config reading.SampleConfig
		rate   float64 // samples a second
	}{
		"samples":            {reading.SampleConfig{PerSecond: 20_000, Snaplen: 64}, 20_000},
		"bytes":              {reading.SampleConfig{BytesPerSecond: 3_000_000}, 3000},
		"both, samples less": {reading.SampleConfig{PerSecond: 1000, BytesPerSecond: 3_000_000}, 1000},
		"both, bytes less":   {reading.SampleConfig{PerSecond: 100_000, BytesPerSecond: 4_000_000}, 4000},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.RequireRoot(t)
			c.config.Policies, c.config.Buffer = reading.SampleAll, 64<<20
			b := newBench(t, sampling(hook.TCX, c.config))
			took, still := b.storm(t, frame, long)
			all := b.readSamples(t)
			counts, err := b.SampleCounts()
			n, runs := uint64(len(all)), b.runs(t)
			if want := (model.SampleCounts{Seen: runs, Taken: n, Budget: runs - n}); err != nil || counts != want {
				t.Errorf("%+v, want %+v; %v", counts, want, err)
			}
			if runs < uint64(10*c.rate*took.Seconds()) {
				t.Fatalf("no storm: %d runs in %v", runs, took)
			}
			if most := mostInASecond(all); float64(most) > 1.05*c.rate {
				t.Errorf("%d samples in one second, the budget is %v", most, c.rate)
			}
			if least := .95 * c.rate * (took - still).Seconds(); float64(n) < least {
				t.Errorf("%d samples in %v, of which nothing ran for %v; %.0f were allowed", n, took, still, least)
			}
		})
	}
}

func mostInASecond(all []reading.Sample) (most int) {
	first := 0
	for i := range all {
		for all[i].MonoNS-all[first].MonoNS >= uint64(time.Second) {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// A quiet second does not allow for twice as much in the next.
func TestSampleBudgetDoesNotGather(t *testing.T) {
	testkit.RequireRoot(t)
	config := reading.SampleConfig{Policies: reading.SampleAll, PerSecond: 1000, Snaplen: 64, Buffer: 1 << 20}
	b := newBench(t, sampling(hook.TCX, config))
	b.storm(t, testkit.Packet(testkit.UDP()), 1)
	time.Sleep(500 * time.Millisecond) // what the budget is asked to forget
	before, err := b.SampleCounts()
	if err != nil {
		t.Fatal(err)
	}
	took, _ := b.storm(t, testkit.Packet(testkit.UDP()), 10*time.Millisecond)
	counts, err := b.SampleCounts()
	if err != nil {
		t.Fatal(err)
	}
	if n, most := counts.Sub(before).Taken, 1000*(took+40*time.Millisecond).Seconds(); float64(n) > most {
		t.Errorf("%d samples in %v, want at most %.0f", n, took, most)
	}
}
