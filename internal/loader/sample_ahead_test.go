package loader

import (
	"fmt"
	"testing"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// Samples from before the end are read and counted, to the one; later ones are not.
func TestEndSamples(t *testing.T) {
	testkit.RequireRoot(t)
	for _, ahead := range []int{0, 64 << 10} {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			config := reading.SampleConfig{Policies: reading.SampleAll, Snaplen: 64, Buffer: MinSampleBuffer, Ahead: ahead}
			b := newBench(t, sampling(hook.TCX, config))
			frame := testkit.Packet(testkit.UDP(), testkit.Payload(100))
			pass := func(n int) {
				for range n {
					b.pass(t, frame)
				}
			}
			read := len(b.readSamples(t))
			pass(100)
			read += len(b.readSamples(t))
			pass(10)
			if err := b.EndSamples(); err != nil {
				t.Fatal(err)
			}
			pass(1000)
			read += len(b.readSamples(t))
			counts, err := b.SampleCounts()
			if want := (model.SampleCounts{Seen: 110, Taken: 110}); err != nil || counts != want || read != 110 {
				t.Errorf("%d samples, %+v, want %+v: %v", read, counts, want, err)
			}
		})
	}
}
