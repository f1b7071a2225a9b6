package main

import (
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/testkit"
)

func TestShownFlows(t *testing.T) {
	const text = `lotrace: counting on lo (tcx), network namespace 4026532177
lo · 1.0 s · 9 packets · 828 B · 1 flow · exact

lo · 1.0 s · 64,534 packets · 5.9 MB · 64,534 flows · exact · 26,795 errors

lo · 1.0 s · 8,000 packets · 736 kB · 8,000 flows · exact
overflow 12 packets, 1.1 kB in no flow: table_full 12

… and 64,514 more (-n 0 shows all)
`
	if got := mostFlows(text); got != 64534 {
		t.Errorf("%d flows", got)
	}
	if got := overflow.FindString(text); got != "overflow 12 packets, 1.1 kB in no flow: table_full 12" {
		t.Errorf("overflow: %q", got)
	}
	if got := mostFlows("nothing"); got != 0 {
		t.Errorf("%d flows of nothing", got)
	}
}

// The report says that as much was made as was dripped and connected.
func TestMadeIsWhatTheDeviceCounts(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	ns.Run(t, func() {
		f, err := newFanout()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		before := ns.Device()
		sent, err := f.drip(t.Context(), 7, 1000, 200*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if got := ns.Device().Sub(before).RxPackets; sent == 0 || got != uint64(sent) {
			t.Errorf("dripped %d datagrams, the device counts %d", sent, got)
		}
	})
}
