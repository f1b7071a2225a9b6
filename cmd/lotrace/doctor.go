package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/doctor"
)

func doctorCommand() *command {
	var netns, output, color string
	return &command{
		name:     "doctor",
		synopsis: "say what this machine can and cannot do, and the fix for each",
		long: `
Tries everything that counting takes, for a moment and for real, then counts a
little traffic of its own against the device. It changes nothing. Exits with 1
if nothing can be counted here, with 0 if at most extras are missing.`,
		examples: []string{
			"sudo lotrace doctor",
			"sudo lotrace doctor --netns web",
			"sudo lotrace doctor -o json | jq .ok",
		},
		flags: func(fs *pflag.FlagSet) {
			netnsFlag(fs, &netns)
			outputFlag(fs, &output, "table", "json")
			colorFlag(fs, &color)
		},
		run: func(_ context.Context, inv *invocation) error {
			checks := doctor.Probe(netns)
			self, reasons := doctor.SelfCheck(netns)
			checks = append(checks, self)
			if output == "json" {
				if err := writeJSON(inv.stdout, doctorDocument(checks, reasons)); err != nil {
					return err
				}
			} else {
				writeChecks(inv.stdout, checks, inv.useColor(color))
			}
			return doctor.Verdict(checks)
		},
	}
}

// notSeen names traffic that crosses no loopback device, or crosses it unseen.
const notSeen = `
Not on lo, so not seen:
  Unix sockets
  what a sockmap or sk_msg program hands from socket to socket
  other network namespaces, each with a lo of its own; see --netns
On lo, but past the hook:
  packet sockets with PACKET_QDISC_BYPASS; the device does count them
`

// writeChecks prints a line per check, and below those that are not ok what to do. A fix that
// serves several checks in a row stands below the last.
func writeChecks(w io.Writer, checks []doctor.Check, color bool) {
	width := 0
	for _, c := range checks {
		width = max(width, len(c.Name))
	}
	const mark = 4 // of the longest status
	for i, c := range checks {
		status := fmt.Sprintf("%-*s", mark, c.Status)
		if color {
			status = "\x1b[" + statusColor(c.Status) + "m" + status + "\x1b[0m"
		}
		fmt.Fprintf(w, "%s  %-*s  %s\n", status, width, c.Name, printable(c.Found))
		last := i+1 == len(checks) || checks[i+1].Fix != c.Fix
		if c.Status != doctor.StatusOK && c.Fix != "" && last {
			fmt.Fprintf(w, "%*sfix: %s\n", mark+2+width+2, "", printable(c.Fix))
		}
	}
	fmt.Fprint(w, notSeen)
}

// statusColor is the parameter of the terminal's SGR sequence.
func statusColor(s doctor.Status) string {
	switch s {
	case doctor.StatusWarn:
		return "33" // yellow
	case doctor.StatusFail:
		return "31" // red
	case doctor.StatusOK:
	}
	return "32" // green
}

// printable keeps names that others have given to devices and filters from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

type doctorJSON struct {
	Schema  string            `json:"schema"`
	Kind    string            `json:"kind"`
	OK      bool              `json:"ok"`
	Checks  []checkJSON       `json:"checks"`
	Reasons map[string]uint64 `json:"reasons"` // null: nothing was counted
}

type checkJSON struct {
	Name     string        `json:"name"`
	Status   doctor.Status `json:"status"`
	Required bool          `json:"required"`
	Found    string        `json:"found"`
	Fix      *string       `json:"fix"`
}

func doctorDocument(checks []doctor.Check, reasons map[string]uint64) doctorJSON {
	doc := doctorJSON{Schema: "lotrace/v1", Kind: "doctor", OK: doctor.Verdict(checks) == nil, Reasons: reasons}
	for _, c := range checks {
		check := checkJSON{Name: c.Name, Status: c.Status, Required: c.Required, Found: c.Found}
		if c.Fix != "" {
			check.Fix = &c.Fix
		}
		doc.Checks = append(doc.Checks, check)
	}
	return doc
}
