package main

import (
	"regexp"
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
