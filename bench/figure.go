package main

import (
	"fmt"
	"slices"
)

// spread is a median with the quartiles around it.
type spread struct{ median, low, high float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	at := func(quarter int) float64 {
		n := (len(sorted) - 1) * quarter
		return (sorted[n/4] + sorted[(n+3)/4]) / 2
	}
	return spread{at(2), at(1), at(3)}
}

// exactly is the spread of what was measured once.
func exactly(value float64) spread { return spread{value, value, value} }

func (s spread) String() string { return s.format(0) }

func (s spread) format(precision int) string {
	if s.low == s.high {
		return fmt.Sprintf("%.*f", precision, s.median)
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", precision, s.median, precision, s.low, precision, s.high)
}

// figure is something that was measured. No run fails for a goal that is missed: that is for whoever reads it.
type figure struct {
	of, what  string // what was measured, and what of it
	measured  spread
	precision int
	unit      string
	most      float64 // the goal; 0: there is none
	missing   string  // why it could not be measured; "": it was
}

func (f figure) value() string {
	if f.missing != "" {
		return "n/a: " + f.missing
	}
	return f.withUnit(f.measured.format(f.precision))
}

func (f figure) withUnit(number string) string {
	if f.unit == "" {
		return number
	}
	return number + " " + f.unit
}

func (f figure) goal() string { return f.withUnit(fmt.Sprintf("≤ %g", f.most)) }

func (f figure) verdict() string {
	switch {
	case f.missing != "":
		return ""
	case f.measured.median <= f.most:
		return "reached"
	default:
		return "missed"
	}
}

// series is what the instances of a program took: by instance, then by round.
type series [][]float64

// during is what the instances took in a round: their median.
func (s series) during(round int) float64 {
	return medianOf(len(s), func(i int) float64 { return s[i][round] })
}

// comparison is what one program takes less another; both by their names.
type comparison struct {
	what     string
	of, less string  // "": less nothing
	to       string  // a ratio to that program, less toLess; "": nanoseconds
	toLess   string  // "": less nothing
	most     float64 // the goal; 0: there is none
}

// measure holds every instance of the one program against every one of the other, since instances differ, and does
// so within each round, since the machine changes. The spread is that of the pairs, of each the median of its rounds.
func (c comparison) measure(took map[string]series, rounds int) spread {
	none := series{make([]float64, rounds)}
	named := func(name string) series {
		if name == "" {
			return none
		}
		return took[name]
	}
	unit := 1.0
	if c.to != "" {
		to, less := took[c.to], named(c.toLess)
		unit = medianOf(rounds, func(round int) float64 { return to.during(round) - less.during(round) })
	}
	var pairs []float64
	for _, of := range took[c.of] {
		for _, less := range named(c.less) {
			pairs = append(pairs, medianOf(rounds, func(round int) float64 { return of[round] - less[round] })/unit)
		}
	}
	return spreadOf(pairs)
}

// medianOf is the median of f(0), f(1), …, f(n-1).
func medianOf(n int, f func(i int) float64) float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = f(i)
	}
	return spreadOf(all).median
}

// figure is the comparison as it is reported, of that traffic.
func (c comparison) figure(traffic string, took map[string]series, rounds int) figure {
	f := figure{of: traffic, what: c.what, measured: c.measure(took, rounds), unit: "ns", most: c.most}
	if c.to != "" {
		f.unit, f.precision = "", 2
	}
	return f
}
