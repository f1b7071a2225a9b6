package owner_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
	"github.com/lotrace/lotrace/internal/view"
)

const nsPerClockTick = 1e9 / 100 // USER_HZ

// patience bounds waiting for what must come.
const patience = 30 * time.Second

// speaker is a process in the role talk, or one that has become it.
type speaker struct {
	*testkit.Proc
	port    uint16
	started uint64 // clock ticks
}

func meet(t *testing.T, p *testkit.Proc) *speaker {
	t.Helper()
	s := &speaker{Proc: p}
	if _, err := fmt.Sscan(p.Expect(t, "ready "), &s.port, &s.started); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *speaker) ask(t *testing.T) {
	t.Helper()
	s.Send(t, "hello")
	s.Expect(t, "asked")
}

// rowOf returns the one row of a client's port.
func rowOf(t *testing.T, s *model.Window, port uint16) *model.Flow {
	t.Helper()
	var row *model.Flow
	rows := s.Flows.Slice()
	for i := range rows {
		if f := &rows[i]; f.Client.Port == port {
			if row != nil {
				t.Fatalf("two rows of port %d", port)
			}
			row = f
		}
	}
	if row == nil || row.Client.Owner == nil || row.Server.Owner == nil {
		t.Fatalf("port %d: row %+v", port, row)
	}
	return row
}

// A process is called by its own name, whatever its threads are called; what the kernel noted (the
// process has ended) and what /proc says.
func TestThreadWithOtherName(t *testing.T) {
	for _, ended := range []bool{true, false} {
		t.Run(fmt.Sprintf("ended=%v", ended), func(t *testing.T) {
			r := newSmallRig(t, testkit.NewNetns(t), hook.Auto, loader.MinFlows)
			server := r.ns.Start(t, "worker", "0", "127.0.0.1:0")
			client := meet(t, r.ns.Start(t, "thread", server.Expect(t, "ready ")))
			client.ask(t)
			if ended {
				client.Wait(t)
			}
			o := rowOf(t, r.lookedUp(), client.port).Client.Owner
			if pidOf(o) != client.PID || o.Comm != "process" {
				t.Errorf("got %+v, want PID %d", o, client.PID)
			}
		})
	}
}

// PIDs are those of our namespace, for processes in one of their own too.
func TestPIDNamespace(t *testing.T) {
	for _, ended := range []bool{true, false} {
		t.Run(fmt.Sprintf("ended=%v", ended), func(t *testing.T) {
			r := newSmallRig(t, testkit.NewNetns(t), hook.Auto, loader.MinFlows)
			server := r.ns.Start(t, "worker", "0", "127.0.0.1:0")
			client := meet(t, r.ns.StartChild(t, testkit.Child{
				Role: "talk", Args: []string{server.Expect(t, "ready ")},
				Attr: syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID},
			}))
			client.ask(t)
			if ended {
				client.Wait(t)
			}
			o := rowOf(t, r.lookedUp(), client.port).Client.Owner
			if pidOf(o) != client.PID || o.StartNS/nsPerClockTick != client.started {
				t.Errorf("got %+v, want PID %d, started at tick %d", o, client.PID, client.started)
			}
			if inFirstPIDNamespace(t) && int(o.TGID) != client.PID {
				t.Errorf("got %+v, want TGID %d", o, client.PID)
			}
		})
	}
}

func inFirstPIDNamespace(t *testing.T) bool {
	t.Helper()
	const first = 0xeffffffc // PROC_PID_INIT_INO
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino == first
}

// Two processes that had one PID are two: neither gets what was found out about the other, whether
// the first was looked up in its life or not.
func TestRecycledPID(t *testing.T) {
	for _, lookedUp := range []bool{true, false} {
		t.Run(fmt.Sprintf("lookedUp=%v", lookedUp), func(t *testing.T) { testRecycledPID(t, lookedUp) })
	}
}

func testRecycledPID(t *testing.T, lookedUp bool) {
	r := newSmallRig(t, testkit.NewNetns(t), hook.Auto, loader.MinFlows)
	server := r.ns.Start(t, "worker", "0", "127.0.0.1:0")
	addr := server.Expect(t, "ready ")
	dir := t.TempDir()
	one, two := copyOfTest(t, dir, "first"), copyOfTest(t, dir, "second")

	first := meet(t, r.ns.Start(t, "become", one, "talk", addr))
	first.ask(t)
	if lookedUp {
		r.lookedUp()
	}
	first.Wait(t)
	awaitTick(t, first.started+1)
	second := meet(t, r.ns.StartWithPID(t, first.PID, "become", two, "talk", addr))
	second.ask(t)
	s := r.lookedUp() // with the end of the first, if that was seen before

	firstWant := model.Owner{PID: uint32(first.PID), Comm: "first", Source: model.OwnerKernel}
	if lookedUp {
		firstWant.Exe, firstWant.Cmdline = one, one+" "+addr
	}
	secondWant := model.Owner{
		PID: uint32(first.PID), Comm: "second", Exe: two, Cmdline: two + " " + addr, Source: model.OwnerKernel,
	}
	checkOwner(t, rowOf(t, s, first.port).Client.Owner, &firstWant, first.started)
	checkOwner(t, rowOf(t, s, second.port).Client.Owner, &secondWant, second.started)
	checkProcesses(t, s, "first", "second", workerName(0))
}

// lookedUp is a window of owners who were looked up before.
func (r *rig) lookedUp() *model.Window {
	r.Helper()
	testkit.Quiesce(r.ns)
	if err := r.engine.Sweep(); err != nil {
		r.Fatal(err)
	}
	r.resolver.Settle(patience)
	return r.window()
}

// checkOwner compares all but where it runs.
func checkOwner(t *testing.T, got, want *model.Owner, started uint64) {
	t.Helper()
	o := *got
	o.Cgroup, o.Unit, o.Container, o.ContainerName = "", "", "", ""
	o.ProcessID = model.ProcessID{}
	if o != *want || got.StartNS/nsPerClockTick != started {
		t.Errorf("got %+v, want %+v, started at tick %d", *got, *want, started)
	}
}

// checkProcesses wants the view by process to have one row of each name, and no other.
func checkProcesses(t *testing.T, s *model.Window, names ...string) {
	t.Helper()
	roll := view.NewRoll(view.Process)
	roll.Add(s.Flows)
	rows, err := roll.Rows("name", 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for row := range rows.All() {
		got = append(got, row.Name)
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("processes %v, want %v", got, names)
	}
}

func copyOfTest(t *testing.T, dir, name string) (path string) {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path = filepath.Join(dir, name)
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// awaitTick returns when processes that are started show this start time or a later one in /proc,
// which tells no two within a hundredth of a second apart.
func awaitTick(t *testing.T, tick uint64) {
	t.Helper()
	for {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
			t.Fatal(err)
		}
		if uint64(now.Nano())/nsPerClockTick >= tick {
			return
		}
	}
}

// Both ends have ended before anybody looks; all that is known was noted in their own context.
func TestNamesOfTheDead(t *testing.T) {
	r := newSmallRig(t, testkit.NewNetns(t), hook.Auto, loader.MinFlows)
	cgroup, attr := newCgroup(t)
	server := r.ns.StartChild(t, testkit.Child{Role: "worker", Args: []string{"0", "127.0.0.1:0"}, Attr: attr})
	client := r.ns.StartChild(t, testkit.Child{
		Role: "client", Args: []string{server.Expect(t, "ready ")}, Attr: attr,
	})
	var said testimony
	if _, err := fmt.Sscan(client.Expect(t, "talk "), &said.port, &said.client, &said.server); err != nil {
		t.Fatal(err)
	}
	client.Wait(t)
	server.Wait(t)

	row := rowOf(t, r.lookedUp(), said.port)
	got := []string{identityOf(row.Client.Owner), identityOf(row.Server.Owner)}
	want := []string{
		fmt.Sprintf("%s, PID %d, user %d, in %s", clientName(client.PID), client.PID, clientUID+client.PID, cgroup),
		fmt.Sprintf("%s, PID %d, user %d, in %s", workerName(0), server.PID, workerUID, cgroup),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func identityOf(o *model.Owner) string {
	return fmt.Sprintf("%s, PID %d, user %d, in %s", o.Comm, o.PID, o.UID, o.Cgroup)
}

// newCgroup makes a cgroup for processes that are started with attr; "" where there is no version 2.
func newCgroup(t *testing.T) (path string, attr syscall.SysProcAttr) {
	t.Helper()
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(top, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(top, "lotrace-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(dir) })
		file, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return "/" + filepath.Base(dir), syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(file.Fd())}
	}
	t.Log("no cgroup of version 2 to be in")
	return "", attr
}
