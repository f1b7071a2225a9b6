// Package advice is an error that says what would help.
package advice

import (
	"fmt"
	"strings"
)

// Error says what could not be done and what would help.
type Error struct {
	Doing string // verb phrase: "attach tcx egress"
	Need  string // what it takes: "Linux 6.6"; may be empty
	Found string // what is there instead: "this is 6.1"; may be empty
	Fix   string // what to do: "use --hook clsact"; may be empty
	Err   error  // the cause; may be nil
}

// Error gives the whole in one line: doing: needs, found: cause; fix.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Doing)
	switch {
	case e.Need != "" && e.Found != "":
		fmt.Fprintf(&b, ": needs %s, %s", e.Need, e.Found)
	case e.Need != "":
		fmt.Fprintf(&b, ": needs %s", e.Need)
	case e.Found != "":
		fmt.Fprintf(&b, ": %s", e.Found)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Fix != "" {
		fmt.Fprintf(&b, "; %s", e.Fix)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
