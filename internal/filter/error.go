package filter

import (
	"fmt"
	"strings"
	"unicode"
)

// Error says what is wrong with an expression, and where.
type Error struct {
	Expr    string   // the whole expression
	Pos     int      // where Word begins, in characters from 1; 0: no one place is to blame
	Word    string   // what was not understood; "" when something is missing
	Msg     string   // what is wrong; reads on into Word
	Suggest string   // what was probably meant; "" unknown
	Known   []string // what could be meant, for want of a Suggest; nil: too much to list
}

// Error returns one line, such as: filter: unknown term "prot" at 1; did you mean "proto"?
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("filter: " + e.Msg)
	if e.Word != "" {
		fmt.Fprintf(&b, " %q", e.Word)
	}
	if e.Pos > 0 {
		fmt.Fprintf(&b, " at %d", e.Pos)
	}
	switch {
	case e.Suggest != "":
		fmt.Fprintf(&b, "; did you mean %q?", e.Suggest)
	case len(e.Known) > 0:
		b.WriteString("; need one of " + strings.Join(e.Known, ", "))
	}
	return b.String()
}

// Caret returns two lines for a terminal: the expression, and a mark under the place Pos names.
// It returns "" when no one place is to blame.
func (e *Error) Caret() string {
	if e.Pos == 0 {
		return ""
	}
	// One cell a character, and nothing a terminal would obey.
	line := strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, e.Expr)
	return line + "\n" + strings.Repeat(" ", e.Pos-1) + "^\n"
}
