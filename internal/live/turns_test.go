package live

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

func TestShownTurns(t *testing.T) {
	yes, no := func(*model.Flow) bool { return true }, func(*model.Flow) bool { return false }
	for _, test := range []struct {
		name        string
		match, hide func(*model.Flow) bool
		want        int
	}{
		{"all", nil, nil, 1},
		{"no match", no, nil, 0},
		{"all match, none hidden", yes, no, 1},
		{"all hidden", nil, yes, 0},
	} {
		had := 0
		sink := shown(func(*model.Traced) error { had++; return nil }, test.match, test.hide)
		if err := sink(&model.Traced{Flow: &model.Flow{}}); err != nil || had != test.want {
			t.Errorf("%s: %d turns, error %v", test.name, had, err)
		}
	}
}

// Samples taken for packets and for turns at once are enough for both.
func TestSampledTogether(t *testing.T) {
	turns := reading.SampleConfig{Policies: reading.SampleHeads, Snaplen: 128, PerSecond: 1000, Buffer: 1 << 20}
	for _, test := range []struct{ packets, want reading.SampleConfig }{
		{reading.SampleConfig{}, turns},
		{
			reading.SampleConfig{Policies: reading.SampleAll},
			reading.SampleConfig{Policies: reading.SampleAll | reading.SampleHeads, Buffer: 1 << 20},
		},
		{
			reading.SampleConfig{Policies: reading.SampleFirst, First: 3, Snaplen: 64, PerSecond: 5, BytesPerSecond: 9, Buffer: 1 << 22},
			reading.SampleConfig{
				Policies: reading.SampleFirst | reading.SampleHeads, First: 3, Snaplen: 128, PerSecond: 1005, BytesPerSecond: 9, Buffer: 1 << 22,
			},
		},
	} {
		if diff := cmp.Diff(test.want, together(test.packets, turns)); diff != "" {
			t.Error(diff)
		}
	}
}
