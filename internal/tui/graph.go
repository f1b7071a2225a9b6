package tui

import "strings"

// spark draws values, the newest last, each as high as it is beside the largest; nothing is a blank.
func spark(values []uint64) string {
	heights := []rune("▁▂▃▄▅▆▇█")
	var most uint64
	for _, v := range values {
		most = max(most, v)
	}
	cells := make([]rune, len(values))
	for i, v := range values {
		cells[i] = ' '
		if v > 0 {
			cells[i] = heights[int(float64(v)/float64(most)*float64(len(heights)-1)+0.5)]
		}
	}
	return string(cells)
}

// tower draws values as columns of dots, rows high, from a line on upwards or, hanging, downwards. Each is
// so many cells wide; most is what fills all rows.
func tower(values []uint64, most uint64, rows, wide int, hanging bool) []string {
	cells := []rune(" ⣀⣤⣶⣿")
	if hanging {
		cells = []rune(" ⠉⠛⠿⣿")
	}
	full := len(cells) - 1
	lines := make([]string, rows)
	for row := range rows {
		var b strings.Builder
		for _, v := range values {
			dots := 0
			if most > 0 {
				dots = int(float64(v)/float64(most)*float64(rows*full) + 0.5)
			}
			if v > 0 {
				dots = max(dots, 1)
			}
			b.WriteString(strings.Repeat(string(cells[max(0, min(full, dots-row*full))]), wide))
		}
		at := row
		if !hanging {
			at = rows - 1 - row
		}
		lines[at] = b.String()
	}
	return lines
}
