package export

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/olekukonko/tablewriter/pkg/twwidth"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func TestGolden(t *testing.T) {
	windows := map[string]func() *window{
		"usual": usual, "owned": owned, "crowd": crowd, "ailing": ailing, "lossy": lossy, "filtered": filtered, "empty": empty,
	}
	tests := []struct {
		window, format, variant string
		o                       Options
	}{
		{"usual", "table", "", Options{By: "flow"}},
		{"usual", "table", "-80", Options{By: "flow", Width: 80}},
		{"usual", "table", "-service-80", Options{By: "service", Width: 80}},
		{"usual", "table", "-limit", Options{By: "flow", Limit: 2, Sort: "client"}},
		{"usual", "wide", "", Options{By: "flow"}},
		{"usual", "wide", "-service", Options{By: "service"}},
		{"usual", "json", "", Options{}},
		{"usual", "jsonl", "-service", Options{By: "service"}},
		{"usual", "csv", "", Options{}},
		{"usual", "markdown", "", Options{By: "flow"}},
		{"owned", "table", "-80", Options{By: "flow", Width: 80}},
		{"owned", "table", "", Options{By: "flow"}},
		{"owned", "wide", "", Options{By: "flow"}},
		{"owned", "json", "", Options{}},
		{"owned", "jsonl", "", Options{}},
		{"owned", "csv", "", Options{}},
		{"owned", "csv", "-service", Options{By: "service"}},
		{"owned", "markdown", "", Options{By: "flow"}},
		{"crowd", "table", "", Options{}},
		{"crowd", "table", "-80", Options{Width: 80}},
		{"crowd", "table", "-flow-80", Options{By: "flow", Width: 80}},
		{"crowd", "table", "-service-80", Options{By: "service", Width: 80}},
		{"crowd", "table", "-service-96", Options{By: "service", Width: 96}},
		{"crowd", "wide", "-service", Options{By: "service"}},
		{"crowd", "table", "-process", Options{By: "process"}},
		{"crowd", "table", "-process-80", Options{By: "process", Width: 80}},
		{"crowd", "table", "-cgroup", Options{By: "cgroup"}},
		{"crowd", "table", "-cgroup-80", Options{By: "cgroup", Width: 80}},
		{"crowd", "wide", "", Options{}},
		{"crowd", "wide", "-process", Options{By: "process", Sort: "name"}},
		{"crowd", "wide", "-cgroup", Options{By: "cgroup", Sort: "-received"}},
		{"crowd", "markdown", "", Options{}},
		{"crowd", "json", "-pair", Options{By: "pair"}},
		{"crowd", "jsonl", "-process", Options{By: "process"}},
		{"crowd", "json", "-cgroup", Options{By: "cgroup"}},
		{"crowd", "jsonl", "-service", Options{By: "service", Limit: 2}},
		{"crowd", "csv", "-pair", Options{By: "pair"}},
		{"crowd", "csv", "-process", Options{By: "process"}},
		{"crowd", "csv", "-cgroup", Options{By: "cgroup"}},
		{"usual", "table", "-pair-80", Options{Width: 80}},
		{"ailing", "table", "", Options{}},
		{"ailing", "table", "-80", Options{Width: 80, SlowLimit: 2}},
		{"ailing", "table", "-color", Options{Limit: 1, Color: true, SlowLimit: 1}},
		{"ailing", "wide", "", Options{By: "flow"}},
		{"ailing", "wide", "-service", Options{By: "service", Sort: "errors"}},
		{"ailing", "wide", "-process", Options{By: "process", Sort: "-errors"}},
		{"ailing", "markdown", "", Options{Limit: 2, SlowLimit: 2}},
		{"ailing", "json", "", Options{}},
		{"ailing", "jsonl", "-service", Options{By: "service"}},
		{"ailing", "csv", "", Options{}},
		{"lossy", "table", "", Options{By: "flow"}},
		{"lossy", "table", "-color", Options{By: "flow", Color: true}},
		{"lossy", "json", "", Options{}},
		{"lossy", "markdown", "", Options{By: "flow"}},
		{"filtered", "table", "", Options{By: "flow"}},
		{"filtered", "json", "", Options{}},
		{"empty", "table", "-color", Options{Color: true}},
		{"empty", "markdown", "", Options{}},
		{"empty", "json", "", Options{}},
		{"empty", "jsonl", "", Options{}},
		{"empty", "csv", "", Options{}},
	}
	for _, tt := range tests {
		name := tt.window + tt.variant + "." + tt.format
		t.Run(name, func(t *testing.T) {
			golden(t, name, encode(t, tt.format, tt.o, windows[tt.window]()))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A process's name for itself must not reach the terminal as anything but text, on its one line.
func TestPeopleSeeHostileNamesEscaped(t *testing.T) {
	for _, format := range []string{"table", "wide", "markdown"} {
		for _, by := range Views() {
			out := encode(t, format, Options{By: by}, crowd())
			if strings.ContainsAny(out, "\x1b\u202e\r\t\a") {
				t.Errorf("%s by %s: an escape got through: %q", format, by, out)
			}
			rows := len(decode(t, encode(t, "json", Options{By: by}, crowd()))["rows"].([]any))
			if n := strings.Count(out, "\n"); n > rows+5 {
				t.Errorf("%s by %s: got %d lines for %d rows", format, by, n, rows)
			}
			if !strings.Contains(out, `\n`) && by != "service" && by != "cgroup" {
				t.Errorf("%s by %s: the new line in a name is not shown as one: %q", format, by, out)
			}
		}
	}
}

// The table says how wide it may be, and keeps to it down to where nothing sensible is left.
func TestTableFits(t *testing.T) {
	for _, s := range []*window{usual(), owned(), crowd(), ailing(), filtered()} {
		for _, by := range Views() {
			for width := 80; width <= 130; width++ {
				for line := range strings.Lines(encode(t, "table", Options{By: by, Width: width}, s)) {
					if w := twwidth.Width(strings.TrimSuffix(line, "\n")); w > width {
						t.Errorf("by %s, width %d: %d columns in %q", by, width, w, line)
					}
				}
			}
		}
	}
}

// A locale in which arrows count for two columns must not push the numbers out of line.
func TestTableIgnoresLocale(t *testing.T) {
	want := encode(t, "table", Options{Width: 80}, usual())
	was := twwidth.IsEastAsian()
	t.Cleanup(func() { twwidth.SetEastAsian(was) })
	twwidth.SetEastAsian(true)
	if got := encode(t, "table", Options{Width: 80}, usual()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Colours may only be added: without them the same text remains.
func TestColorIsOnlySignal(t *testing.T) {
	for _, s := range []*window{usual(), owned(), ailing(), lossy(), empty()} {
		colored := encode(t, "table", Options{By: "flow", Color: true}, s)
		bare := strings.NewReplacer(red, "", dim, "", reset, "").Replace(colored)
		if want := encode(t, "table", Options{By: "flow"}, s); bare != want {
			t.Errorf("got\n%s\nwant\n%s", bare, want)
		}
	}
	if out := encode(t, "table", Options{By: "flow", Color: true}, filtered()); strings.Contains(out, "\x1b") {
		t.Errorf("nothing is wrong, nothing closed, yet there is colour: %q", out)
	}
}

func TestCut(t *testing.T) {
	tests := []struct {
		in    string
		width int
		want  string
	}{
		{"127.0.0.1:51234", 15, "127.0.0.1:51234"},
		{"127.0.0.1:51234", 13, "127.0…1:51234"},
		{"[fd00::1234:5678]:443", 12, "[fd0…78]:443"},
		{"データベース(4194304)", 14, "データ…194304)"},
	}
	for _, tt := range tests {
		if got := cut(tt.in, tt.width); got != tt.want || twwidth.Width(got) > tt.width {
			t.Errorf("cut(%q, %d): got %q, want %q", tt.in, tt.width, got, tt.want)
		}
	}
}
