package main

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/testkit"
)

func TestMain(m *testing.M) {
	live.Poison = true
	testkit.RunRole()
	testscript.Main(m, map[string]func(){
		"lotrace": main, "lotrace-breaks": brokenScreen, "lotrace-hangs-up": hangsUp,
	})
}

// TestScripts runs testdata/script/*.txt, which read as the manual.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"unread": unread},
	})
}

// unread runs a program whose standard output nobody reads: "unread lotrace version". The program
// must end well and say nothing.
func unread(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: unread program [args...]")
	}
	r, w, err := os.Pipe()
	ts.Check(err)
	ts.Check(r.Close())
	defer w.Close()
	var stderr bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = w, &stderr
	ts.Check(cmd.Run())
	if stderr.Len() > 0 {
		ts.Fatalf("said %q", stderr.String())
	}
}
