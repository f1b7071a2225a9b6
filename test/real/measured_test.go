//go:build real

package real

import (
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/services"
)

// compared are the percentiles that lotrace reports.
var compared = []int{50, 90, 99}

type (
	percentiles map[int]time.Duration

	// span is from the least to the most.
	span [2]time.Duration

	// measured are turns, and what their client says of them.
	measured struct {
		what   string
		turn   latency
		client percentiles
		own    map[int]span // how much of a percentile is the client's own, where that is known
	}
)

func (l *latency) percentiles() percentiles { return percentiles{50: l.P50, 90: l.P90, 99: l.P99} }

// differs says where turns do not last as long as the client says, less its own part of that. A turn lies
// within what the client measures, so no percentile of turns is greater; lotrace's are within 6 %. What was
// right before is not looked at again.
func (m *measured) differs(right map[string]bool) (off string) {
	turns := m.turn.percentiles()
	for _, percent := range compared {
		got := turns[percent]
		name := fmt.Sprintf("%s, p%d", m.what, percent)
		said, ok := m.client[percent]
		if !ok || right[name] {
			continue
		}
		least, most := time.Duration(0), said
		if own, ok := m.own[percent]; ok {
			least, most = said-own[1], said-own[0]
		}
		slack := said * 6 / 100
		right[name] = got >= least-slack && got <= most+slack
		if !right[name] {
			off += fmt.Sprintf("%s: %v, want %v to %v, as the client says %v\n", name, got, least, most, said)
		}
	}
	return off
}

func (m *measured) print(w io.Writer) {
	fmt.Fprintf(w, "%d\t%v\t%v\t%v\t%v\t  %s\n", m.turn.Count, m.turn.P50, m.client[50], m.turn.P99, m.client[99], m.what)
}

// onOneCPU has all processes that begin starts share one CPU. Then nobody waits for another CPU to wake up,
// which may take longer than the answer and is what varies most.
func onOneCPU(t *testing.T, begin func()) {
	t.Helper()
	if err := services.OnCPU(0, func() error { begin(); return nil }); err != nil {
		t.Fatal(err)
	}
}

func parseCount(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// number is what a text says where a pattern has its group.
func number(t *testing.T, pattern *regexp.Regexp, text string) uint64 {
	t.Helper()
	match := pattern.FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("no %v: %s", pattern, text)
	}
	return parseCount(t, match[1])
}

func parseDuration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// parsePercentiles are those of which a text says, at the groups of a pattern: which one, a number, its unit.
func parsePercentiles(t *testing.T, line *regexp.Regexp, text, unit string) percentiles {
	t.Helper()
	found := percentiles{}
	for _, match := range line.FindAllStringSubmatch(text, -1) {
		found[parsePID(t, match[1])] = parseDuration(t, match[2]+match[3]+unit)
	}
	if _, ok := found[50]; !ok {
		t.Fatalf("no percentiles %v: %s", line, text)
	}
	return found
}

// saidRedis are the percentiles of a command in the CSV of redis-benchmark.
func saidRedis(t *testing.T, text, command string) percentiles {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	at := slices.IndexFunc(lines, func(fields []string) bool { return fields[0] == command })
	if at < 0 {
		t.Fatalf("nothing of %s: %s", command, text)
	}
	found := percentiles{}
	for i, name := range lines[0] {
		switch name {
		case "p50_latency_ms":
			found[50] = parseDuration(t, lines[at][i]+"ms")
		case "p99_latency_ms":
			found[99] = parseDuration(t, lines[at][i]+"ms")
		}
	}
	return found
}
