package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lotrace/lotrace/internal/machine"
)

// Titles of tables that the page has the essence of, as they begin.
const (
	goalsTitle      = "Goals"
	costTitle       = "Nanoseconds per packet at the hook"
	comparisonTitle = "Compared within each round"
	lossTitle       = "What the workload loses"
	watchingTitle   = "flows --watch 1s as there is more to watch"
	growthTitle     = "Nanoseconds per packet as flows become more"
)

// report is what was measured. Of its figures, those that have a goal are held to it at its end.
type report struct {
	tables  []table
	figures []figure
}

func (r *report) add(o report) {
	r.tables, r.figures = append(r.tables, o.tables...), append(r.figures, o.figures...)
}

// table is rows under a headline, as text or as Markdown.
type table struct {
	title string
	head  []string
	rows  [][]string
}

func costReport(costs []cost, others ...figure) (r report) {
	if len(costs) > 0 {
		r.tables = append(r.tables, costTable(costs))
	}
	for _, c := range costs {
		r.figures = append(r.figures, c.figures()...)
	}
	r.figures = append(r.figures, others...)
	if len(r.figures) > 0 {
		r.tables = append(r.tables, comparisonTable(r.figures))
	}
	return r
}

func costTable(costs []cost) table {
	t := table{
		title: costTitle + ": median of the instances (quartiles)",
		head:  []string{"traffic", "program", "a run", "above empty", "to the reference"},
	}
	for _, c := range costs {
		for _, v := range c.programs {
			row := []string{c.name, v.name}
			for _, what := range []comparison{{of: v.name}, {of: v.name, less: emptyTC.name}} {
				row = append(row, what.measure(c.took, c.rounds).String())
			}
			ratio := ""
			if slices.Contains(c.programs, reference) {
				ratio = toReference("", v, 0).measure(c.took, c.rounds).format(2)
			}
			t.rows = append(t.rows, append(row, ratio))
		}
	}
	return t
}

func comparisonTable(figures []figure) table {
	t := table{
		title: comparisonTitle + ": median of pairs of instances (quartiles)",
		head:  []string{"traffic", "what", "measured"},
	}
	for _, f := range figures {
		t.rows = append(t.rows, []string{f.of, f.what, f.value()})
	}
	return t
}

func userSpaceTable(figures []figure) table {
	t := table{title: "User space", head: []string{"what", "measured"}}
	for _, f := range figures {
		if f.of == userSpace {
			t.rows = append(t.rows, []string{f.what, f.value()})
		}
	}
	return t
}

// goalTable has what is held to a goal.
func goalTable(figures []figure) table {
	t := table{title: goalsTitle, head: []string{"of", "what", "goal", "measured", "which is"}}
	for _, f := range figures {
		if f.most > 0 {
			t.rows = append(t.rows, []string{f.of, f.what, f.goal(), f.value(), f.verdict()})
		}
	}
	return t
}

func lossReport(losses []loss) report {
	r := report{tables: []table{lossTable(losses)}}
	for _, l := range losses {
		if l.workload.name == workloads[0].name && l.watcher.name == everything {
			r.figures = append(r.figures, lessThanOthers(l, losses)...)
		}
	}
	return r
}

func lossTable(losses []loss) table {
	t := table{
		title: lossTitle + ": medians of interleaved pairs (quartiles)",
		head:  []string{"workload", "beside", "without", "with", "slower by", "saw", "pairs"},
	}
	for _, l := range losses {
		saw := ""
		if l.watcher.args != nil {
			saw = fmt.Sprintf("%.0f %%", l.saw.median)
		}
		t.rows = append(t.rows, []string{
			l.workload.name, l.watcher.name, l.workload.show(l.without.median), l.workload.show(l.with.median),
			l.slower.format(1) + " %", saw, fmt.Sprint(l.pairs),
		})
	}
	return t
}

// lessThanOthers holds what the workload lost against the least that it lost to somebody else's tools, if any ran.
func lessThanOthers(l loss, losses []loss) []figure {
	least := math.Inf(1)
	for _, o := range losses {
		if o.workload.name == l.workload.name && !o.watcher.ours && o.watcher.args != nil {
			least = min(least, o.slower.median)
		}
	}
	if math.IsInf(least, 1) {
		return nil
	}
	times := func(slower float64) float64 { return 1 + slower/100 }
	return []figure{{
		of: l.workload.name, what: "times as long beside " + l.watcher.name + ", at most as beside the least of others' tools",
		measured: spread{times(l.slower.median), times(l.slower.low), times(l.slower.high)}, precision: 3,
		most: math.Round(1000*times(least)) / 1000,
	}}
}

func watchingReport(all []watched) report {
	r := report{tables: []table{watchingTable(all)}}
	for _, w := range all {
		r.figures = append(r.figures, w.figures()...)
	}
	return r
}

func watchingTable(all []watched) table {
	t := table{
		title: watchingTitle,
		head: []string{
			"asked for", "made", "CPU in user space", "CPU in all", "memory", "of it its own", "overflow",
		},
	}
	for _, w := range all {
		t.rows = append(t.rows, []string{
			w.what, w.made, fmt.Sprintf("%.1f %%", w.user), fmt.Sprintf("%.1f %%", w.all),
			megabytes(w.rss), megabytes(w.own), w.overflow,
		})
	}
	return t
}

func megabytes(n uint64) string { return fmt.Sprintf("%d MB", n/1e6) }

func growthReport(all []growth) report {
	r := report{tables: []table{growthTable(all)}}
	for _, g := range all {
		for i, flows := range g.flows {
			if slices.Contains(goalFlows, flows) {
				r.figures = append(r.figures, figure{
					of: g.walk.name, what: thousands(flows) + " flows, to the reference",
					measured: g.ratio[i], precision: 2, most: maxToReference,
				})
			}
		}
	}
	return r
}

func growthTable(all []growth) table {
	t := table{
		title: growthTitle + ": median of the rounds (quartiles)",
		head:  []string{"walk", "flows", "a run", "above empty", "reference, above empty", "to the reference"},
	}
	for _, g := range all {
		for i, flows := range g.flows {
			t.rows = append(t.rows, []string{
				g.walk.name, thousands(flows), g.run[i].String(), g.above[i].String(), g.reference[i].String(),
				g.ratio[i].format(2),
			})
		}
	}
	return t
}

// all is every table there is. The last says how goals were met, the one before has the figures that are in no other.
func (r report) all() []table {
	all := slices.Clone(r.tables)
	for _, t := range []table{userSpaceTable(r.figures), goalTable(r.figures)} {
		if len(t.rows) > 0 {
			all = append(all, t)
		}
	}
	return all
}

func (r report) print(w io.Writer, markdown bool) error {
	var b strings.Builder
	if markdown {
		b.WriteString("# What watching costs\n\n")
	}
	fmt.Fprintf(&b, "Linux %s, %s, %d CPUs, %s, %s\n", machine.Release(), cpuModel(), runtime.NumCPU(),
		runtime.Version(), time.Now().UTC().Format(time.DateOnly))
	for _, t := range r.all() {
		if markdown {
			t.markdown(&b)
		} else {
			t.text(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t table) text(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n", t.title)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.head}, t.rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
}

func (t table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n", t.title)
	t.rowsTo(b)
}

// rowsTo writes the rows as Markdown.
func (t table) rowsTo(b *strings.Builder) {
	rule := strings.Split(strings.Repeat("---,", len(t.head)-1)+"---", ",")
	for _, row := range append([][]string{t.head, rule}, t.rows...) {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}

// cpuModel is the processor's name as /proc/cpuinfo has it on x86; others have none there.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
