package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// nowhere is the namespace of what FuzzArgs runs: it watches nothing, and changes nothing on the machine.
const nowhere = "LOTRACE_NETNS=/nonexistent/netns"

// FuzzArgs: no command line and no environment ends otherwise than with one of the exit codes, and whoever
// is not served is told why, in lines that can be shown.
func FuzzArgs(f *testing.F) {
	for _, c := range commands() {
		f.Add(c.name, "")
		f.Add(c.name+"\n--help", "")
		for _, flag := range flagsOf(c) {
			f.Add(c.name+"\n"+flag, envName(strings.TrimLeft(flag, "-"))+"=1")
			f.Add(flag+"=9\n"+c.name+"\n--\nls", envName(strings.TrimLeft(flag, "-"))+"=x,y")
		}
	}
	for _, args := range []string{"", "-", "--", "\n", "-qqvd5", "flows\n-f\nport:80 or (", "lat\ntcp\n!udp\n)", "flows\n--watch\n1ns\n-n\n-1",
		"demo\n-d\n1e300\n--rate=NaN", "demo\n-d\n-0", "completion\nzsh", "help\nhelp", "flows\n-f\n\x1b[2J\u202e\xff", "--version\n-h"} {
		f.Add(args, "TERM=dumb")
	}
	ended, end := context.WithCancel(context.Background())
	end()
	f.Fuzz(func(t *testing.T, line, env string) {
		args := strings.Split(line, "\n")
		if slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--netns") }) {
			return // there may be such a one
		}
		var stdout, stderr bytes.Buffer
		code := run(ended, args, append(strings.Split(env, "\n"), nowhere), strings.NewReader(""), &stdout, &stderr)
		switch {
		case code < exitOK || code > exitUsage:
			t.Errorf("exit code %d", code)
		case code != exitOK && !strings.Contains(stderr.String(), "lotrace"):
			t.Errorf("exit code %d, said %q", code, &stderr)
		case strings.ContainsFunc(stderr.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }):
			t.Errorf("said %q", &stderr)
		}
	})
}
