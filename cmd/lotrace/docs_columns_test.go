package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lotrace/lotrace/internal/view"
)

// The page says of each column of numbers what its measure says of itself.
func TestColumnsAreMeasures(t *testing.T) {
	explained := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(document(t, "docs/columns.md"), -1) {
		explained[row[1]] = row[2]
	}
	for _, m := range view.Measures {
		words := strings.Fields(strings.NewReplacer("→", "", "←", "").Replace(m.Head))
		if len(words) > 0 && explained[words[0]] != m.Help {
			t.Errorf("%s, which is %s, is\n%q, but in docs/columns.md\n%q", m.Head, m.Name, m.Help, explained[words[0]])
		}
	}
}

func TestManualNamesSortWords(t *testing.T) {
	_, part, _ := strings.Cut(manual(t, "COMMANDS"), "Sort rows by\n.BR bytes \" (default), \" packets")
	part, _, _ = strings.Cut("bytes packets"+part, "Numbers and times come largest first")
	named := strings.FieldsFunc(part, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	for _, by := range view.All() {
		for _, word := range by.SortWords() {
			if !slices.Contains(named, word) {
				t.Errorf("docs/lotrace.1 does not say that rows by %s are sorted by %s", by.Name, word)
			}
		}
	}
}
