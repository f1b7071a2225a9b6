package export

import (
	"iter"
	"reflect"
	"slices"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

// layout is how the rows of one view are shown.
type layout struct {
	*view.By
	identity func(s *model.Window, wide bool) identity
	row      func(*view.Row) any // as JSON has it
	bars     bool                // wide draws histograms of turns
}

// layouts is all there is to know about --by.
var layouts = []layout{
	{By: view.Pair, identity: pairIdentity, row: newPairRow},
	{By: view.Service, identity: serviceIdentity, row: newServiceRow, bars: true},
	{By: view.Flow, identity: flowIdentity, row: newRowOfFlow},
	{By: view.Process, identity: processIdentity, row: newProcessRow},
	{By: view.Cgroup, identity: cgroupIdentity, row: newCgroupRow},
}

// newRowOfFlow keeps nothing of r, which is valid until the next row only.
func newRowOfFlow(r *view.Row) any {
	f := *r.Flow
	return newFlowRow(&f)
}

// selection is the rows of one view of a window, sorted and cut to the limit.
type selection struct {
	*layout
	window *model.Window
	picked view.Rows
	total  int
}

// pick rolls a window up. What was picked before is of no use any more.
func (r request) pick(s *model.Window) (selection, error) {
	r.roll.Reset()
	r.roll.Add(s.Flows)
	picked, err := r.roll.Rows(r.Sort, r.Limit)
	return selection{r.layout, s, picked, r.roll.Len()}, err
}

// limited is how many rows the limit cut off.
func (sel *selection) limited() int { return sel.total - sel.picked.Len() }

// fields are those of each of rows.
func (sel *selection) fields() []csvColumn {
	return csvColumns(reflect.TypeOf(sel.row(&view.Row{Flow: new(model.Flow)})), "", nil)
}

// rows are as JSON has them.
func (sel *selection) rows() iter.Seq[any] {
	return func(yield func(any) bool) {
		for row := range sel.picked.All() {
			if !yield(sel.row(row)) {
				return
			}
		}
	}
}

// fill lays out the columns that fit a terminal, or all.
func (sel *selection) fill(sh *sheet, wide bool) {
	columns := sel.columnsOf(sel.window, wide)
	putHeads(sh, columns)
	var turns []*model.Latency
	for row := range sel.picked.All() {
		putRow(sh, columns, row)
		sh.dim = append(sh.dim, row.Flow != nil && row.Flow.Closed)
		turns = append(turns, &row.Turn)
	}
	if wide && sel.bars {
		addBars(sh, turns)
	}
}

func putHeads[T any](sh *sheet, columns []column[T]) {
	for _, c := range columns {
		sh.heads = append(sh.heads, c.head)
		sh.texts = append(sh.texts, c.text)
		if c.optional {
			sh.optional++
		}
	}
}

func putRow[T any](sh *sheet, columns []column[T], row *T) {
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = c.cell(row)
	}
	sh.rows = append(sh.rows, cells)
}

// addBars draws histograms into a last column.
func addBars(sh *sheet, latencies []*model.Latency) {
	scale := scaleOf(latencies)
	sh.heads, sh.texts = append(sh.heads, "HIST"), append(sh.texts, true)
	for i, l := range latencies {
		sh.rows[i] = append(sh.rows[i], scale.bar(l))
	}
	sh.legend = scale.legend()
}

// Views lists the names that Options.By takes.
func Views() []string {
	names := make([]string, len(layouts))
	for i := range layouts {
		names[i] = layouts[i].Name
	}
	return names
}

// SortFields lists what Options.Sort takes, the default first: the fields of all views. New refuses
// one that its view has not.
func SortFields() []string {
	fields := []string{view.DefaultSort}
	for i := range layouts {
		for _, field := range layouts[i].SortWords() {
			if !slices.Contains(fields, field) {
				fields = append(fields, field)
			}
		}
	}
	return fields
}
