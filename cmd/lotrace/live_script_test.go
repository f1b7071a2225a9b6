package main

import (
	"errors"
	"runtime"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// scene is what a live script has: its own test and its own namespace.
type scene struct {
	testing.TB
	ns *testkit.Netns
}

// sceneKey is where it keeps them.
type sceneKey struct{}

// TestLiveScripts runs testdata/live/*.txt, each in a network namespace of its own.
func TestLiveScripts(t *testing.T) {
	testkit.RequireRoot(t)
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/live",
		Setup: enterNetns,
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"during": during},
	})
}

// enterNetns ties the script's goroutine, and so the programs it runs, to a private namespace.
func enterNetns(env *testscript.Env) error {
	tb := env.T().(testing.TB)
	ns := testkit.NewNetns(tb)
	env.Values[sceneKey{}] = scene{tb, ns}
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	env.Defer(func() {
		if err := errors.Join(unix.Setns(home, unix.CLONE_NEWNET), unix.Close(home)); err == nil {
			runtime.UnlockOSThread()
		}
	})
	inside, err := unix.Open(ns.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Setns(inside, unix.CLONE_NEWNET), unix.Close(inside))
}

// during sends datagrams of 100 bytes while a command counts, then presses ^C: "during 31 lotrace
// flows -d 60".
func during(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[1] != "lotrace" {
		ts.Fatalf("usage: during packets lotrace [args...]")
	}
	packets, err := strconv.Atoi(args[0])
	ts.Check(err)
	on := ts.Value(sceneKey{}).(scene)
	l := prepare(on, args[2:]...)
	l.Env = append(l.Environ(), "LOTRACE_OUTPUT="+ts.Getenv("LOTRACE_OUTPUT"))
	l.start(on.ns)
	l.awaitCounting()
	sendDatagrams(on, on.ns, packets)
	l.interrupt()
	_, err = ts.Stdout().Write(l.stdout.Bytes())
	ts.Check(err)
	_, err = ts.Stderr().Write([]byte(l.stderr.String()))
	ts.Check(err)
}
