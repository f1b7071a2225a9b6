package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestHelpFits holds that help is one screen: the overview on the smallest usual terminal, a
// command with many flags on a slightly taller one.
func TestHelpFits(t *testing.T) {
	pages := map[string]string{"": overview()}
	for _, c := range commands() {
		pages[c.name] = c.help()
	}
	for name, page := range pages {
		rows := 30
		if name == "" {
			rows = 24
		}
		lines := strings.Split(strings.TrimSuffix(page, "\n"), "\n")
		if len(lines) > rows {
			t.Errorf("%q: %d lines, want at most %d", name, len(lines), rows)
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > helpWidth {
				t.Errorf("%q: wider than %d: %s", name, helpWidth, line)
			}
		}
	}
}

func TestHelpNamesEveryCommandAndFlag(t *testing.T) {
	for _, c := range commands() {
		if !strings.Contains(overview(), "\n  "+c.name+" ") {
			t.Errorf("overview lacks %s", c.name)
		}
		for _, flag := range longFlags(newFlagSet(c))[1:] {
			if !strings.Contains(c.help(), flag) {
				t.Errorf("%s --help lacks %s", c.name, flag)
			}
		}
	}
	var s settings
	page := (&command{name: "test", flags: everyFlag(&s)}).help()
	if !strings.Contains(page, "-n, --limit N ") || strings.Contains(page, "-1") {
		t.Errorf("limit is not explained well:\n%s", page)
	}
}
