package export

import (
	"iter"
	"reflect"
	"slices"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/stats"
)

// view is one value of Options.By. Views differ in the type of their rows; what encoders do with
// rows is the same for all.
type view interface {
	Name() string
	SortFields() []string
	CheckSort(field string) error
	pick(o Options, s *model.Window) (selection, error)
}

// selection is the rows of one view of a snapshot, sorted and cut to the limit.
type selection interface {
	limited() int              // rows that the limit cut off
	fields() []csvColumn       // of each of rows
	rows() iter.Seq[any]       // as JSON has them
	fill(sh *sheet, wide bool) // with the columns that fit a terminal, or all
}

// views is all there is to know about --by.
var views = []view{
	&viewOf[model.Pair, pairRow]{View: stats.PairView, columns: pairColumns, row: newPairRow},
	&viewOf[model.Service, serviceRow]{View: stats.ServiceView, columns: serviceColumns, row: newServiceRow,
		bar: func(v *model.Service) *model.Latency { return &v.Turn }},
	&viewOf[model.Flow, flowRow]{View: stats.FlowView, columns: flowColumns, row: newFlowRow,
		dim: func(f *model.Flow) bool { return f.Closed }},
	&viewOf[model.Usage, processRow]{View: stats.ProcessView, columns: processColumns, row: newProcessRow},
	&viewOf[model.Usage, cgroupRow]{View: stats.CgroupView, columns: cgroupColumns, row: newCgroupRow},
}

// viewOf is a view with rows of T, which JSON and CSV show as R.
type viewOf[T, R any] struct {
	*stats.View[T]
	columns func(s *model.Window, wide bool) []column[T]
	row     func(*T) R
	dim     func(*T) bool           // which rows matter less; nil: none
	bar     func(*T) *model.Latency // what wide draws the histogram of; nil: nothing
}

func (v *viewOf[T, R]) pick(o Options, s *model.Window) (selection, error) {
	rows, total, err := v.Rows(s.Flows, o.Sort, o.Limit)
	return &selectionOf[T, R]{v, s, rows, total}, err
}

type selectionOf[T, R any] struct {
	view     *viewOf[T, R]
	snapshot *model.Window
	picked   []T
	total    int
}

func (sel *selectionOf[T, R]) limited() int { return sel.total - len(sel.picked) }

func (sel *selectionOf[T, R]) fields() []csvColumn { return csvColumns(reflect.TypeFor[R](), "", nil) }

func (sel *selectionOf[T, R]) rows() iter.Seq[any] {
	return func(yield func(any) bool) {
		for i := range sel.picked {
			if !yield(sel.view.row(&sel.picked[i])) {
				return
			}
		}
	}
}

func (sel *selectionOf[T, R]) fill(sh *sheet, wide bool) {
	lay(sh, sel.view.columns(sel.snapshot, wide), sel.picked)
	for i := range sel.picked {
		sh.dim = append(sh.dim, sel.view.dim != nil && sel.view.dim(&sel.picked[i]))
	}
	if wide && sel.view.bar != nil {
		sel.addBars(sh)
	}
}

// lay puts rows under the heads of their columns.
func lay[T any](sh *sheet, columns []column[T], rows []T) {
	for _, c := range columns {
		sh.heads = append(sh.heads, c.head)
		sh.texts = append(sh.texts, c.text)
		if c.optional {
			sh.optional++
		}
	}
	for i := range rows {
		cells := make([]string, len(columns))
		for j, c := range columns {
			cells[j] = c.cell(&rows[i])
		}
		sh.rows = append(sh.rows, cells)
	}
}

// addBars draws histograms into a last column.
func (sel *selectionOf[T, R]) addBars(sh *sheet) {
	latencies := make([]*model.Latency, len(sel.picked))
	for i := range sel.picked {
		latencies[i] = sel.view.bar(&sel.picked[i])
	}
	scale := scaleOf(latencies)
	sh.heads, sh.texts = append(sh.heads, "HIST"), append(sh.texts, true)
	for i, l := range latencies {
		sh.rows[i] = append(sh.rows[i], scale.bar(l))
	}
	sh.legend = scale.legend()
}

// Views lists the names that Options.By takes.
func Views() []string {
	names := make([]string, len(views))
	for i, v := range views {
		names[i] = v.Name()
	}
	return names
}

// SortFields lists what Options.Sort takes, the default first: the fields of all views. New refuses
// one that its view has not.
func SortFields() []string {
	fields := []string{stats.DefaultSort}
	for _, v := range views {
		for _, field := range v.SortFields() {
			if !slices.Contains(fields, field) {
				fields = append(fields, field)
			}
		}
	}
	return fields
}
