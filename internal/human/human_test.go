package human

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

func TestSize(t *testing.T) {
	tests := map[uint64]string{
		0: "0 B", 999: "999 B", 1_000: "1.0 kB", 1_249: "1.2 kB", 99_949: "99.9 kB", 99_950: "100 kB",
		999_499: "999 kB", 999_500: "1.0 MB", 45_600_000: "45.6 MB", 12e9: "12.0 GB", math.MaxUint64: "18.4 EB",
	}
	for n, want := range tests {
		if got := Size(n); got != want {
			t.Errorf("size(%d): got %q, want %q", n, got, want)
		}
	}
}

// The columns of the table are planned for seven and nine columns of number.
func TestNumbersKeepTheirWidth(t *testing.T) {
	for n := uint64(1); n < math.MaxUint64/7; n = n*7/2 + 1 {
		if s := Size(n); utf8.RuneCountInString(s) > 7 {
			t.Errorf("size(%d) is %q", n, s)
		}
		if s := Amount(n); utf8.RuneCountInString(s) > 9 {
			t.Errorf("amount(%d) is %q", n, s)
		}
	}
}

func TestAmount(t *testing.T) {
	tests := map[uint64]string{
		0: "0", 999: "999", 1_000: "1,000", 123_456: "123,456", 9_999_999: "9,999,999", 10_000_000: "10.0 M", 98_765_432: "98.8 M",
	}
	for n, want := range tests {
		if got := Amount(n); got != want {
			t.Errorf("amount(%d): got %q, want %q", n, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 9_999: "9999", 10_000: "10.0k", 82_949: "82.9k", 999_499: "999k", 3e12: "3.0T", math.MaxUint64: "18.4E"} {
		if got := Short(n); got != want {
			t.Errorf("Short(%d): got %q, want %q", n, got, want)
		}
	}
}

func TestSigned(t *testing.T) {
	for n, want := range map[int64]string{0: "+0", 1_200: "+1,200", -34: "-34", math.MinInt64: "-9,223,372,036,854,775,808"} {
		if got := Signed(n); got != want {
			t.Errorf("signed(%d): got %q, want %q", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	tests := map[time.Duration]string{
		0: "0 ns", 850: "850 ns", 1_250: "1.2 µs", 41 * time.Microsecond: "41.0 µs", 250 * time.Millisecond: "250 ms",
		time.Second: "1.0 s", 59_940 * time.Millisecond: "59.9 s", 100 * time.Second: "1m40s",
		999_950 * time.Nanosecond: "1.0 ms",
	}
	for d, want := range tests {
		if got := Span(d); got != want {
			t.Errorf("span(%d): got %q, want %q", d, got, want)
		}
	}
}

func TestLatencyText(t *testing.T) {
	tests := map[time.Duration]string{
		0: "0 ns", 1: "1 ns", 812: "812 ns", 3_190: "3.19 µs", 9_994: "9.99 µs", 9_995: "10.0 µs",
		45_100 * time.Microsecond: "45.1 ms", 1_200 * time.Millisecond: "1.20 s", 999_500: "1.00 ms", 100 * time.Second: "1m40s",
	}
	for d, want := range tests {
		if got := Latency(d); got != want || utf8.RuneCountInString(got) > 7 {
			t.Errorf("latencyText(%d): got %q, want %q", d, got, want)
		}
	}
}

func TestFrequency(t *testing.T) {
	tests := []struct {
		n    uint64
		d    time.Duration
		want string
	}{
		{1, time.Minute, "0.02"}, {3, 2 * time.Second, "1.50"}, {123, 10 * time.Second, "12.3"},
		{9_999, 100 * time.Second, "100"}, {1_204, time.Second, "1,204"}, {5, 0, "-"}, {0, 0, "-"},
	}
	for _, tt := range tests {
		if got := Frequency(tt.n, tt.d); got != tt.want {
			t.Errorf("%d in %v: got %q, want %q", tt.n, tt.d, got, tt.want)
		}
	}
}

func TestRate(t *testing.T) {
	if got := Rate(3_000, 2*time.Second, Size); got != "1.5 kB" {
		t.Errorf("got %q, want 1.5 kB", got)
	}
	if got := Rate(3_000, 0, Size); got != "-" {
		t.Errorf("over no time: got %q, want -", got)
	}
}

func TestPlain(t *testing.T) {
	tests := map[string]string{
		"curl":          "curl",
		"Web Content":   "Web Content",
		"データ":           "データ",
		"a\x1b[31m\nb":  `a\x1b[31m\nb`,
		"\u202eevil":    `\u202eevil`,
		"bad \xff utf8": `bad \xff utf8`,
		`say "hi"`:      `say "hi"`,
		"say \"hi\"\a":  `say "hi"\a`,
	}
	for in, want := range tests {
		if got := Plain(in); got != want {
			t.Errorf("plain(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestBar(t *testing.T) {
	for length, want := range map[float64]string{0: "", .01: "▏", .5: "▌", 1: "█", 2.25: "██▎", 2.97: "███"} {
		if got := bar(length); got != want {
			t.Errorf("%v: %q, want %q", length, got, want)
		}
	}
}

// Every bucket is in a bar, the ends of the range included.
func TestBarsCoverEverything(t *testing.T) {
	var l model.Latency
	for _, d := range []time.Duration{0, 600 * time.Nanosecond, time.Millisecond, time.Hour} {
		testkit.Record(&l, d)
	}
	lines := Bars(&l, 40)
	percent := 0
	for _, line := range lines {
		if strings.HasSuffix(line, " 25.0 %") {
			percent += 25
		}
		if strings.HasSuffix(line, " 50.0 %") {
			percent += 50
		}
	}
	if percent != 100 {
		t.Errorf("bars make %d %%:\n%s", percent, strings.Join(lines, "\n"))
	}
}

// NewJSON's output reads as the value that it was given, and nothing in it reaches a terminal that could command it.
func TestJSONPrints(t *testing.T) {
	for in, want := range map[string]string{
		"curl <&>":          `"curl <&>"`,
		"データ":               `"データ"`,
		"a\x1b[31m\x7f":     `"a\u001b[31m\u007f"`,
		"\u009b31m":         `"\u009b31m"`,
		"\u202eevil\u200d":  `"\u202eevil\u200d"`,
		"tag \U000e0041 it": `"tag \udb40\udc41 it"`,
		`back\slash`:        `"back\\slash"`,
	} {
		var out strings.Builder
		if err := NewJSON(&out).Encode(in); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSuffix(out.String(), "\n"); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
		var back string
		if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back != in {
			t.Errorf("%q reads as %q, %v", in, back, err)
		}
	}
}

// A filter, lotrace's own traffic and a full table each leave a window without flows on a device that is busy.
func TestNoFlows(t *testing.T) {
	some := model.Count{SKBs: 1, Packets: 2, Bytes: 3}
	for _, test := range []struct {
		filter         string
		totals, hidden model.Count
		want           string
	}{
		{"", model.Count{}, model.Count{}, "no packets on lo in this window"},
		{"", model.Count{}, some, "no packets on lo but lotrace's own in this window"},
		{"", some, model.Count{}, "no flows on lo in this window"},
		{"", some, some, "no flows on lo but lotrace's own in this window"},
		{"port:1", model.Count{}, model.Count{}, "no flow on lo matches port:1 in this window"},
		{"port:1", some, model.Count{}, "no flow on lo matches port:1 in this window"},
		{"port:1", model.Count{}, some, "no flow on lo but lotrace's own matches port:1 in this window"},
		{"comm:\x1b[31m", model.Count{}, model.Count{}, `no flow on lo matches comm:\x1b[31m in this window`},
	} {
		s := model.Window{Origin: model.Origin{Filter: test.filter, Sites: []model.Site{{Device: "lo"}}}, Totals: test.totals}
		s.Hidden.Count = test.hidden
		if got := NoFlows(&s); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestProcessName(t *testing.T) {
	for want, o := range map[string]*model.Owner{
		"curl":   {PID: 7, Comm: "curl"},
		"pid 7":  {PID: 7},
		"kernel": {Comm: model.KernelComm},
		"?":      nil,
	} {
		if got := ProcessName(o); got != want {
			t.Errorf("%+v: got %q, want %q", o, got, want)
		}
	}
	if got := ProcessName(&model.Owner{}); got != "?" {
		t.Errorf("several processes of several names: got %q, want ?", got)
	}
}
