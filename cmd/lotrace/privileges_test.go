package main

import (
	"debug/buildinfo"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

const nobody = 65534

// The capabilities that counting takes.
var counting = []struct {
	name string
	bit  uintptr
}{{"cap_bpf", unix.CAP_BPF}, {"cap_net_admin", unix.CAP_NET_ADMIN}, {"cap_perfmon", unix.CAP_PERFMON}}

// setcapAdvice is how every message about a missing one ends.
const setcapAdvice = "; run as root, or: sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep $(command -v lotrace)\n"

func allThree() []uintptr {
	var bits []uintptr
	for _, c := range counting {
		bits = append(bits, c.bit)
	}
	return bits
}

// copyForAll puts the binary where every user may run it.
func copyForAll(t *testing.T) string {
	t.Helper()
	from, err := exec.LookPath("lotrace")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "lotrace")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "lotrace")
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(path, text, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// asNobody makes a run of the binary at path as an ordinary user with these capabilities and no other.
func asNobody(t *testing.T, path string, capabilities []uintptr, args ...string) *program {
	t.Helper()
	l := prepare(t, args...)
	l.Path = path
	l.Dir = "/"
	l.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: capabilities,
	}
	return l
}

func TestThreeCapabilitiesAreEnough(t *testing.T) {
	path := copyForAll(t)
	for _, hook := range liveHooks {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			clean := ns.Attached()
			l := asNobody(t, path, allThree(), "flows", "-d", "60", "-o", "json", "--hook", hook)
			l.start(ns)
			l.awaitCounting()
			traces := tracesOf(l, ns, clean)
			before := ns.Device()
			sendSome(t, ns)
			l.interrupt()
			parseDoc(t, l.stdout.Bytes()).checkExact(t, ns.Device().Sub(before))
			traces.checkGone(t)
		})
	}
}

// The advice that messages give works, and so does the guardian of a run that followed it.
func TestFileCapabilities(t *testing.T) {
	path := copyForAll(t)
	ns := newLiveNetns(t, "clsact")
	if err := unix.Setxattr(path, "security.capability", fileCapabilities(), 0); err != nil {
		t.Skipf("no capabilities on files here: %v", err)
	}
	clean := ns.Attached()
	l := asNobody(t, path, nil, "flows", "-d", "60", "--hook", "clsact")
	l.start(ns)
	l.awaitCounting()
	traces := tracesOf(l, ns, clean)
	if len(traces.children) != 1 {
		t.Fatalf("children %v, want a guardian", traces.children)
	}
	kill(l)
	traces.checkGone(t)
}

// fileCapabilities is struct vfs_cap_data of linux/capability.h, revision 2, for "+ep".
func fileCapabilities() []byte {
	const revision2, effective = 0x02000000, 1
	var permitted uint64
	for _, c := range counting {
		permitted |= 1 << c.bit
	}
	data := binary.LittleEndian.AppendUint32(nil, revision2|effective)
	data = binary.LittleEndian.AppendUint32(data, uint32(permitted))
	data = binary.LittleEndian.AppendUint32(data, 0) // inheritable
	data = binary.LittleEndian.AppendUint32(data, uint32(permitted>>32))
	return binary.LittleEndian.AppendUint32(data, 0)
}

// A missing capability is named, alone, with what to do.
func TestMissingCapabilities(t *testing.T) {
	path := copyForAll(t)
	for missing := range 1 << len(counting) {
		if missing == 0 {
			continue
		}
		var names []string
		var given []uintptr
		for i, c := range counting {
			if missing&(1<<i) != 0 {
				names = append(names, c.name)
			} else {
				given = append(given, c.bit)
			}
		}
		t.Run(strings.Join(names, ","), func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			clean := ns.Attached()
			l := asNobody(t, path, given, "flows", "-d", "60")
			l.start(ns)
			if code := l.end(); code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			want := "lotrace: flows: load programs: needs " + strings.Join(names, ", ") + setcapAdvice
			if said := l.stderr.String(); said != want {
				t.Errorf("said %q\nwant %q", said, want)
			}
			if after := ns.Attached(); fmt.Sprint(after) != fmt.Sprint(clean) {
				t.Errorf("attached: %+v", after)
			}
		})
	}
}

// They are not enough for another namespace than one's own.
func TestForeignNamespaceNeedsRoot(t *testing.T) {
	path := copyForAll(t)
	for _, by := range namespaceNames {
		t.Run(by.kind, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			name, remove := by.give(t, ns)
			defer remove()
			l := asNobody(t, path, allThree(), "flows", "--netns", name)
			l.start(testkit.NewNetns(t))
			if code := l.end(); code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			said := l.stderr.String()
			if !strings.Contains(said, "network namespace "+name+": ") || !strings.HasSuffix(said, "; run as root\n") {
				t.Errorf("said %q", said)
			}
		})
	}
}

// keptBy says which capabilities a hook still needs while it counts.
var keptBy = map[string]uint64{
	"tcx":    1 << unix.CAP_SYS_PTRACE,
	"clsact": 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_NET_ADMIN,
	"xdp":    1 << unix.CAP_SYS_PTRACE,
}

// Once it counts, no thread can do more than counting takes, nor start what can; nor can the guardian.
func TestPrivilegesAreDropped(t *testing.T) {
	for hook, keeps := range keptBy {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			l := startCounting(t, ns, "flows", "-d", "60", "--hook", hook)
			guardians := childrenOf(t, l.Process.Pid)
			if guarded := hook == "clsact"; guarded != (len(guardians) == 1) {
				t.Errorf("guardians %v", guardians)
			}
			checkCapabilities(t, l.Process.Pid, keeps)
			for _, pid := range guardians {
				checkCapabilities(t, pid, 1<<unix.CAP_NET_ADMIN)
			}
			l.interrupt()
		})
	}
}

// They are dropped by a build with cgo too, which "go install" makes wherever it finds a C compiler.
func TestPrivilegesAreDroppedByEveryBuild(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireProgram(t, "go")
	for _, build := range []struct{ cgo, compiler string }{{cgo: "0"}, {cgo: "1", compiler: "gcc"}} {
		t.Run("CGO_ENABLED="+build.cgo, func(t *testing.T) {
			if build.compiler != "" {
				testkit.RequireProgram(t, build.compiler)
			}
			path := filepath.Join(t.TempDir(), "lotrace")
			compile := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/lotrace/lotrace/cmd/lotrace")
			compile.Env = append(os.Environ(), "CGO_ENABLED="+build.cgo)
			if out, err := compile.CombinedOutput(); err != nil {
				t.Fatalf("%v:\n%s", err, out)
			}
			if cgo := hasCgo(t, path); cgo != (build.cgo == "1") {
				t.Fatalf("built with cgo: %v", cgo)
			}
			for _, hook := range []string{"tcx", "clsact"} { // xdp has a warning of its own
				l := prepare(t, "flows", "-d", "60", "--hook", hook)
				l.Path = path
				l.start(newLiveNetns(t, hook))
				l.awaitCounting()
				checkCapabilities(t, l.Process.Pid, keptBy[hook])
				for _, pid := range childrenOf(t, l.Process.Pid) {
					checkCapabilities(t, pid, 1<<unix.CAP_NET_ADMIN)
				}
				if said := l.stderr.String(); strings.Contains(said, "warning") {
					t.Errorf("%s said %q", hook, said)
				}
				l.interrupt()
			}
		})
	}
}

// hasCgo reads what Go writes into every binary about how it was built.
func hasCgo(t *testing.T, path string) bool {
	t.Helper()
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "1"})
}

// checkCapabilities looks at every thread. A guardian may not have come to dropping its own yet.
func checkCapabilities(t *testing.T, pid int, want uint64) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); ; <-poll.C {
		err := capabilitiesAre(pid, want)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Error(err)
			return
		}
	}
}

func capabilitiesAre(pid int, want uint64) error {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no threads of %d: %w", pid, err)
	}
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // ended
		}
		lines := strings.Split(string(status), "\n")
		capabilities := fmt.Sprintf("%016x", want)
		for field, value := range map[string]string{"CapEff": capabilities, "CapPrm": capabilities, "NoNewPrivs": "1"} {
			if line := field + ":\t" + value; !slices.Contains(lines, line) {
				return fmt.Errorf("%s has no line %q:\n%s", file, line, status)
			}
		}
	}
	return nil
}
