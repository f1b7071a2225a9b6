package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// Note is one thing that says how far a window's numbers can be trusted. A face puts it into its own lines.
type Note struct {
	About  About
	Level  Level
	Brief  string // a few words
	Detail string // how much, or which; "" where there is no more to say
}

// Level is how much a note matters.
type Level uint8

// The levels.
const (
	Calm     Level = iota
	Notable        // it is worth a second look
	Alarming       // nobody should overlook it
)

// fewNamed is below how many in a thousand flows with both owners known that is worth a second look.
const fewNamed = 900

// About is what a note is about.
type About uint8

// The subjects of notes, in the order of Trust.
const (
	Exact      About = iota // all that was counted is what the device counted
	NotExact                // it is not: by how much the device has more
	Dropped                 // the device refused what was counted
	Overflow                // in no flow: causes, the most frequent first
	Owners                  // not every flow has both ends named
	Hidden                  // lotrace's own traffic is left out
	Unmeasured              // flows whose turns nobody follows
	Uncounted               // flows whose health nobody counts
)

// Trust says how far a window's numbers can be trusted. Where a filter chose among packets there is no device to
// compare them with, and no note of that.
func Trust(w *model.Window) []Note {
	var notes []Note
	if d := w.Device; d != nil {
		notes = append(notes, agreement(w))
		if d.Dropped > 0 {
			notes = append(notes, Note{About: Dropped, Level: Alarming, Brief: human.Commas(d.Dropped) + " dropped", Detail: human.Counted(d.Dropped, "packet")})
		}
	}
	if w.Overflow != (model.Count{}) {
		notes = append(notes, Note{About: Overflow, Level: Alarming, Detail: causes(w),
			Brief: "overflow " + human.Counted(w.Overflow.Packets, "packet") + ", " + human.Size(w.Overflow.Bytes)})
	}
	if tenths := Named(w.Flows); tenths < 1000 {
		level := Calm
		if tenths < fewNamed {
			level = Notable
		}
		notes = append(notes, Note{About: Owners, Level: level, Brief: "owners", Detail: fmt.Sprintf("%d.%d %%", tenths/10, tenths%10)})
	}
	if h := w.Hidden; h.Flows > 0 {
		notes = append(notes, Note{About: Hidden, Brief: human.Counted(uint64(h.Flows), "flow"), Detail: human.Size(h.Bytes)})
	}
	if w.Unmeasured > 0 {
		notes = append(notes, Note{About: Unmeasured, Level: Alarming, Brief: "turns of " + human.Counted(w.Unmeasured, "flow") + " not followed"})
	}
	if w.Uncounted > 0 {
		notes = append(notes, Note{About: Uncounted, Level: Alarming, Brief: "troubles of " + human.Counted(w.Uncounted, "flow") + " not counted"})
	}
	return notes
}

func agreement(w *model.Window) Note {
	if w.Device.Agrees {
		return Note{About: Exact, Brief: "exact"}
	}
	counted := w.Totals
	counted.Add(w.Hidden.Count)
	return Note{About: NotExact, Level: Alarming, Brief: "not exact",
		Detail: human.Signed(int64(w.Device.Packets-counted.Packets)) + " packets, " + human.Signed(int64(w.Device.Bytes-counted.Bytes)) + " bytes"}
}

// causes are those of what is in no flow, the most frequent first.
func causes(w *model.Window) string {
	all := slices.SortedFunc(maps.Keys(w.ByCause), func(a, b string) int {
		return cmp.Or(cmp.Compare(w.ByCause[b].Packets, w.ByCause[a].Packets), strings.Compare(a, b))
	})
	for i, c := range all {
		all[i] = human.Plain(c) + " " + human.Commas(w.ByCause[c].Packets)
	}
	return strings.Join(all, ", ")
}

// Named is how many in a thousand flows have owners at both ends, rounded down: all would be a lie. Of no flows it
// is all.
func Named(flows *model.Flows) int {
	if flows.Len() == 0 {
		return 1000
	}
	return flows.Named() * 1000 / flows.Len()
}

// Find returns the note about something; nil if there is none.
func Find(notes []Note, about About) *Note {
	i := slices.IndexFunc(notes, func(n Note) bool { return n.About == about })
	if i < 0 {
		return nil
	}
	return &notes[i]
}
