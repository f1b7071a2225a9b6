package tui

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// width is how many columns of a terminal text takes; escape sequences take none.
func width(text string) int {
	for i := range len(text) {
		if text[i] >= 0x80 || text[i] == 0x1b {
			return ansi.StringWidthWc(text)
		}
	}
	return len(text)
}

// fit makes text take exactly so many columns: it adds blanks, or takes out of the middle what does not
// fit. Names begin there, and what tells them apart is at the end.
func fit(text string, columns int) string {
	if columns <= 0 {
		return ""
	}
	w := width(text)
	if w > columns {
		tail := tailOf(text, columns)
		head := ansi.TruncateWc(text, columns-tail-1, "")
		text = head + "…" + ansi.TruncateLeftWc(text, w-tail, "")
		w = width(text)
	}
	return text + strings.Repeat(" ", max(0, columns-w))
}

// tailOf is how much of a text's end stays: its PID or address, as far as there is room.
func tailOf(text string, columns int) int {
	if at := strings.LastIndexAny(text, " ("); at > 0 {
		if tail := width(text[at:]); tail <= columns-5 {
			return tail
		}
	}
	return min(7, columns/2)
}

// right is fit for numbers. One that is too wide is no number any more.
func right(text string, columns int) string {
	w := width(text)
	if w > columns {
		return strings.Repeat("*", max(0, columns))
	}
	return strings.Repeat(" ", columns-w) + text
}

// head cuts what is too wide from the end, styles and all.
func head(text string, columns int) string {
	if width(text) <= columns {
		return text
	}
	return ansi.TruncateWc(text, max(0, columns-1), "") + "…" + resetStyle
}

// line is head, with blanks behind.
func line(text string, columns int) string {
	text = head(text, columns)
	return text + strings.Repeat(" ", max(0, columns-width(text)))
}

// spread puts right at the end of a line that left begins; left gives way.
func spread(left, right string, columns int) string {
	w := width(right)
	if w == 0 || w+8 > columns {
		return line(left, columns)
	}
	return line(left, columns-w-2) + "  " + right
}
