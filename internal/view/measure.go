package view

import (
	"slices"
	"strings"
)

// Measure is one number of a row. Whoever shows it, sorts by it or filters by it takes it from Measures.
type Measure struct {
	Name   string // where JSON has it in a row; of what it has not, a name of its own
	Leaves string // what it is made of in JSON where that is not Name alone; names, joined by blanks
	Amount string // the model.Amount that filters compare it as; "": none
	Sort   string // the word that rows are sorted by it with; "": none
	Head   string // of its column in tables, behind the arrow of its direction; "": it has none
	Live   string // the head in the live view, where it differs: values are per second there
	Calm   bool   // a 0 is drawn as nothing
	Unit   Unit
	By     string // the views whose rows have it, joined by blanks; "": all
	Help   string // as docs/columns.md has it, if it has a column
	Of     func(*Row) (n uint64, known bool)

	needs latencies
}

// latencies are some of those of a row. They cost most of what it takes to roll up.
type latencies uint8

const (
	ofTurns latencies = 1 << iota
	ofResponses
	ofConnects
)

// Unit is what a number counts, which says how it is drawn.
type Unit uint8

// The units. A rate's number is that of the whole window.
const (
	Count Unit = iota
	Segments
	Bytes
	Nanoseconds
	RoughNanoseconds // of which the first digits count
	CountPerSecond
	BytesPerSecond
	TurnsPerSecond // which may be seldom
)

// Measures is all of them, in the order of columns.
var Measures = slices.Concat(
	sums,
	rowCounts,
	direction("to_server", "→ ", "client", sent),
	direction("to_client", "← ", "server", received),
	turns, responses, healthMeasures, parts, lives,
)

// MeasureNamed returns the measure of that name; nil if there is none.
func MeasureNamed(name string) *Measure {
	for _, m := range Measures {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Measures returns what the view's rows have numbers of.
func (b *By) Measures() []*Measure {
	var has []*Measure
	for _, m := range Measures {
		if m.By == "" || slices.Contains(strings.Fields(m.By), b.Name) {
			has = append(has, m)
		}
	}
	return has
}

// sorting returns the measure that rows are sorted by with a word; nil if it is no measure.
func (b *By) sorting(word string) *Measure {
	for _, m := range b.Measures() {
		if m.Sort == word {
			return m
		}
	}
	return nil
}
