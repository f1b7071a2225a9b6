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

	"github.com/lotrace/lotrace/internal/loader"
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
		title: "Nanoseconds per packet at the hook: median of the rounds (quartiles)",
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
		title: "Compared within each round: median (quartiles)",
		head:  []string{"traffic", "what", "measured", "target"},
	}
	row := func(c cost, what string, measured spread, precision int, most float64) {
		t.rows = append(t.rows, []string{
			c.scenario.name, what, measured.format(precision),
			target(fmt.Sprintf("≤ %g", most), measured.median <= most),
		})
	}
	for _, c := range costs {
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
	fmt.Fprintf(&b, "Linux %s, %s, %d CPUs, %s, %s\n", loader.KernelRelease(), cpuModel(), runtime.NumCPU(),
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
