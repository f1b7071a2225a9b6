package testkit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// probe stands in for the test that a check reports to.
type probe struct {
	testing.TB
	said     []string
	cleanups []func()
}

func (p *probe) Helper()           {}
func (p *probe) Name() string      { return "TestProbe" }
func (p *probe) Cleanup(f func())  { p.cleanups = append(p.cleanups, f) }
func (p *probe) Error(args ...any) { p.said = append(p.said, "error: "+fmt.Sprint(args...)) }
func (p *probe) Errorf(format string, args ...any) {
	p.said = append(p.said, "error: "+fmt.Sprintf(format, args...))
}

func (p *probe) Fatal(args ...any)                 { p.stop("fatal", "%s", args) }
func (p *probe) Fatalf(format string, args ...any) { p.stop("fatal", format, args) }
func (p *probe) Skipf(format string, args ...any)  { p.stop("skip", format, args) }

func (p *probe) stop(how, format string, args []any) {
	p.said = append(p.said, how+": "+fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// run gives check a probe, runs the cleanups, and returns all that was reported.
func run(check func(testing.TB)) string {
	p := &probe{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(p)
	}()
	<-done
	for _, cleanup := range p.cleanups {
		cleanup()
	}
	return strings.Join(p.said, "\n")
}

func TestRequireKernel(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "ledger")
	t.Setenv("LOTRACE_TEST_LEDGER", ledger)
	if got := run(func(tb testing.TB) { testkit.RequireKernel(tb, "2.6", "the wheel") }); got != "" {
		t.Errorf("a kernel of any age: %s", got)
	}
	got := run(func(tb testing.TB) { testkit.RequireKernel(tb, "999.1", "teleportation") })
	if !strings.HasPrefix(got, "skip: teleportation needs Linux 999.1, this is ") {
		t.Errorf("a kernel of the future: %q", got)
	}
	got = run(func(tb testing.TB) { testkit.RequireKernel(tb, "soon", "x") })
	if !strings.HasPrefix(got, "fatal: ") {
		t.Errorf("not a version: %q", got)
	}

	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	want := "run TestProbe 2.6 " + release + "\nskip TestProbe 999.1 " + release + "\n"
	if got, err := os.ReadFile(ledger); err != nil || string(got) != want {
		t.Errorf("ledger: got %q, %v, want %q", got, err, want)
	}
}

// dropNetAdmin takes CAP_NET_ADMIN from the calling thread and returns how to give it back.
func dropNetAdmin(tb testing.TB) (restore func()) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		tb.Fatalf("read capabilities: %v", err)
	}
	have := had
	have[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &have[0]); err != nil {
		tb.Fatalf("drop capability: %v", err)
	}
	return func() {
		if err := unix.Capset(&header, &had[0]); err != nil {
			panic(err) // the thread is of no use to anybody now
		}
	}
}

func TestRequireRoot(t *testing.T) {
	testkit.RequireRoot(t)
	check := func(tb testing.TB) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer dropNetAdmin(tb)()
		testkit.RequireRoot(tb)
	}
	t.Setenv("LOTRACE_TEST_LEDGER", "")
	t.Setenv("LOTRACE_REQUIRE_KERNEL", "")
	if got, want := run(check), "skip: needs root: CAP_NET_ADMIN missing"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	t.Setenv("LOTRACE_REQUIRE_KERNEL", "1")
	if got := run(check); !strings.HasPrefix(got, "fatal: needs root: CAP_NET_ADMIN missing") {
		t.Errorf("where skipping is forbidden: %q", got)
	}
}

func TestCheckFDs(t *testing.T) {
	if got := run(testkit.CheckFDs); got != "" {
		t.Errorf("nothing leaked: %s", got)
	}
	var leaked *os.File
	got := run(func(tb testing.TB) {
		testkit.CheckFDs(tb)
		leaked, _ = os.Open(os.DevNull)
	})
	leaked.Close()
	if !strings.Contains(got, os.DevNull) {
		t.Errorf("a leak was reported as %q", got)
	}
}
