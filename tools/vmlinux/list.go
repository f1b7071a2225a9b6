package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// An entry is one line of the list. What keep names depends on the kind: members of a struct, union
// or typedef, enumerators of an enum; empty keeps them all. For "enumerators" there is no name, and
// keep is never empty.
type entry struct {
	line int
	kind string
	name string
	keep []string
}

func (e entry) String() string {
	return strings.TrimSpace(e.kind + " " + e.name)
}

// parseList reads lines of the forms
//
//	struct NAME[: MEMBER…]
//	union NAME[: MEMBER…]
//	typedef NAME[: MEMBER…]
//	enum NAME[: ENUMERATOR…]
//	enumerators ENUMERATOR…
//
// Blank lines and what follows a # are skipped. Errors begin with the line's number.
func parseList(r io.Reader) ([]entry, error) {
	var entries []entry
	seen := make(map[string]bool)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(text) == "" {
			continue
		}
		e, err := parseLine(text)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		e.line = n
		if e.name != "" && seen[e.String()] {
			return nil, fmt.Errorf("%d: %s is listed twice", n, e)
		}
		seen[e.String()] = true
		entries = append(entries, e)
	}
	return entries, lines.Err()
}

func parseLine(text string) (entry, error) {
	head, tail, cut := strings.Cut(text, ":")
	words := strings.Fields(head)
	if len(words) == 0 {
		return entry{}, fmt.Errorf("no type before the colon")
	}
	e := entry{kind: words[0], keep: strings.Fields(tail)}
	switch e.kind {
	case "enumerators":
		e.keep = words[1:]
		if cut || len(e.keep) == 0 {
			return entry{}, fmt.Errorf("want enumerators NAME…")
		}
	case "struct", "union", "typedef", "enum":
		if len(words) != 2 || cut && len(e.keep) == 0 {
			return entry{}, fmt.Errorf("want %s NAME or %s NAME: PART…", e.kind, e.kind)
		}
		e.name = words[1]
	default:
		return entry{}, fmt.Errorf("unknown kind %q", e.kind)
	}
	return e, nil
}
