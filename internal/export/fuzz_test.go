package export

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lotrace/lotrace/internal/model"
)

// calling is a window of two flows, one of whose processes chose all its names.
func calling(comm, cmdline, cgroup, container string) *window {
	s := owned()
	s.Flows = s.Flows[:2]
	o := named(666, comm, model.OwnerKernel)
	o.Exe, o.Cmdline, o.Cgroup, o.Unit, o.Container, o.ContainerName = cmdline, cmdline, cgroup, cgroup, container, container
	s.Flows[0].Client.Owner, s.Flows[1].Server.Owner = o, o
	s.Flows[0].Turn = took(time.Millisecond)
	s.SlowFrom, s.Slow = time.Millisecond, []model.SlowTurnRow{{Time: end, Proto: model.ProtoTCP,
		Client: s.Flows[0].Client, Server: s.Flows[1].Server, Turn: time.Millisecond}}
	return finish(*s)
}

// FuzzNames: whatever a process calls itself, it commands no terminal, makes no line and no column, and
// programs read what was meant.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"nginx", "\x1b[2J\x1b]0;title\a", "a\nb\r\tc", "\u202eevil\u2066", "\u009b31m\x7f", "bad \xff\xfe",
		"=1+1", "@x", "|<b>`_*", `","`, "データベース", "e\u0301\u200d", "\\x1b\\", "\U000e0041", strings.Repeat("long", 1200), "\u2028"} {
		for view := range Views() {
			f.Add(s, s, "/"+s, s, uint8(view))
		}
	}
	promised := readSchema(f)
	f.Fuzz(func(t *testing.T, comm, cmdline, cgroup, container string, view uint8) {
		by := Views()[int(view)%len(Views())]
		path := "/x"
		if cgroup == "" { // unknown, and so in one row with the others
			path = ""
		}
		hostile, tame := calling(comm, cmdline, cgroup, container), calling("x", "x", path, "x")
		for _, format := range Formats() {
			o := Options{By: by, Width: 100}
			text := encode(t, format, o, hostile)
			checkPlain(t, format, text)
			if got, want := strings.Count(text, "\n"), strings.Count(encode(t, format, o, tame), "\n"); got != want {
				t.Fatalf("%s by %s: %d lines, want %d: %q", format, by, got, want, text)
			}
		}
		checkDocument(t, promised, by, hostile, comm)
		checkRecords(t, by, hostile)
		checkColumns(t, by, hostile)
		picture := new(strings.Builder)
		if err := NewPicture(Options{Width: 100}).Encode(picture, hostile.pack()); err != nil {
			t.Fatal(err)
		}
		checkPlain(t, "picture", picture.String())
	})
}

func checkPlain(t *testing.T, format, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Fatalf("%s is no UTF-8: %q", format, text)
	}
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%s: %q gets out: %q", format, r, text)
		}
	}
}

// checkDocument: JSON keeps its schema, and a name that is text comes back as it was.
func checkDocument(t *testing.T, promised schema, by string, s *window, comm string) {
	t.Helper()
	text := encode(t, "json", Options{By: by}, s)
	promised.check(t, "", decode(t, text))
	for line := range strings.Lines(encode(t, "jsonl", Options{By: by}, s)) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("by %s: no JSON: %s", by, line)
		}
	}
	if by == "flow" && comm != "" && utf8.ValidString(comm) {
		if got := at(t, decode(t, text), "rows.0.client.comm"); got != comm {
			t.Fatalf("%q comes back as %q", comm, got)
		}
	}
}

// checkRecords: CSV has the fields of its header in every record, and no formula.
func checkRecords(t *testing.T, by string, s *window) {
	t.Helper()
	records, err := csv.NewReader(strings.NewReader(encode(t, "csv", Options{By: by}, s))).ReadAll()
	if err != nil {
		t.Fatalf("by %s: %v", by, err)
	}
	for _, record := range records[1:] {
		for i, field := range record {
			if field != "" && strings.ContainsAny(field[:1], "=+-@") {
				t.Fatalf("by %s: %s is %q", by, records[0][i], field)
			}
		}
	}
}

// checkColumns: a Markdown table has as many columns in each row.
func checkColumns(t *testing.T, by string, s *window) {
	t.Helper()
	want := 0
	for line := range strings.Lines(encode(t, "markdown", Options{By: by}, s)) {
		bars := strings.Count(strings.ReplaceAll(strings.ReplaceAll(line, `\\`, ""), `\|`, ""), "|")
		switch {
		case !strings.HasPrefix(line, "| "):
			want = 0
		case want == 0:
			want = bars
		case bars != want:
			t.Fatalf("by %s: %d bars, want %d: %s", by, bars, want, line)
		}
	}
}
