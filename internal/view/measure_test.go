package view

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
)

// Every number of a tally is in a measure, or nobody would ever see it. A new one has its line in model.Tally and
// its Add, its measure here, and its leaf in JSON, which a test of export asks for.
func TestTallyIsMeasured(t *testing.T) {
	nothing := measured(&Row{Tally: model.Tally{Health: &model.Health{}}})
	checked := 0
	eachLeaf(reflect.TypeFor[model.Tally](), "Tally", func(path string, of func(reflect.Value) reflect.Value) {
		checked++
		if strings.HasSuffix(path, ".Histogram") { // which is measured by quantiles
			return
		}
		row := &Row{Tally: model.Tally{Health: &model.Health{}}}
		fill(of(reflect.ValueOf(&row.Tally).Elem()))
		if reflect.DeepEqual(measured(row), nothing) {
			t.Errorf("model.%s is in no measure: it needs one in view.Measures", path)
		}
	})
	if checked < 50 {
		t.Errorf("%d numbers in a tally", checked)
	}
}

// measured is all measures of a row of each view.
func measured(r *Row) map[string]string {
	r.Flow = &model.Flow{Tally: r.Tally}
	all := make(map[string]string)
	for _, m := range Measures {
		n, known := m.Of(r)
		all[m.Name] = fmt.Sprint(n, known)
	}
	return all
}

// eachLeaf calls f with each number below a type, and how to find it in a value.
func eachLeaf(t reflect.Type, path string, f func(path string, of func(reflect.Value) reflect.Value)) {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			field := t.Field(i)
			eachLeaf(field.Type, path+"."+field.Name, func(path string, of func(reflect.Value) reflect.Value) {
				f(path, func(v reflect.Value) reflect.Value { return of(v.Field(i)) })
			})
		}
	case reflect.Pointer:
		eachLeaf(t.Elem(), path, func(path string, of func(reflect.Value) reflect.Value) {
			f(path, func(v reflect.Value) reflect.Value { return of(v.Elem()) })
		})
	default:
		f(path, func(v reflect.Value) reflect.Value { return v })
	}
}

// fill makes a leaf something that it is not yet.
func fill(leaf reflect.Value) {
	switch leaf.Kind() {
	case reflect.Uint64:
		leaf.SetUint(7)
	case reflect.Int64: // a duration
		leaf.SetInt(7_000_000)
	case reflect.Slice:
		one := reflect.New(leaf.Type().Elem()).Elem()
		for i := range one.NumField() {
			if one.Field(i).Kind() == reflect.String {
				one.Field(i).SetString("x")
			} else {
				fill(one.Field(i))
			}
		}
		leaf.Set(reflect.Append(leaf, one))
	default:
		panic("a tally has no leaf of type " + leaf.Type().String() + " yet: fill it here")
	}
}

// Names are unique; words are, in one view; every measure says what it is.
func TestMeasures(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range Measures {
		if names[m.Name] || m.Help == "" || m.Of == nil {
			t.Errorf("%s: known before %v, help %q", m.Name, names[m.Name], m.Help)
		}
		names[m.Name] = true
		if strings.HasPrefix(m.Help, "Who") || strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s: %q", m.Name, m.Help)
		}
	}
	for _, by := range All() {
		words, heads := make(map[string]bool), make(map[string]bool)
		for _, word := range by.SortWords() {
			if words[word] {
				t.Errorf("by %s: two words %s", by.Name, word)
			}
			words[word] = true
		}
		for _, m := range by.Measures() {
			if m.Head != "" && heads[m.Head] {
				t.Errorf("by %s: two columns %s", by.Name, m.Head)
			}
			heads[m.Head] = true
		}
	}
}

// Filters compare what rows show.
func TestAmountsAreMeasures(t *testing.T) {
	flows := crowd(3, 100)
	for _, a := range model.Amounts {
		at := slices.IndexFunc(Measures, func(m *Measure) bool { return m.Amount == a.Name })
		if at < 0 {
			t.Errorf("no measure has the amount %s", a.Name)
			continue
		}
		for i := range flows {
			n, known := a.Of(&flows[i].Tally)
			if got, gotKnown := Measures[at].Of(RowOf(&flows[i])); got != n || gotKnown != known {
				t.Errorf("%s: filters compare %d, %v; rows have %d, %v", a.Name, n, known, got, gotKnown)
			}
		}
	}
	for _, m := range Measures {
		if m.Amount != "" && !slices.ContainsFunc(model.Amounts, func(a model.Amount) bool { return a.Name == m.Amount }) {
			t.Errorf("%s: model.Amounts has no %s", m.Name, m.Amount)
		}
	}
}
