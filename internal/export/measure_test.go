package export

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
	"github.com/lotrace/lotrace/internal/view"
)

// Numbers of JSON say what the measures of their names do, and each measure is made of such numbers.
func TestJSONIsMeasured(t *testing.T) {
	w := &window{Flows: []model.Flow{everything()}}
	for i := range layouts {
		by := &layouts[i]
		roll := view.NewRoll(by.By)
		roll.Add(w.pack().Flows)
		rows, err := roll.Rows("", 1)
		if err != nil {
			t.Fatal(err)
		}
		for row := range rows.All() {
			text, err := json.Marshal(by.row(row))
			if err != nil {
				t.Fatal(err)
			}
			leaves := map[string]uint64{}
			eachNumber(decode(t, string(text)), "", leaves)
			checkLeaves(t, by, row, leaves)
		}
	}
}

func checkLeaves(t *testing.T, by *layout, row *view.Row, leaves map[string]uint64) {
	t.Helper()
	for _, m := range by.Measures() {
		names := strings.Fields(m.Leaves)
		if m.Leaves == "" {
			names = []string{m.Name}
		}
		for _, name := range names {
			if _, has := leaves[name]; !has {
				t.Errorf("by %s: the measure %s is made of %s, which is no number in JSON: it needs a leaf in export's tally", by.Name, m.Name, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(leaves)) {
		m := view.MeasureNamed(name)
		if m == nil || !slices.Contains(by.Measures(), m) {
			t.Errorf("by %s: %s in JSON is no measure: it needs one in view.Measures", by.Name, name)
			continue
		}
		if n, known := m.Of(row); !known || n != leaves[name] && name != "drops" {
			t.Errorf("by %s: %s is %d in JSON, the measure says %d, %v", by.Name, name, leaves[name], n, known)
		}
	}
}

// eachNumber collects the numbers of a row, but those of its identity. What processes sent is what clients do.
func eachNumber(value any, path string, into map[string]uint64) {
	switch v := value.(type) {
	case map[string]any:
		for name, below := range v {
			if path == "" {
				name = strings.NewReplacer("sent", "to_server", "received", "to_client").Replace(name)
			}
			if path == "drops" {
				name = ""
			}
			switch name {
			case "netns", "process":
			case "client", "server":
				if path != "" { // an end's health
					eachNumber(below, path+"."+name, into)
				}
			default:
				eachNumber(below, strings.Trim(path+"."+name, "."), into)
			}
		}
	case json.Number:
		into[path], _ = strconv.ParseUint(v.String(), 10, 64)
	}
}

// everything is a flow that has a number everywhere.
func everything() model.Flow {
	counters := func(n uint64) model.Counters {
		return model.Counters{Packets: n, Bytes: n + 1, SKBs: n + 2, PayloadBytes: n + 3, Retransmits: n + 4, RetransBytes: n + 5}
	}
	took := func(d time.Duration) model.Latency {
		var l model.Latency
		for i := range 20 {
			testkit.Record(&l, d*time.Duration(i+1))
		}
		return l
	}
	end := func(n uint64) model.EndHealth {
		return model.EndHealth{Resets: n, Timeouts: n + 1, OutOfOrder: n + 2, SocketDrops: n + 3, ZeroWindows: n + 4,
			ZeroWindow: time.Duration(n + 5), Stalls: n + 6, Stalled: time.Duration(n + 7), ReceiveQueue: n + 8, SendQueue: n + 9}
	}
	f := usual().Flows[0]
	f.Client.Owner = &model.Owner{ProcessID: model.ProcessID{TGID: 5, StartNS: 1}, PID: 5, Comm: "client", Cgroup: "/client"}
	f.Server.Owner = &model.Owner{ProcessID: model.ProcessID{TGID: 6, StartNS: 2}, PID: 6, Comm: "server", Cgroup: "/server"}
	f.Tally = model.Tally{
		ToServer: counters(1000), ToClient: counters(100), Turn: took(time.Millisecond), Response: took(3 * time.Millisecond),
		Connect: model.Single(5 * time.Millisecond), Crossed: 7,
		Health: &model.Health{Refused: 11, SYNRetries: 12, SYNACKRetries: 13, Client: end(20), Server: end(40), Lost: 14,
			Drops: []model.DropCount{{Reason: "x", SKBs: 99}}},
		Breakdown: model.Breakdown{Turns: 61, Delivered: 62, Delivery: 63, Wait: 64, Think: 65, Backs: 66, Back: 67},
	}
	f.ClientSRTT, f.ServerSRTT, f.ClientCwnd, f.ServerCwnd = 71, 72, 73, 74
	f.Handshake, f.Accept, f.FirstByte = 5*time.Millisecond, 76, 77
	f.AcceptQueue = &model.AcceptQueue{Length: 81, Limit: 82, Overflows: 83}
	return f
}
