package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lotrace/lotrace/internal/machine"
)

// Titles of tables that the page has the essence of.
const (
	costTitle       = "Nanoseconds per packet at the hook: median of the rounds (quartiles)"
	comparisonTitle = "Compared within each round: median (quartiles)"
	lossTitle       = "What the workload loses: medians of interleaved pairs (quartiles)"
	watchingTitle   = "flows --watch 1s as there is more to watch"
	growthTitle     = "Nanoseconds per packet as flows become more: median of the rounds (quartiles)"
)

// table is rows under a headline, as text or as Markdown.
type table struct {
	title string
	head  []string
	rows  [][]string
}

func (s spread) String() string { return s.format(0) }

func (s spread) format(precision int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", precision, s.median, precision, s.low, precision, s.high)
}

func costTable(costs []cost) table {
	t := table{
		title: costTitle,
		head:  []string{"traffic", "program", "a run", "above empty"},
	}
	for _, c := range costs {
		for i, v := range c.scenario.variants {
			t.rows = append(t.rows, []string{c.scenario.name, v.name, c.ns[i].String(), c.aboveEmpty[i].String()})
		}
	}
	return t
}

func comparisonTable(costs []cost) table {
	t := table{
		title: comparisonTitle,
		head:  []string{"traffic", "what", "measured", "target"},
	}
	row := func(c cost, what string, measured spread, precision int, most float64) {
		verdict := ""
		if most > 0 {
			verdict = target(fmt.Sprintf("≤ %g", most), measured.median <= most)
		}
		t.rows = append(t.rows, []string{c.scenario.name, what, measured.format(precision), verdict})
	}
	for _, c := range costs {
		if most := c.scenario.all; most > 0 {
			row(c, "everything on, ns above empty", c.aboveEmpty[1], 0, most)
		}
		if r := c.scenario.ratio; r != nil {
			row(c, r.what, c.ratio, 2, r.most)
		}
		for i, f := range c.scenario.features {
			row(c, f.what, c.features[i], 0, f.most)
		}
	}
	return t
}

func resultTable(results []result) table {
	t := table{title: "User space", head: []string{"what", "measured", "target"}}
	for _, r := range results {
		verdict := r.target
		if r.measured {
			verdict = target(r.target, r.reached)
		}
		t.rows = append(t.rows, []string{r.what, r.value, verdict})
	}
	return t
}

func lossTable(losses []loss) table {
	t := table{
		title: lossTitle,
		head:  []string{"workload", "beside", "without", "with", "slower by", "saw", "pairs", "target"},
	}
	for _, l := range losses {
		saw := ""
		if l.watcher.args != nil {
			saw = fmt.Sprintf("%.0f %%", l.saw.median)
		}
		verdict := ""
		if l.workload.name == workloads[0].name && l.watcher.name == everything {
			verdict = target(fmt.Sprintf("≤ %g %%", maxLoss), l.slower.median <= maxLoss) +
				"; less than others: " + lessThanOthers(l, losses)
		}
		t.rows = append(t.rows, []string{
			l.workload.name, l.watcher.name, l.workload.show(l.without.median), l.workload.show(l.with.median),
			l.slower.format(1) + " %", saw, fmt.Sprint(l.pairs), verdict,
		})
	}
	return t
}

// lessThanOthers says whether the workload lost more to everybody else's tools.
func lessThanOthers(l loss, losses []loss) string {
	for _, o := range losses {
		if o.workload.name == l.workload.name && !o.watcher.ours && o.watcher.args != nil &&
			o.slower.median <= l.slower.median {
			return "missed"
		}
	}
	return "reached"
}

func watchingTable(all []watched) table {
	t := table{
		title: watchingTitle,
		head: []string{
			"asked for", "made", "CPU in user space", "CPU in all", "memory", "of it its own", "overflow", "target",
		},
	}
	for _, w := range all {
		t.rows = append(t.rows, []string{
			w.what, w.made, fmt.Sprintf("%.1f %%", w.user), fmt.Sprintf("%.1f %%", w.all),
			megabytes(w.rss), megabytes(w.own), w.overflow, w.target,
		})
	}
	return t
}

func megabytes(n uint64) string { return fmt.Sprintf("%d MB", n/1e6) }

func growthTable(all []growth) table {
	t := table{
		title: growthTitle,
		head: []string{
			"walk", "flows", "a run", "above empty", fmt.Sprintf("to %d flows", fewFlows), "target",
			fmt.Sprintf("reference, to %d flows", fewFlows),
		},
	}
	for _, g := range all {
		for i, flows := range g.flows {
			verdict := ""
			if flows == manyFlows {
				verdict = target(fmt.Sprintf("≤ %g", maxGrowth), g.ratio[i].median <= maxGrowth)
			}
			t.rows = append(t.rows, []string{
				g.walk.name, thousands(flows), g.run[i].String(), g.above[i].String(), g.ratio[i].format(2), verdict,
				g.reference[i].format(2),
			})
		}
	}
	return t
}

func target(limit string, reached bool) string {
	if reached {
		return limit + ": reached"
	}
	return limit + ": missed"
}

func printReport(w io.Writer, tables []table, markdown bool) error {
	var b strings.Builder
	if markdown {
		b.WriteString("# What watching costs\n\n")
	}
	fmt.Fprintf(&b, "Linux %s, %s, %d CPUs, %s, %s\n", machine.Release(), cpuModel(), runtime.NumCPU(),
		runtime.Version(), time.Now().UTC().Format(time.DateOnly))
	for _, t := range tables {
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
