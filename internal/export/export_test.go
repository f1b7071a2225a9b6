package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
)

func encode(t *testing.T, format string, o Options, s *window) string {
	t.Helper()
	e, err := New(format, o)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := e.Encode(&out, s.pack()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestNewRejects(t *testing.T) {
	tests := []struct {
		format string
		o      Options
		want   string
	}{
		{"xml", Options{}, `unknown output format "xml": need one of table, wide, json, jsonl, csv, markdown`},
		{"json", Options{By: "pear"}, `unknown view "pear": need one of pair, service, flow, process, cgroup`},
		{"json", Options{Sort: "clients"}, `unknown sort field "clients" for rows by flow: need one of packets, `},
		{"json", Options{By: "service", Sort: "state"}, `unknown sort field "state" for rows by service: need one of packets, `},
		{"table", Options{Sort: "state"}, `unknown sort field "state" for rows by pair: need one of packets, `},
	}
	for _, tt := range tests {
		if _, err := New(tt.format, tt.o); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("New(%q, %+v): got error %v, want %s", tt.format, tt.o, err, tt.want)
		}
	}
}

// People get pairs, programs flows, unless they say otherwise.
func TestDefaultView(t *testing.T) {
	want := map[string]string{"table": "pair", "wide": "pair", "markdown": "pair", "json": "flow", "jsonl": "flow", "csv": "flow"}
	for _, format := range Formats() {
		if encode(t, format, Options{}, crowd()) != encode(t, format, Options{By: want[format]}, crowd()) {
			t.Errorf("%s: not by %s", format, want[format])
		}
	}
}

// Every field of every view is offered, and every one offered is some view's.
func TestSortFields(t *testing.T) {
	if got, want := strings.Join(SortFields(), " "), "bytes packets payload skbs retransmits flows sent received turns p50 p99 max errors name client server proto"+
		" clients state first last command unit"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, field := range SortFields() {
		fits := 0
		for _, by := range Views() {
			if _, err := New("json", Options{By: by, Sort: "-" + field}); err == nil {
				fits++
			}
		}
		if fits == 0 {
			t.Errorf("no view has %s", field)
		}
	}
}

func TestDefaultLimit(t *testing.T) {
	want := map[string]int{"table": 20, "wide": 20, "markdown": 20, "json": 0, "jsonl": 0, "csv": 0}
	for _, format := range Formats() {
		limit, ok := want[format]
		if !ok || DefaultLimit(format) != limit {
			t.Errorf("%s: got %d, want %d", format, DefaultLimit(format), limit)
		}
		delete(want, format)
	}
	if len(want) > 0 {
		t.Errorf("formats missing: %v", want)
	}
}

// A screen may be showing the window that is being written.
func TestEncodeLeavesWindowAlone(t *testing.T) {
	for _, format := range Formats() {
		for _, by := range Views() {
			s := ailing()
			encode(t, format, Options{By: by, Sort: "-bytes", Limit: 1, Color: true, Width: 40}, s)
			if !reflect.DeepEqual(s, ailing()) {
				t.Errorf("%s by %s changed its window", format, by)
			}
		}
	}
}

func TestLimit(t *testing.T) {
	tests := []struct{ format, want string }{
		{"table", "… and 4 more (-n 0 shows all)\n"},
		{"wide", "… and 4 more (-n 0 shows all)\n"},
		{"markdown", "… and 4 more (-n 0 shows all)\n"},
		{"json", `"limited":4,`},
		{"jsonl", `"limited":4,`},
	}
	for _, tt := range tests {
		if out := encode(t, tt.format, Options{By: "flow", Limit: 2}, usual()); !strings.Contains(out, tt.want) {
			t.Errorf("%s: want %q in\n%s", tt.format, tt.want, out)
		}
		if out := encode(t, tt.format, Options{By: "flow", Limit: 6}, usual()); strings.Contains(out, "more") || strings.Contains(out, `"limited":4`) {
			t.Errorf("%s: nothing is hidden, but it says so:\n%s", tt.format, out)
		}
	}
	if lines := strings.Count(encode(t, "csv", Options{By: "flow", Limit: 2}, usual()), "\r\n"); lines > 0 {
		t.Errorf("csv: got %d lines that end in CRLF; unix tools want LF", lines)
	}
	if lines := strings.Count(encode(t, "csv", Options{By: "flow", Limit: 2}, usual()), "\n"); lines != 3 {
		t.Errorf("csv: got %d lines, want a header and 2 rows", lines)
	}
}

type brokenPipe struct{ room int }

var errBroken = errors.New("broken pipe")

func (w *brokenPipe) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// Callers tell a closed pipe from other errors, so the writer's own error comes back.
func TestEncodeReportsWriteError(t *testing.T) {
	small, large := empty(), finish(window{Flows: many(1_000)})
	for _, format := range Formats() {
		e, err := New(format, Options{By: "flow"})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Encode(&brokenPipe{}, small.pack()); !errors.Is(err, errBroken) {
			t.Errorf("%s at its end: got error %v, want %v", format, err, errBroken)
		}
		if err := e.Encode(&brokenPipe{room: 20_000}, large.pack()); !errors.Is(err, errBroken) {
			t.Errorf("%s on its way: got error %v, want %v", format, err, errBroken)
		}
	}
}

// many returns n different flows, of a seed.
func many(n int) []model.Flow {
	rnd := rand.New(rand.NewPCG(1, 2))
	owner := owned().Flows[0].Client.Owner
	flows := make([]model.Flow, n)
	for i := range flows {
		flows[i] = model.Flow{
			Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client: endpointAt(fmt.Sprintf("127.0.%d.1:%d", i>>14, 40_000+i&0x3fff), owner),
			Server: endpointAt(fmt.Sprintf("127.0.0.1:%d", 8_000+i%100), nil),
			Tally:  model.Tally{ToServer: sent(rnd.Uint64N(1e4), rnd.Uint64N(1e9)), ToClient: sent(rnd.Uint64N(1e4), rnd.Uint64N(1e9))},
		}
	}
	return flows
}

func BenchmarkEncode(b *testing.B) {
	s := finish(window{Flows: many(10_000)})
	for _, format := range Formats() {
		b.Run(format, func(b *testing.B) {
			e, err := New(format, Options{Limit: DefaultLimit(format)})
			if err != nil {
				b.Fatal(err)
			}
			var out bytes.Buffer
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				if err := e.Encode(&out, s.pack()); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(out.Len()))
		})
	}
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return doc
}

// Nobody is told that a busy device is silent because a filter matches nothing on it.
func TestNothingMatches(t *testing.T) {
	none := empty()
	none.Device, none.Origin.Filter = nil, "port:5432"
	silent := filtered() // flows match, but none of their requests was answered
	silent.Flows[0].Turn, silent.Flows[0].Response = model.Latency{}, model.Latency{}
	for _, format := range []string{"table", "wide", "markdown"} {
		for _, by := range Views() {
			if out := encode(t, format, Options{By: by}, none); !strings.Contains(out, "\nno flow on lo matches port:5432 in this window\n") {
				t.Errorf("%s by %s: %s", format, by, out)
			}
		}
	}
	for want, s := range map[string]*window{
		"no flow on lo matches port:5432 in this window":                           none,
		"no request was answered on the flows that match port:5432 in this window": silent,
	} {
		var out strings.Builder
		if err := NewPicture(Options{}).Encode(&out, s.pack()); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(out.String(), "\n\n"+want+"\n") {
			t.Errorf("want %s in %s", want, &out)
		}
	}
}
