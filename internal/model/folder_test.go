package model

import (
	"runtime"
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
