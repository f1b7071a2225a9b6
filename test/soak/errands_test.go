//go:build soak

package soak

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/testkit"
)

// turns are the runs that come and go, one after the other.
func turns() [][]string {
	all := [][]string{
		{"version", "-o", "json"}, {"completion", "bash"}, {"help", "flows"},
		{"doctor"}, {"doctor", "-o", "json"},
		{"demo", "-d", "300ms", "--rate", "500"}, {"demo", "-d", "300ms", "-o", "json"},
		{"lat", "-d", "300ms"}, {"lat", "-d", "300ms", "--breakdown", "--slow", "1ms", "-n", "0", "port:1-65535"},
		{"flows", "-d", "300ms", "-f", "tcp bytes>1kB", "-s", "-p99"},
		{"flows", "-d", "300ms", "--hook", "xdp", "-q"}, {"flows", "-d", "300ms", "--hook", "clsact", "--stages"},
		{"flows", "-d", "300ms", "--max-flows", "1024"}, {"flows", "-d", "0"},
		{"flows", "-d", "300ms", "--breakdown", "--slow", "1ms", "-o", "json"},
	}
	for _, format := range []string{"table", "wide", "json", "jsonl", "csv", "markdown"} {
		for _, by := range []string{"service", "pair", "flow", "process", "cgroup"} {
			all = append(all, []string{"flows", "-d", "200ms", "-o", format, "--by", by})
		}
	}
	return all
}

// errands run the turns beside what lasts.
type errands struct {
	testing.TB
	ns     *testkit.Netns
	before testkit.Attached
	ran    int
}

// run makes the next turn: it must end well, its numbers be exact, and nothing of it stay.
func (e *errands) run() {
	args := turns()[e.ran%len(turns())]
	e.ran++
	var stdout, stderr bytes.Buffer
	cmd := program(args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := e.ns.Do(cmd.Start); err != nil {
		e.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || stdout.Len() == 0 {
		e.Fatalf("%q: %v, printed %d bytes: %s", args, err, stdout.Len(), &stderr)
	}
	if diff := cmp.Diff(e.before, e.ns.Attached()); diff != "" {
		e.Fatalf("%q left attached (-before +after): %s", args, diff)
	}
	if args[0] == "flows" && slices.Contains(args, "json") {
		var w window
		if err := json.Unmarshal(stdout.Bytes(), &w); err != nil {
			e.Fatalf("%q: %v", args, err)
		}
		w.check(e.TB)
	}
}
