package main

import (
	"strings"
	"testing"
)

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{9, 1, 4}, spread{4, 2.5, 6.5}},
		{[]float64{8, 2, 1, 4}, spread{3, 1.5, 6}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("spread of %v: %v, want %v", c.values, got, c.want)
		}
	}
}

func TestUndisturbedTurns(t *testing.T) {
	took := []float64{9, 9, 9, 9, 9, 9, 9, 9, 2, 1}
	if got := undisturbed(took); got != 2 {
		t.Errorf("the quickest tenth takes up to %g", got)
	}
	if got := undisturbed(took[:1]); got != 9 {
		t.Errorf("one turn takes %g", got)
	}
}

// Programs are compared within rounds, of which one may be slow, and an instance that is slow for its life is one of
// several.
func TestComparison(t *testing.T) {
	took := map[string]series{
		"empty":     {{10, 10, 100}, {10, 10, 100}, {10, 10, 100}},
		"lotrace":   {{40, 50, 400}, {40, 50, 400}, {90, 90, 900}},
		"reference": {{60, 70, 700}, {60, 70, 700}, {70, 80, 800}},
	}
	for _, c := range []struct {
		comparison
		want spread
	}{
		{comparison{of: "lotrace"}, spread{50, 50, 70}},
		{comparison{of: "lotrace", less: "empty"}, spread{40, 40, 80}},
		{comparison{of: "lotrace", less: "reference"}, spread{-20, -20, 20}},
		{comparison{of: "lotrace", to: "empty"}, spread{5, 5, 7}},
		{comparison{of: "lotrace", less: "empty", to: "reference", toLess: "empty"}, spread{40. / 60, 40. / 60, 80. / 60}},
	} {
		if got := c.measure(took, 3); got != c.want {
			t.Errorf("%+v: %v, want %v", c.comparison, got, c.want)
		}
	}
}

func TestGoals(t *testing.T) {
	r := report{figures: []figure{
		{of: "a", what: "ratio", measured: spread{0.5, 0.4, 0.6}, precision: 2, most: 0.5},
		{of: "b", what: "time", measured: exactly(151), unit: "ns", most: 150},
		{of: "c", what: "no goal", measured: exactly(1)},
		{of: userSpace, what: "calls", missing: "no strace", most: 10},
	}}
	var text strings.Builder
	if err := r.print(&text, true); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(text.String(), "## User space")
	want := `

| what | measured |
| --- | --- |
| calls | n/a: no strace |

## Goals

| of | what | goal | measured | which is |
| --- | --- | --- | --- | --- |
| a | ratio | ≤ 0.5 | 0.50 (0.40–0.60) | reached |
| b | time | ≤ 150 ns | 151 ns | missed |
| user space | calls | ≤ 10 | n/a: no strace |  |
`
	if got != want {
		t.Errorf("the report ends with\n%s\nwant\n%s", got, want)
	}
}

// Every name that is compared is that of a program that is measured.
func TestComparedProgramsAreMeasured(t *testing.T) {
	for _, s := range scenarios() {
		measured := map[string]bool{"": true}
		for _, v := range s.programs {
			measured[v.name] = true
		}
		for _, c := range s.compare {
			for _, name := range []string{c.of, c.less, c.to, c.toLess} {
				if !measured[name] {
					t.Errorf("%s: %s: %q is not measured", s.name, c.what, name)
				}
			}
		}
	}
}
