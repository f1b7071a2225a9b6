package view

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
)

func TestTrust(t *testing.T) {
	owner := process(1, 1, "a")
	half := model.NewFlows(model.Flow{Client: endpoint("127.0.0.1:1", owner), Server: endpoint("127.0.0.1:2", owner)},
		model.Flow{Client: endpoint("127.0.0.1:3", owner), Server: endpoint("127.0.0.1:4", nil)}, model.Flow{})
	tenth := model.NewFlows(model.Flow{})
	for range 9 {
		tenth.Append(&model.Flow{Client: endpoint("127.0.0.1:1", owner), Server: endpoint("127.0.0.1:2", owner)})
	}
	for _, test := range []struct {
		name   string
		window model.Window
		want   []Note
	}{
		{"under a filter nothing is compared", model.Window{}, nil},
		{"all is well", model.Window{Device: &model.Device{Agrees: true}}, []Note{{Exact, Calm, "exact", ""}}},
		{"the device has more, what is hidden included", model.Window{Totals: model.Count{Packets: 5, Bytes: 50},
			Hidden: model.Hidden{Flows: 1, Count: model.Count{Packets: 2, Bytes: 1_500}}, Device: &model.Device{Packets: 9, Bytes: 1_540, Dropped: 3}},
			[]Note{{NotExact, Alarming, "not exact", "+2 packets, -10 bytes"}, {Dropped, Alarming, "3 dropped", "3 packets"}, {Hidden, Calm, "1 flow", "1.5 kB"}}},
		{"in no flow", model.Window{Overflow: model.Count{Packets: 7, Bytes: 700},
			ByCause: map[string]model.Count{"b": {Packets: 1}, "a\x1b": {Packets: 1}, "full": {Packets: 5}}},
			[]Note{{Overflow, Alarming, "overflow 7 packets, 700 B", `full 5, a\x1b 1, b 1`}}},
		{"owners, rounded down", model.Window{Flows: half}, []Note{{Owners, Notable, "owners", "33.3 %"}}},
		{"nearly all owners", model.Window{Flows: tenth}, []Note{{Owners, Calm, "owners", "90.0 %"}}},
		{"what nobody follows", model.Window{Unmeasured: 1, Uncounted: 2},
			[]Note{{Unmeasured, Alarming, "turns of 1 flow not followed", ""}, {Uncounted, Alarming, "troubles of 2 flows not counted", ""}}},
	} {
		if diff := cmp.Diff(test.want, Trust(&test.window)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}
