package tui

import (
	"slices"
	"testing"

	"github.com/lotrace/lotrace/internal/view"
)

func TestOptions(t *testing.T) {
	for _, o := range []Options{{By: "client"}, {Sort: "packet"}, {Sort: "--p99"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	for _, by := range Groups() {
		for _, field := range SortFields() {
			for _, sign := range []string{"", "-"} {
				checkOption(t, by, field, sign)
			}
		}
	}
}

// checkOption wants rows to be sorted by a field, and a file of them by the same, or files not to know it either.
func checkOption(t *testing.T, by, field, sign string) {
	t.Helper()
	var got Export
	o := Options{By: by, Sort: sign + field, Write: func(e Export) (string, error) { got = e; return "x", nil }}
	if _, err := New(o); err != nil {
		if group(slices.Index(groupNames, by)).by().CheckSort(field) == nil {
			t.Errorf("by %s, %s: files know it, but %v", by, field, err)
		}
		return
	}
	m := screenOf(t, o, 200, 60, shops(2))
	if m.group.String() != by || m.reversed != (sign != "") || len(m.rows) == 0 {
		t.Errorf("by %s, %s%s: %d rows by %s, %s", by, sign, field, len(m.rows), m.group, m.sort.field)
	}
	m.write("json")()
	if err := m.group.by().CheckSort(got.Sort); err != nil || got.By != m.group.by().Name {
		t.Errorf("by %s, %s%s: a file has rows by %s, sorted by %s: %v", by, sign, field, got.By, got.Sort, err)
	}
}

// In one window the screen and a file have rows in one order, whatever they are sorted by.
func TestSortsAsFilesDo(t *testing.T) {
	for _, by := range []*view.By{view.Pair, view.Process, view.Cgroup} {
		for _, word := range by.SortWords() {
			if view.IsText(word) {
				continue
			}
			m := screenOf(t, Options{By: by.Name, Sort: word}, 200, 60, shops(1))
			var numbers []uint64
			for _, r := range m.rows {
				n, _ := by.Ranking(word)(r.row)
				numbers = append(numbers, n)
			}
			falling := slices.Clone(numbers)
			slices.Sort(falling)
			slices.Reverse(falling)
			if len(numbers) < 3 || !slices.Equal(numbers, falling) {
				t.Errorf("by %s, rows sorted by %s have %d", by.Name, word, numbers)
			}
		}
	}
}
