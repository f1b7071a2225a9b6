package tui

import (
	"slices"

	"github.com/lotrace/lotrace/internal/filter"
)

// help is made of the table that the keys are looked up in.
func (m *Model) help() []string {
	lines := []string{"", m.paint(strong, "Keys")}
	for i := range bindings {
		if b := &bindings[i]; b.help != "" {
			lines = append(lines, "  "+fit(b.show, 8)+b.help)
		}
	}
	lines = append(lines,
		"  "+fit("mouse", 8)+"click a row, click it again to open it, click a head to sort",
		"", m.paint(strong, "Filter"),
		"  terms joined by space (and) and or, ! negates, brackets group:",
		"  port:5432 client:api !proto:udp turn>5ms",
		"  terms: ", "")
	lines = appendWords(lines, termNames(), m.width-4)
	lines = append(lines, "", m.paint(strong, "Columns"),
		"  →/s ←/s  bytes a second that clients and servers sent",
		"  REQ/S    requests answered a second; P50 P99 how long they waited",
		"  ERR      refused connections, resets and lost datagrams in the window",
		"  CONN     connections that were active in the newest interval")
	if doubts := m.doubts(); len(doubts) > 0 {
		lines = append(lines, "", m.paint(strong, "What is not as it should be"))
		for _, t := range doubts {
			lines = append(lines, "  "+m.paint(alarm, t))
		}
	}
	return lines
}

func termNames() []string {
	var names []string
	for _, t := range filter.Terms() {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	return names
}

// appendWords fills the last line, and others, with words.
func appendWords(lines, words []string, columns int) []string {
	last := len(lines) - 1
	lines[last] = "   "
	for _, w := range words {
		if width(lines[last])+1+len(w) > columns {
			lines = append(lines, "   ")
			last++
		}
		lines[last] += " " + w
	}
	return lines
}
