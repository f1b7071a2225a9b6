package loader_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// Two observers see one namespace's traffic. What the windows of one of them add up to is the one long window of
// the other: of TCP, whose clock both read in the packets themselves, to the nanosecond.
func TestWindowsFoldLive(t *testing.T) {
	many := newRig(t, loader.Config{})
	one := newRigIn(t, many.ns, loader.Config{Hook: many.loader.Hook()})
	client, server := tcpPair(t, many.ns)
	served := make(chan error, 1)
	go func() { served <- answer(server, func() time.Duration { return time.Millisecond }, 600, 3) }()
	defer func() {
		if err := errors.Join(client.Close(), <-served, server.Close()); err != nil {
			t.Error(err)
		}
	}()
	var folder model.Folder
	for range 4 {
		if _, err := ask(client, 3, 600); err != nil {
			t.Fatal(err)
		}
		for _, traffic := range []func() (testkit.Sent, error){
			func() (testkit.Sent, error) { return testkit.ShortConnections(many.ns, 4, 7, 2) },
			func() (testkit.Sent, error) { return testkit.UDPCount(many.ns, 6, 11, 50) },
			func() (testkit.Sent, error) { return testkit.PingPong(many.ns, 6, 13, 200) },
		} {
			if _, err := traffic(); err != nil {
				t.Fatal(err)
			}
		}
		folder.Add(many.window())
	}
	sameWindows(t, one.window(), folder.Window())
}

func sameWindows(t *testing.T, long, folded *model.Window) {
	t.Helper()
	if long.Totals != folded.Totals || long.Overflow != folded.Overflow || !folded.Device.Agrees ||
		folded.Device.Packets != long.Device.Packets || folded.Device.Bytes != long.Device.Bytes {
		t.Errorf("folded totals %+v, device %+v; long totals %+v, device %+v", folded.Totals, folded.Device, long.Totals, long.Device)
	}
	rows := func(w *model.Window) []model.Flow {
		flows := w.Flows.Slice()
		for i := range flows {
			forgetClocks(&flows[i])
		}
		slices.SortFunc(flows, func(a, b model.Flow) int { return a.Client.AddrPort().Compare(b.Client.AddrPort()) })
		return flows
	}
	extremes := cmp.Comparer(func(a, b model.Latency) bool {
		return a.Count == b.Count && a.Sum == b.Sum && slices.Equal(a.Histogram, b.Histogram) &&
			model.Bucket(a.Min) == model.Bucket(b.Min) && model.Bucket(a.Max) == model.Bucket(b.Max)
	})
	if diff := cmp.Diff(rows(long), rows(folded), extremes, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("rows (-long +folded):\n%s", diff)
	}
	if n := folded.Flows.Len(); n != 1+4*(7+1+1) {
		t.Errorf("%d flows", n)
	}
}

// forgetClocks takes away what each observer reads off a clock of its own, and what the listening sockets'
// queues were like when it looked.
func forgetClocks(f *model.Flow) {
	f.FirstSeen, f.LastSeen, f.AcceptQueue = time.Time{}, time.Time{}, nil
	f.Accept = 0
	if f.Proto != model.ProtoTCP {
		f.BeganNS, f.LastNS = 0, [2]uint64{}
		f.Turn, f.Response = model.Latency{Count: f.Turn.Count}, model.Latency{Count: f.Response.Count}
	}
}
