package tui

import "slices"

// The least screen that shows anything, and the least that names take.
const (
	leastWidth, leastHeight = 40, 10
	leastText               = 11 // 127…1:51234
	goodText                = 17
)

// placed is a column that has a place on the screen.
type placed struct {
	*column  // nil: the newest frames, drawn
	at, wide int
}

// layout places the columns. Where there is no room for all, the same go first, the drawing before them.
func (m *Model) layout() []placed {
	cols := slices.DeleteFunc(slices.Clone(columns), func(c *column) bool {
		return c.head == "" || c.field == "proto" && m.group.isUsage()
	})
	spare := func() int {
		spare := m.width
		for _, c := range cols {
			spare -= 1 + max(c.width, goodText)
			if c.width > 0 {
				spare -= c.width - max(c.width, goodText)
			}
		}
		return spare + 1
	}
	drawn := true
	for spare() < leastSpark+1 && drawn || spare() < 0 {
		at := -1
		for i, c := range cols {
			if c.drop > 0 && (at < 0 || c.drop > cols[at].drop) {
				at = i
			}
		}
		if drawn && (at < 0 || cols[at].drop < sparkDrop) {
			drawn = false
			continue
		}
		if at < 0 {
			break
		}
		cols = slices.Delete(cols, at, at+1)
	}
	return m.place(cols, spare(), drawn)
}

// place gives what is spare to the names, and of much a part to the drawing.
func (m *Model) place(cols []*column, spare int, drawn bool) []placed {
	spark := 0
	if drawn {
		spark = max(leastSpark, min(slots, spare/2))
		spare -= spark + 1
	}
	var all []placed
	at, texts := 0, 2
	for _, c := range cols {
		wide := c.width
		if wide == 0 {
			extra := spare / texts
			wide, spare, texts = goodText+extra, spare-extra, texts-1
			wide = max(wide, leastText)
		}
		all = append(all, placed{c, at, wide})
		at += wide + 1
	}
	if drawn {
		all = append(all, placed{nil, at, spark})
	}
	return all
}
