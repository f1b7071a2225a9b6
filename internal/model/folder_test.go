package model

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

// Folding costs what each window has: ten times as many windows take no more memory each, whatever was folded before.
func TestFoldingIsLinear(t *testing.T) {
	perWindow := func(windows int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f := at(1, 1).Flows.Slice()[0]
		var folder Folder
		for i := range windows {
			next := at(1, 1)
			next.Flows.Reset()
			for n := range 20 {
				f.BeganNS, f.Client.Port = uint64(20*i+n), uint16(20*i+n)
				f.LastSeen = f.LastSeen.Add(time.Millisecond)
				next.Flows.Append(&f)
			}
			folder.Add(next)
		}
		w := folder.Window()
		runtime.ReadMemStats(&after)
		if w.Flows.Len() != 20*windows {
			t.Fatalf("%d flows of %d windows", w.Flows.Len(), windows)
		}
		return (after.TotalAlloc - before.TotalAlloc) / uint64(windows)
	}
	if few, many := perWindow(100), perWindow(1000); many > 2*few {
		t.Errorf("a window takes %d bytes of memory as one of a hundred, and %d as one of a thousand", few, many)
	}
}

// A bounded Folder keeps the flows that spoke last; the others are in the overflow, the totals are what they were, and
// windows that follow go on with what was kept.
func TestFolderIsBounded(t *testing.T) {
	newest := []uint64{9, 2, 7, 7, 4}
	for flows, want := range map[int][]uint64{3: newest, 2: {9, 7}, 1: {9}} {
		var folder Folder
		w := spoken(newest)
		before, totals := w.ByCause, w.Totals
		folder.Add(w)
		folder.Bound(flows)
		got := folder.Window()
		if kept := times(got.Flows); !slices.Equal(kept, want) || got.Totals != totals || sumOf(got) != totals {
			t.Errorf("%d flows: %v, rows and overflow %+v, totals %+v of %+v", flows, kept, sumOf(got), got.Totals, totals)
		}
		full := got.ByCause[ReportFull]
		full.Add(before["not_ip"])
		if full != got.Overflow || len(before) != 1 {
			t.Errorf("%d flows: overflow %+v, by cause %+v; of the window that was folded %+v", flows, got.Overflow, got.ByCause, before)
		}
		folder.Add(spoken(newest[:1]))
		if again := folder.Window(); again.Flows.Len() != len(want) || again.Flows.At(0).ToServer.Packets != 20 || sumOf(again) != again.Totals {
			t.Errorf("%d flows, and a window more: %d, first %+v", flows, again.Flows.Len(), again.Flows.At(0))
		}
	}
}

// spoken is a window with flows whose newest packets were then, and with an overflow.
func spoken(newest []uint64) *Window {
	w := at(1, 1)
	f := w.Flows.Slice()[0]
	overflow := Count{SKBs: 1, Packets: 1, Bytes: 50}
	w.Flows, w.Totals, w.Overflow, w.ByCause = new(Flows), overflow, overflow, map[string]Count{"not_ip": overflow}
	for i, ns := range newest {
		f.LastNS, f.Client.Port = [2]uint64{1, ns}, uint16(i)
		f.ToServer, f.ToClient = Counters{Packets: 10, Bytes: 100, SKBs: 10}, Counters{Packets: ns, Bytes: 10 * ns, SKBs: ns}
		w.Flows.Append(&f)
		w.Totals.Add(Count{SKBs: 10 + ns, Packets: 10 + ns, Bytes: 100 + 10*ns})
	}
	return w
}

func sumOf(w *Window) Count {
	sum := w.Overflow
	for f := range w.Flows.All() {
		for _, c := range []Counters{f.ToServer, f.ToClient} {
			sum.Add(Count{SKBs: c.SKBs, Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	return sum
}

func times(flows *Flows) (newest []uint64) {
	for f := range flows.All() {
		newest = append(newest, f.LastNS[1])
	}
	return newest
}
