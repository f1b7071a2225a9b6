package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/machine"
)

const (
	resultsDir = "bench/results"
	pagePath   = "docs/bench.md"
)

// resultsPath is the file of this kind of machine: its kernel's first two numbers, and its CPUs.
func resultsPath() string {
	release := strings.SplitN(machine.Release(), ".", 3)
	return filepath.Join(resultsDir, fmt.Sprintf("linux-%s-%dcpu.md", strings.Join(release[:2], "."), runtime.NumCPU()))
}

// writePage makes the tables of the page from results, which are as printReport writes them.
func writePage(results string) error {
	report, err := os.ReadFile(results)
	if err != nil {
		return err
	}
	page, err := os.ReadFile(pagePath)
	if err != nil {
		return err
	}
	changed, err := withBlock(string(page), results, string(report))
	if err != nil {
		return fmt.Errorf("%s: %w", pagePath, err)
	}
	return os.WriteFile(pagePath, []byte(changed), 0o644)
}

var block = regexp.MustCompile(`(?s)(<!-- bench:begin[^>]*-->\n).*(<!-- bench:end -->)`)

// withBlock returns the page with its block made anew from a report.
func withBlock(page, path, report string) (string, error) {
	at := block.FindStringSubmatchIndex(page)
	if at == nil {
		return "", errors.New("no place for results")
	}
	machine, tables := parseReport(report)
	if machine == "" {
		return "", fmt.Errorf("%s: no results", path)
	}
	return page[:at[3]] + pageBlock(path, machine, tables) + page[at[4]:], nil
}

// parseReport reads what printReport wrote as Markdown: the line about the machine, and the tables.
func parseReport(report string) (machine string, tables []table) {
	for line := range strings.Lines(report) {
		line = strings.TrimSuffix(line, "\n")
		title, isTitle := strings.CutPrefix(line, "## ")
		cells, isRow := strings.CutPrefix(line, "| ")
		switch {
		case isTitle:
			tables = append(tables, table{title: title})
		case strings.HasPrefix(line, "Linux "):
			machine = line
		case isRow && len(tables) > 0 && !strings.HasPrefix(cells, "---"):
			t := &tables[len(tables)-1]
			row := strings.Split(strings.TrimSuffix(cells, " |"), " | ")
			if t.head == nil {
				t.head = row
			} else {
				t.rows = append(t.rows, row)
			}
		}
	}
	return machine, tables
}

// pageBlock is the essence of the results; of what was not measured there is nothing.
func pageBlock(path, machine string, tables []table) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured once on %s (all of it, with spreads: [%s](../%s)).\n", machine, filepath.Base(path), path)
	find := func(title string) table {
		i := slices.IndexFunc(tables, func(t table) bool { return strings.HasPrefix(t.title, title) })
		if i < 0 {
			return table{}
		}
		return tables[i]
	}
	goals := find(goalsTitle)
	goals.title = "Goals, and how they are met:"
	growth := find(growthTitle)
	for _, part := range []table{
		goals,
		costEssence(find(costTitle), find(comparisonTitle)),
		lossEssence(find(lossTitle)),
		growthEssence(growth),
		growthToReference(growth),
		watchingEssence(find(watchingTitle)),
	} {
		if len(part.rows) > 0 {
			fmt.Fprintf(&b, "\n%s\n\n", part.title)
			part.rowsTo(&b)
		}
	}
	return b.String()
}

// cell is a value of a row by the name of its column.
func (t table) cell(row []string, column string) string {
	if i := slices.Index(t.head, column); i >= 0 && i < len(row) {
		return row[i]
	}
	return ""
}

// median is a cell without its quartiles.
func median(cell string) string {
	value, rest, _ := strings.Cut(cell, " (")
	_, unit, _ := strings.Cut(rest, ")")
	if strings.Trim(value, "-0.") == "" {
		value = strings.TrimPrefix(value, "-")
	}
	return value + unit
}

// pivot has a row for each value of one column and a column for each of another. Both come in the order
// of their first sight.
func (t table) pivot(title, rows, columns string, value func(row []string) string) table {
	out := table{title: title, head: []string{rows}}
	for _, row := range t.rows {
		name, column := t.cell(row, rows), t.cell(row, columns)
		y := slices.IndexFunc(out.rows, func(r []string) bool { return r[0] == name })
		if y < 0 {
			y = len(out.rows)
			out.rows = append(out.rows, []string{name})
		}
		x := slices.Index(out.head, column)
		if x < 0 {
			x = len(out.head)
			out.head = append(out.head, column)
		}
		for len(out.rows[y]) <= x {
			out.rows[y] = append(out.rows[y], "")
		}
		out.rows[y][x] = value(row)
	}
	for y := range out.rows {
		for len(out.rows[y]) < len(out.head) {
			out.rows[y] = append(out.rows[y], "")
		}
	}
	return out
}

// costEssence leaves out the empty program, which the others are above, and those that show what a feature adds. It
// puts what is compared beside the others.
func costEssence(costs, compared table) table {
	shown := []string{oursTC.name, countTC.name, reference.name}
	costs.rows = slices.DeleteFunc(slices.Clone(costs.rows), func(row []string) bool {
		return !slices.Contains(shown, costs.cell(row, "program"))
	})
	t := costs.pivot("Nanoseconds per packet, above an empty program in its place:", "traffic", "program",
		func(row []string) string { return median(costs.cell(row, "above empty")) })
	for _, what := range []string{everythingToReference, countingToReference, ownersAdd, turnsAdd, healthAdds} {
		t.addColumn(what, compared)
	}
	return t
}

// addColumn puts what was compared, by the row's traffic, behind the rows; if there is any.
func (t *table) addColumn(what string, compared table) {
	values := make([]string, len(t.rows))
	found := false
	for _, c := range compared.rows {
		if strings.TrimSuffix(compared.cell(c, "what"), ", ns") != what {
			continue
		}
		for y, row := range t.rows {
			if compared.cell(c, "traffic") == row[0] {
				values[y], found = strings.TrimSuffix(median(compared.cell(c, "measured")), " ns"), true
			}
		}
	}
	if !found {
		return
	}
	t.head = append(t.head, what)
	for y := range t.rows {
		t.rows[y] = append(t.rows[y], values[y])
	}
}

func lossEssence(losses table) table {
	return losses.pivot("How much slower services are while somebody watches; beside nothing is the noise:",
		"beside", "workload", func(row []string) string { return median(losses.cell(row, "slower by")) })
}

func growthEssence(growth table) table {
	return growth.pivot("Nanoseconds per packet, above an empty program, by the number of flows that live:",
		"walk", "flows", func(row []string) string { return median(growth.cell(row, "above empty")) })
}

func growthToReference(growth table) table {
	const ratio = "to the reference"
	if !slices.Contains(growth.head, ratio) {
		return table{}
	}
	return growth.pivot("The same, to the reference on the same walk:", "walk", "flows",
		func(row []string) string { return median(growth.cell(row, ratio)) })
}

func watchingEssence(watched table) table {
	t := table{title: "`lotrace flows --watch 1s` itself:", head: []string{"what there is", "CPU", "memory"}}
	for _, row := range watched.rows {
		what, made := watched.cell(row, "asked for"), watched.cell(row, "made")
		if strings.HasSuffix(what, "connections/s") && what != made {
			what += " (made: " + made + ")"
		}
		t.rows = append(t.rows, []string{what, watched.cell(row, "CPU in all"), watched.cell(row, "memory")})
	}
	return t
}
