package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// document reads a file of the source tree. Test binaries may run away from it, as they do in a
// virtual machine.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat("../../go.mod"); err != nil {
			t.Skip("not in the source tree")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages are all documents in Markdown.
func pages(t *testing.T) []string {
	t.Helper()
	document(t, "README.md")
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md"} {
		found, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d documents, error %v", pattern, len(found), err)
		}
		for _, path := range found {
			names = append(names, strings.TrimPrefix(filepath.ToSlash(path), "../../"))
		}
	}
	return names
}

// section is the text from a heading to the next of its level.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("no heading %q", heading)
	}
	level, _, _ := strings.Cut(heading, " ")
	body, _, _ := strings.Cut(rest, "\n"+level+" ")
	return body
}

// codeBlocks is what stands between fences.
func codeBlocks(text string) string {
	var code strings.Builder
	for i, part := range strings.Split(text, "\n```") {
		if i%2 == 1 {
			code.WriteString(part + "\n")
		}
	}
	return code.String()
}

// firstCells are the code words in the first cell of each table row.
func firstCells(text string) []string {
	var cells []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		cells = append(cells, row[1])
	}
	return cells
}

func flagsOf(c *command) []string {
	flags := []string{"--help", "-h"}
	newFlagSet(c).VisitAll(func(f *pflag.Flag) {
		flags = append(flags, "--"+f.Name)
		if f.Shorthand != "" {
			flags = append(flags, "-"+f.Shorthand)
		}
	})
	return flags
}

var longFlag = regexp.MustCompile(`--[a-z][a-z-]*`)

// guides are what a newcomer reads, with command lines and screens.
var guides = []string{"README.md", "docs/tour.md", "docs/columns.md"}

// A newcomer reads all of the README, and wide lines are hard to read.
func TestReadmeIsShort(t *testing.T) {
	lines := strings.Split(document(t, "README.md"), "\n")
	if len(lines) > 201 {
		t.Errorf("%d lines, at most 200", len(lines)-1)
	}
	for i, line := range lines {
		if n := utf8.RuneCountInString(line); n > 120 {
			t.Errorf("line %d has %d columns, at most 120", i+1, n)
		}
	}
}

// Guides name no other program's long flags, so that all of them can be asked for.
func TestGuidesFlagsExist(t *testing.T) {
	known := flagsOf(rootCommand())
	for _, c := range commands() {
		known = append(known, flagsOf(c)...)
	}
	for _, name := range guides {
		found := longFlag.FindAllString(document(t, name), -1)
		if len(found) == 0 {
			t.Errorf("%s: no flags found", name)
		}
		for _, flag := range found {
			if !slices.Contains(known, flag) {
				t.Errorf("%s: no command has %s", name, flag)
			}
		}
	}
}

// A line of a code block that runs lotrace, with a prompt or without, up to what the shell takes.
var (
	commandLine = regexp.MustCompile(`(?m)^(?:\$ )?(?:sudo )?(?:bin/)?lotrace ([^|&>#\n]*)`)
	shellWord   = regexp.MustCompile(`'[^']*'|\S+`)
	quotedWord  = regexp.MustCompile(`'[^']*'`)
)

func TestGuidesCommandLinesParse(t *testing.T) {
	var text string
	for _, name := range guides {
		text += codeBlocks(document(t, name))
	}
	// A > in a quoted word is no redirection.
	hidden := quotedWord.ReplaceAllStringFunc(text, func(s string) string { return strings.ReplaceAll(s, ">", "\x00") })
	lines := commandLine.FindAllStringSubmatch(hidden, -1)
	if len(lines) < 20 {
		t.Errorf("%d command lines found", len(lines))
	}
	for _, line := range lines {
		var args []string
		for _, word := range shellWord.FindAllString(strings.ReplaceAll(line[1], "\x00", ">"), -1) {
			args = append(args, strings.Trim(word, "'"))
		}
		if err := parses(args); err != nil {
			t.Errorf("lotrace %s: %v", strings.Join(args, " "), err)
		}
	}
}

// parses is nil for a command line that would run, a filter in it included.
func parses(args []string) error {
	c, rest, err := choose(commands(), args)
	if err != nil {
		return err
	}
	fs := newFlagSet(c)
	if err := fs.Parse(rest); err != nil {
		return err
	}
	if f := fs.Lookup("filter"); f != nil {
		_, err = filter.Parse(f.Value.String())
	}
	return err
}

// A screen in a guide is what a terminal of 80 columns shows.
func TestGuidesScreensFit(t *testing.T) {
	for _, name := range guides {
		for line := range strings.Lines(codeBlocks(document(t, name))) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s: %d columns: %s", name, n, line)
			}
		}
	}
}

// The live view in the README is one that its own tests draw; blank lines are left out.
func TestReadmeShowsTheScreen(t *testing.T) {
	var want []string
	for line := range strings.Lines(document(t, "internal/tui/testdata/busy-80x24.txt")) {
		if line != "\n" {
			want = append(want, line)
		}
	}
	code := codeBlocks(section(t, document(t, "README.md"), "## Live"))
	if got := strings.TrimPrefix(code, "\n"); got != strings.Join(want, "") {
		t.Errorf("README has\n%s\nthe test\n%s", got, strings.Join(want, ""))
	}
}

func TestColumnsAreExplained(t *testing.T) {
	flow := model.Flow{Client: model.Endpoint{Addr: netip.IPv6Loopback()}, Server: model.Endpoint{Addr: netip.IPv6Loopback()},
		Tally: model.Tally{Breakdown: model.Breakdown{Turns: 1}}}
	var want []string
	for _, by := range export.Views() {
		encoder, err := export.New("wide", export.Options{By: by})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := encoder.Encode(&out, &model.Window{Flows: model.NewFlows(flow)}); err != nil {
			t.Fatal(err)
		}
		_, table, _ := strings.Cut(out.String(), "\n\n")
		heads, _, _ := strings.Cut(table, "\n")
		want = append(want, strings.Fields(strings.NewReplacer("→", "", "←", "").Replace(heads))...)
	}
	slices.Sort(want)
	want = slices.Compact(want)
	got := firstCells(document(t, "docs/columns.md"))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("explained %q\ncolumns   %q", got, want)
	}
}

// manual is a section of the manual page, without font changes.
func manual(t *testing.T, heading string) string {
	t.Helper()
	plain := strings.NewReplacer(`\-`, "-", `\fI`, "", `\fR`, "", `\fP`, "")
	return section(t, plain.Replace(document(t, "docs/lotrace.1")), ".SH "+heading)
}

func TestManualNamesEveryCommandAndFlag(t *testing.T) {
	var named []string
	for _, part := range strings.Split("\n"+manual(t, "COMMANDS"), "\n.SS ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		named = append(named, name)
		c := lookup(commands(), name)
		if c == nil {
			t.Errorf("no command %s", name)
			continue
		}
		// A flag begins the line after .TP.
		var flags []string
		for _, head := range regexp.MustCompile(`(?m)^\.TP\n\.BR? (.*)`).FindAllStringSubmatch(text, -1) {
			flags = append(flags, regexp.MustCompile(`--?[a-zA-Z][a-z-]*`).FindAllString(head[1], -1)...)
		}
		want := flagsOf(c)[2:]
		slices.Sort(flags)
		slices.Sort(want)
		if !slices.Equal(flags, want) {
			t.Errorf("%s: the manual has %q, the command %q", name, flags, want)
		}
	}
	if want := commandNames(commands()); !slices.Equal(named, want) {
		t.Errorf("the manual has %q, the program %q", named, want)
	}
}

func TestManualNamesEveryFilterTerm(t *testing.T) {
	text := manual(t, "FILTERS")
	for _, term := range filter.Terms() {
		if !regexp.MustCompile(`\b` + term.Name + `\b`).MatchString(text) {
			t.Errorf("no %s", term.Name)
		}
	}
}

func TestManualNamesEveryState(t *testing.T) {
	text := strings.Join(strings.Fields(manual(t, "FILTERS")), " ")
	states := model.TCPStates()
	last := len(states) - 1
	if want := "TCP state: " + strings.Join(states[:last], ", ") + " or " + states[last] + "."; !strings.Contains(text, want) {
		t.Errorf("no %q", want)
	}
}

func TestAccountingNamesEveryReason(t *testing.T) {
	text := section(t, document(t, "docs/accounting.md"), "## Reasons")
	var want []string
	for r := range reading.ReasonCount {
		want = append(want, r.String())
		overflow := "no"
		if r.IsOverflow() {
			overflow = "yes"
		}
		if !strings.Contains(text, "| `"+r.String()+"` | "+overflow+" |") {
			t.Errorf("%s: overflow should be %s", r, overflow)
		}
	}
	if got := firstCells(text); !slices.Equal(got, want) {
		t.Errorf("the table has %q, the program %q", got, want)
	}
}

// Every "make X" in a document is a target, and the README begins with the two that matter.
func TestMakeTargetsExist(t *testing.T) {
	makefile := document(t, "Makefile")
	for _, name := range pages(t) {
		for _, target := range regexp.MustCompile("(?m)(?:^ *|[`\"]|sudo )make ([a-z-]+)").FindAllStringSubmatch(document(t, name), -1) {
			if !strings.Contains(makefile, "\n"+target[1]+":") {
				t.Errorf("%s: no target %s", name, target[1])
			}
		}
	}
	start := section(t, document(t, "README.md"), "## Try it")
	for _, line := range []string{"\nsudo make run ", "\nmake test "} {
		if !strings.Contains(start, line) {
			t.Errorf("README does not begin with %q", line)
		}
	}
}

// Links within the tree lead somewhere, and tests that documents appeal to exist.
func TestDocumentsLeadSomewhere(t *testing.T) {
	tests := testNames(t)
	for _, name := range pages(t) {
		text := document(t, name)
		for _, link := range regexp.MustCompile(`\]\(([^):#]+)\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("../..", filepath.Dir(name), link[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, test := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]+)`").FindAllStringSubmatch(text, -1) {
			if !slices.Contains(tests, test[1]) {
				t.Errorf("%s: no %s", name, test[1])
			}
		}
	}
}

func testNames(t *testing.T) []string {
	t.Helper()
	var files, names []string
	for _, pattern := range []string{"../../internal/*/*_test.go", "../../cmd/*/*_test.go", "../../test/*/*_test.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)`).FindAllSubmatch(text, -1) {
			names = append(names, string(name[1]))
		}
	}
	return names
}

// The house has no room and no direct dependency that its plan does not show.
func TestArchitectureIsComplete(t *testing.T) {
	text := document(t, "docs/architecture.md")
	rooms, err := os.ReadDir("../../internal")
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		if !strings.Contains(text, "**internal/"+room.Name()+"** ") {
			t.Errorf("no paragraph about internal/%s", room.Name())
		}
	}
	decisions, err := os.ReadDir("../../docs/decisions")
	if err != nil {
		t.Fatal(err)
	}
	for _, decision := range decisions {
		if !strings.Contains(text, "decisions/"+decision.Name()) {
			t.Errorf("no link to %s", decision.Name())
		}
	}
	for _, line := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(document(t, "go.mod"), -1) {
		if !strings.Contains(section(t, text, "## Direct dependencies"), "| `"+line[1]) {
			t.Errorf("no reason for %s", line[1])
		}
	}
}
