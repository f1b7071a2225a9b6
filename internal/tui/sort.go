package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/view"
)

// words are what rows are sorted by that no column shows, by what they did in the newest frame.
var words = otherWords()

func otherWords() (words []*column) {
	for _, by := range view.All() {
		for _, word := range by.SortWords() {
			isIt := func(c *column) bool { return c.field == word }
			if !slices.ContainsFunc(columns, isIt) && !slices.ContainsFunc(words, isIt) {
				words = append(words, &column{field: word, text: view.IsText(word), ranked: true, compare: byRank})
			}
		}
	}
	return words
}

func byRank(_ *Model, a, b *node) int {
	return cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(a.label, b.label))
}

// rank notes what nodes of one kind are sorted by. One that is silent has nothing.
func (m *Model) rank(nodes []*node) {
	if len(nodes) == 0 {
		return
	}
	kind := nodes[0].kind
	ranking := kinds[kind].Ranking(m.sort.field)
	for _, n := range nodes {
		n.number, n.label = 0, ""
		switch {
		case kind == kindFlow:
			n.number, n.label = ranking(view.RowOf(n.flow))
		case n.pass == m.pass:
			n.number, n.label = ranking(m.rolls[kind].Named(n.row))
		}
	}
}

// SortFields lists what Options.Sort takes, the default first; a leading "-" reverses. They are those of files.
func SortFields() []string {
	var fields []string
	for _, c := range slices.Concat(columns, words) {
		fields = append(fields, c.field)
	}
	return fields
}

// by is the view of files with the rows of the grouping: those below services are pairs.
func (g group) by() *view.By {
	if g == groupService {
		return view.Pair
	}
	return kinds[g.top()]
}

// word is what files call a sort by the column.
func (g group) word(c *column) string {
	switch {
	case !g.isUsage() || c.field != "client" && c.field != "server":
		return c.field
	case c.field == "client":
		return "name"
	case g == groupProcess:
		return "command"
	}
	return "unit"
}

// sorts reports whether the grouping's rows can be sorted by the column.
func (g group) sorts(c *column) bool { return g.by().CheckSort(g.word(c)) == nil }

// setSort takes Options.Sort.
func (m *Model) setSort(field string) error {
	name, reversed := strings.CutPrefix(field, "-")
	for _, c := range slices.Concat(columns, words) {
		if c.field == name && m.group.sorts(c) || m.group.word(c) == name && c.field != name {
			m.sort, m.reversed = c, reversed
			return nil
		}
	}
	if !slices.Contains(SortFields(), name) {
		return fmt.Errorf("unknown sort field %q: need one of %s", name, strings.Join(SortFields(), ", "))
	}
	return m.group.by().CheckSort(name)
}
