package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// settings is where the flags of a command that has all common ones go.
type settings struct {
	output, by, sort, filter, netns, hook, color string
	limit, maxFlows                              int
	duration, interval                           time.Duration
	quiet, verbose                               bool
	kinds                                        []string
}

func everyFlag(s *settings) func(*pflag.FlagSet) {
	return func(fs *pflag.FlagSet) {
		outputFlag(fs, &s.output, outputFormats...)
		byFlag(fs, &s.by, "service", "flow")
		sortFlag(fs, &s.sort, "bytes", "packets")
		limitFlag(fs, &s.limit)
		durationFlag(fs, &s.duration, time.Second, "how long")
		intervalFlag(fs, &s.interval, 2*time.Second)
		filterFlag(fs, &s.filter)
		netnsFlag(fs, &s.netns)
		hookFlag(fs, &s.hook)
		maxFlowsFlag(fs, &s.maxFlows, 1000, 1, 5000)
		colorFlag(fs, &s.color)
		quietFlag(fs, &s.quiet)
		verboseFlag(fs, &s.verbose)
		s.kinds = []string{"a", "b"}
		fs.Var(&enumListValue{dst: &s.kinds, values: []string{"a", "b", "c"}}, "kinds", "")
	}
}

func defaults() settings {
	return settings{output: "table", sort: "bytes", limit: limitUnset,
		duration: time.Second, interval: 2 * time.Second, netns: "self", hook: "auto",
		maxFlows: 1000, color: "auto", kinds: []string{"a", "b"}}
}

func equal(a, b settings) bool {
	same := slices.Equal(a.kinds, b.kinds)
	a.kinds, b.kinds = nil, nil
	return same && a.comparable() == b.comparable()
}

// comparable is s without the field that == does not take.
func (s settings) comparable() any {
	return [...]any{s.output, s.by, s.sort, s.filter, s.netns, s.hook, s.color, s.limit, s.maxFlows,
		s.duration, s.interval, s.quiet, s.verbose}
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		env, args string
		want      func(*settings)
	}{
		{"", "", func(*settings) {}},
		{"", "-o json -b flow -s packets -n 7 -d 5s -i 1m -q -v", func(s *settings) {
			s.output, s.by, s.sort, s.limit = "json", "flow", "packets", 7
			s.duration, s.interval, s.quiet, s.verbose = 5*time.Second, time.Minute, true, true
		}},
		{"", "-f port:5432 --netns web --hook xdp --max-flows 5000 --color never", func(s *settings) {
			s.filter, s.netns, s.hook, s.maxFlows, s.color = "port:5432", "web", "xdp", 5000, "never"
		}},
		{"", "-s -packets", func(s *settings) { s.sort = "-packets" }},
		{"", "--sort=-bytes", func(s *settings) { s.sort = "-bytes" }},
		{"", "-n 0", func(s *settings) { s.limit = 0 }},
		{"", "-d 2", func(s *settings) { s.duration = 2 * time.Second }},
		{"", "-d 0.25", func(s *settings) { s.duration = 250 * time.Millisecond }},
		{"", "-d 0", func(s *settings) { s.duration = 0 }},
		{"", "-d 1e2", func(s *settings) { s.duration = 100 * time.Second }},
		{"", "--kinds c", func(s *settings) { s.kinds = []string{"c"} }},
		{"", "--kinds c,a", func(s *settings) { s.kinds = []string{"c", "a"} }},
		{"LOTRACE_OUTPUT=csv", "", func(s *settings) { s.output = "csv" }},
		{"LOTRACE_OUTPUT=csv", "-o wide", func(s *settings) { s.output = "wide" }},
		{"LOTRACE_OUTPUT=wrong", "-o wide", func(s *settings) { s.output = "wide" }},
		{"LOTRACE_OUTPUT=", "", func(*settings) {}},
		{"LOTRACE_MAX_FLOWS=9", "", func(s *settings) { s.maxFlows = 9 }},
		{"LOTRACE_DURATION=3", "", func(s *settings) { s.duration = 3 * time.Second }},
		{"LOTRACE_QUIET=1", "", func(s *settings) { s.quiet = true }},
		{"LOTRACE_QUIET=1", "--quiet=false", func(*settings) {}},
		{"LOTRACE_FILTER=a=b c", "", func(s *settings) { s.filter = "a=b c" }},
		// A view that other commands have is not this one's fault; the default stands.
		{"LOTRACE_BY=process", "", func(*settings) {}},
		{"LOTRACE_BY=service", "", func(s *settings) { s.by = "service" }},
		{"LOTRACE_UNHEARD_OF=1", "", func(*settings) {}},
	} {
		t.Run(tt.env+" "+tt.args, func(t *testing.T) {
			want := defaults()
			tt.want(&want)
			got, err := parseSettings(tt.env, tt.args)
			if err != nil || !equal(got, want) {
				t.Errorf("error %v\ngot  %+v\nwant %+v", err, got, want)
			}
		})
	}
}

func parseSettings(env, args string) (settings, error) {
	var s settings
	c := &command{
		name:  "test",
		flags: everyFlag(&s),
		run:   func(context.Context, *invocation) error { return nil },
	}
	err := c.execute(context.Background(), strings.Fields(args),
		&invocation{env: environment([]string{env})})
	return s, err
}

func TestBadValues(t *testing.T) {
	const seconds = `want a duration, as 500ms, 10s or 2m; a bare number means seconds`
	for _, tt := range []struct{ env, args, want string }{
		{"", "-o jsno", `invalid --output "jsno": want table, wide, json, jsonl, csv or markdown; did you mean json?`},
		{"", "-b process", `invalid --by "process": want service or flow`},
		{"", "-s byts", `invalid --sort "byts": want bytes or packets; did you mean bytes?`},
		{"", "-s --bytes", `invalid --sort "--bytes": want bytes or packets; did you mean bytes?`},
		{"", "--hook=-tcx", `invalid --hook "-tcx": want auto, tcx, clsact or xdp; did you mean tcx?`},
		{"", "--color sometimes", `invalid --color "sometimes": want auto, always or never`},
		{"", "-n -1", `invalid --limit "-1": want a whole number from 0 to 2147483647`},
		{"", "-n 1.5", `invalid --limit "1.5": want a whole number from 0 to 2147483647`},
		{"", "--max-flows 0", `invalid --max-flows "0": want a whole number from 1 to 5000`},
		{"", "--max-flows 5001", `invalid --max-flows "5001": want a whole number from 1 to 5000`},
		{"", "-d 5y", `invalid --duration "5y": ` + seconds},
		{"", "--duration=", `invalid --duration "": ` + seconds},
		{"", "-i 0", `invalid --interval "0": want more than zero`},
		{"", "-i -1s", `invalid --interval "-1s": want no less than zero`},
		{"", "-d -1s", `invalid --duration "-1s": want no less than zero`},
		{"", "-d -inf", `invalid --duration "-inf": want less than 292 years`},
		{"", "-d nan", `invalid --duration "nan": want less than 292 years`},
		{"", "-d 1e30", `invalid --duration "1e30": want less than 292 years`},
		{"", "--kinds a,,b", `invalid --kinds "a,,b": want a, b or c`},
		{"LOTRACE_MAX_FLOWS=many", "", `invalid LOTRACE_MAX_FLOWS=many: want a whole number from 1 to 5000`},
		{"LOTRACE_HOOK=ingress", "", `invalid LOTRACE_HOOK=ingress: want auto, tcx, clsact or xdp`},
		{"LOTRACE_BY=nothing", "", `invalid LOTRACE_BY=nothing: want service or flow`},
	} {
		_, err := parseSettings(tt.env, tt.args)
		var usage *usageError
		if !errors.As(err, &usage) || err.Error() != tt.want {
			t.Errorf("%s %s:\ngot  %v\nwant %s", tt.env, tt.args, err, tt.want)
		}
	}
}

func TestRowLimit(t *testing.T) {
	for _, tt := range []struct {
		limit  int
		format string
		want   int
	}{
		{limitUnset, "table", 20},
		{limitUnset, "wide", 20},
		{limitUnset, "markdown", 20},
		{limitUnset, "json", 0},
		{limitUnset, "jsonl", 0},
		{limitUnset, "csv", 0},
		{0, "table", 0},
		{5, "json", 5},
	} {
		if got := rowLimit(tt.limit, tt.format); got != tt.want {
			t.Errorf("%d, %s: %d, want %d", tt.limit, tt.format, got, tt.want)
		}
	}
}
