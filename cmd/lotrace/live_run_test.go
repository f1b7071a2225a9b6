package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/lotrace/lotrace/internal/testkit"
)

// makeRun starts make run on a terminal, in a folder with lotrace as it is tested. What the session's leader does
// then may let it live on, so that the kernel tells nobody of its end.
func makeRun(t *testing.T, ns *testkit.Netns, more, then string) *watched {
	t.Helper()
	for _, program := range []string{"bash", "make", "setpriv"} {
		testkit.RequireProgram(t, program)
	}
	dir := copyOf(t, "Makefile", "scripts/run")
	lotrace, err := exec.LookPath("lotrace")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(lotrace, filepath.Join(dir, "bin/lotrace")); err != nil {
		t.Fatal(err)
	}
	w := leader(t, "trap : HUP; make -C "+dir+" -o build run "+more+"; "+then, "")
	w.start(ns)
	w.awaitCounting()
	return w
}

// A folder for what is built that an older make as root has left is said to be in the way, with what helps.
func TestBuildInRootsFolder(t *testing.T) {
	testkit.RequireRoot(t)
	for _, program := range []string{"bash", "make", "setpriv"} {
		testkit.RequireProgram(t, program)
	}
	const nobody = 65534
	dir := copyOf(t, "Makefile", "scripts/as-caller")
	if err := os.WriteFile(filepath.Join(dir, "scripts/go"), []byte("#!/bin/sh\necho built >bin/lotrace\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	const help = "build: bin/ belongs to another user, as after an older make by root: sudo rm -r bin\n"
	for _, owner := range []int{0, nobody} {
		if err := os.Chown(bin, owner, owner); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("make", "-s", "-C", dir, "build")
		cmd.Env = append(os.Environ(), "SUDO_USER=nobody", fmt.Sprint("SUDO_UID=", nobody), fmt.Sprint("SUDO_GID=", nobody))
		said, err := cmd.CombinedOutput()
		if owner == nobody && err != nil || owner == 0 && (err == nil || !bytes.HasPrefix(said, []byte(help))) {
			t.Errorf("bin of %d: %v: %s", owner, err, said)
		}
	}
	if built, err := os.ReadFile(filepath.Join(bin, "lotrace")); err != nil || string(built) != "built\n" {
		t.Errorf("built %q, %v", built, err)
	}
}

// copyOf is a folder with some of the repository's files.
func copyOf(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const livesOn = "cat <&3" // until the test ends

// family is what make run consists of: its processes, by what they are.
func (w *watched) family() map[string]int {
	w.Helper()
	family := map[string]int{"make": w.child()}
	for _, pid := range childrenOf(w.TB, family["make"]) {
		family["lotrace"] = pid // unless it has children
		for _, child := range childrenOf(w.TB, pid) {
			family["run"] = pid
			if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)); err != nil {
				w.Fatal(err)
			} else if bytes.Contains(cmdline, []byte("\x00demo\x00")) {
				family["demo"] = child
			} else {
				family["lotrace"] = child
			}
		}
	}
	for _, pid := range family {
		process, err := os.FindProcess(pid) // which holds on to it by a pidfd
		if err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { _ = process.Kill() })
	}
	return family
}

// Whichever of make, the script, the demo, lotrace and the terminal ends first, nothing of the others stays.
func TestDeathsInMakeRun(t *testing.T) {
	for _, mode := range []struct{ name, more string }{{"live", ""}, {"lines", "</dev/null"}} {
		for _, first := range []string{"make", "run", "demo", "lotrace", "terminal"} {
			for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL} {
				if first == "make" && signal == syscall.SIGHUP {
					continue // make waits for its children then, which a terminal would have told, too
				}
				if first == "terminal" && signal != syscall.SIGHUP {
					continue
				}
				if first != "terminal" && signal == syscall.SIGHUP && !slices.Contains(stopSignals(t), signal) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%v", mode.name, first, signal), func(t *testing.T) {
					ns := newLiveNetns(t, "auto")
					before := ns.Attached()
					w := makeRun(t, ns, mode.more, livesOn)
					family := w.family()
					if len(family) != 4 {
						t.Fatalf("processes %v", family)
					}
					left := tracesOfProcess(t, family["lotrace"], ns, before)
					if first == "terminal" {
						w.hangUp()
					} else if err := syscall.Kill(family[first], signal); err != nil {
						t.Fatal(err)
					}
					for name, pid := range family {
						if awaitEnd(t, pid); t.Failed() {
							t.Fatalf("%s outlives %s", name, first)
						}
					}
					left.checkGone(t)
				})
			}
		}
	}
}

// On a busy machine lotrace takes the place of the script, and ends with make as the script does.
func TestDeathOfMakeOnABusyMachine(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	before := ns.Attached()
	prepare(t, "demo", "-d", "1h").start(ns)
	w := makeRun(t, ns, "", livesOn)
	family := w.family()
	if len(family) != 2 {
		t.Fatalf("processes %v", family)
	}
	left := tracesOfProcess(t, family["lotrace"], ns, before)
	if err := syscall.Kill(family["make"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, family["lotrace"])
	left.checkGone(t)
}

// Leaving lotrace gives the terminal back, and make has nothing to complain about.
func TestLeavingMakeRun(t *testing.T) {
	for name, keys := range map[string]string{"q": "q", "^C": "\x03"} {
		t.Run(name, func(t *testing.T) {
			w := makeRun(t, newLiveNetns(t, "auto"), "", "exit $?")
			w.await("REQ/S")
			family := w.family()
			w.types(keys)
			if code := w.end(); code != exitOK {
				t.Errorf("exit code %d: %s", code, &w.stderr)
			}
			awaitEnd(t, family["demo"])
			w.checkRestored()
		})
	}
}
