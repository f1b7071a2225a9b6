package owner

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

const patience = 10 * time.Second

// settled asks for an owner, and again once it has been looked up.
func settled(t testing.TB, r *Resolver, p *reading.Process) *model.Owner {
	t.Helper()
	r.Owner(p)
	r.Settle(patience)
	return r.Owner(p)
}

// process is a record of the kernel's. Starts are spaced by more than a clock tick.
func process(pid uint32) *reading.Process {
	return &reading.Process{
		ProcessID: model.ProcessID{TGID: pid + 1000, StartNS: uint64(pid) * 50_000_000},
		PID:       pid, UID: 33, Comm: "record",
	}
}

func recordOnly(p *reading.Process) model.Owner {
	return model.Owner{ProcessID: p.ProcessID, PID: p.PID, Comm: p.Comm, UID: p.UID, Source: model.OwnerKernel}
}

func TestOwner(t *testing.T) {
	proc := newFakeProc(t)
	p := process(7)
	proc.set(7, fakeProcess{
		startNS: p.StartNS, comm: "nginx", exe: "/usr/sbin/nginx", cmdline: "nginx: worker process\x00\x00",
		cgroup: "0::/system.slice/docker-" + id64 + ".scope\n", uid: "101",
	})
	r := New(Config{Proc: proc.root, Engines: []string{}})
	defer r.Close()

	if got := *r.Owner(p); got.PID != 7 || got.ProcessID != p.ProcessID || got.Source != model.OwnerKernel {
		t.Errorf("at once: %+v", got)
	}
	want := model.Owner{
		ProcessID: p.ProcessID, PID: 7, Comm: "nginx", Exe: "/usr/sbin/nginx", Cmdline: "nginx: worker process", UID: 101,
		Cgroup: "/system.slice/docker-" + id64 + ".scope", Unit: "docker-" + id64 + ".scope", Container: id64,
		Source: model.OwnerKernel,
	}
	if got := *settled(t, r, p); got != want {
		t.Errorf("settled: %+v\nwant %+v", got, want)
	}
	same := *p
	if r.Owner(p) != r.Owner(&same) {
		t.Error("two owners of one process")
	}
}

func TestOwnerWithoutProcess(t *testing.T) {
	proc := newFakeProc(t)
	hidden, recycled, ended := process(7), process(8), process(9)
	hidden.PID = 0
	other := fakeProcess{startNS: 1, comm: "wrong", exe: "/wrong", cmdline: "wrong", cgroup: "0::/wrong.service\n", uid: "0"}
	proc.set(8, other)
	other.startNS = hidden.StartNS
	proc.set(0, other)
	r := New(Config{Proc: proc.root})
	defer r.Close()

	for name, p := range map[string]*reading.Process{"hidden": hidden, "recycled": recycled, "ended": ended} {
		first := r.Owner(p)
		if got := settled(t, r, p); got != first || *got != recordOnly(p) {
			t.Errorf("%s: %+v, want the record alone", name, got)
		}
	}
	if got := r.Owner(nil); got != nil {
		t.Errorf("nil: %+v", got)
	}
	want := model.Owner{Comm: model.KernelComm, Source: model.OwnerKernel}
	one, two := r.Owner(&reading.Process{}), r.Owner(&reading.Process{Comm: "swapper"})
	if *one != want || one != two {
		t.Errorf("kernel: %+v, %+v, want one value: %+v", one, two, want)
	}
	if len(r.processes) != 3 || r.Denied() != 0 {
		t.Errorf("%d processes kept, %d denied", len(r.processes), r.Denied())
	}
}

// A process may call exec after it has been looked up; a reader sees that, and the last of it when
// it is gone.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proc := newFakeProc(t)
		p := process(7)
		proc.set(7, fakeProcess{startNS: p.StartNS, comm: "sh", exe: "/bin/sh", cgroup: "0::/a.scope\n"})
		r := New(Config{Proc: proc.root})
		defer r.Close()
		shell := settled(t, r, p)

		proc.set(7, fakeProcess{startNS: p.StartNS, comm: "curl", exe: "/usr/bin/curl"})
		if got := settled(t, r, p); got != shell || got.Comm != "sh" {
			t.Errorf("at once: %+v, want nothing new", got)
		}
		time.Sleep(3 * time.Second)
		curl := settled(t, r, p)
		if curl == shell || curl.Comm != "curl" || curl.Exe != "/usr/bin/curl" || shell.Comm != "sh" {
			t.Errorf("after exec: %+v, before %+v", curl, shell)
		}
		time.Sleep(3 * time.Second)
		if got := settled(t, r, p); got != curl {
			t.Errorf("nothing changed: %+v, want the same pointer", got)
		}
		proc.set(7, fakeProcess{startNS: p.StartNS + 1e9, comm: "wrong", exe: "/wrong"})
		time.Sleep(3 * time.Second)
		if got := settled(t, r, p); got != curl || got.Cgroup != "/a.scope" {
			t.Errorf("PID recycled: %+v, want %+v", got, curl)
		}
		proc.set(7, fakeProcess{startNS: p.StartNS, comm: "wrong", exe: "/wrong"})
		time.Sleep(3 * time.Second)
		if got := settled(t, r, p); got != curl {
			t.Errorf("looked up after its death: %+v", got)
		}
	})
}

// A caller that has seen all answers of one version need not ask again.
func TestVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proc := newFakeProc(t)
		p := process(7)
		r := New(Config{Proc: proc.root, Engines: []string{}, Scan: func() ([]reading.Holder, error) { return nil, nil }})
		defer r.Close()
		version := r.Version()
		expect := func(what string, changes bool) {
			t.Helper()
			settled(t, r, p)
			if got := r.Version(); (got != version) != changes {
				t.Errorf("%s: version %d after %d", what, got, version)
			}
			version = r.Version()
		}
		alive := fakeProcess{startNS: p.StartNS, comm: "sh", exe: "/bin/sh"}
		proc.set(7, alive)
		expect("details", true)
		time.Sleep(3 * time.Second)
		expect("looked up again, nothing new", false)
		if err := r.ScanNow(); err != nil {
			t.Fatal(err)
		}
		expect("scan", true)
		alive.startNS += 1e9
		proc.set(7, alive)
		time.Sleep(3 * time.Second)
		expect("it ended", true)
	})
}

func TestEviction(t *testing.T) {
	r := New(Config{Proc: t.TempDir(), MaxProcesses: 3})
	defer r.Close()
	owners := make(map[uint32]*model.Owner)
	for _, pid := range []uint32{1, 2, 3, 1, 4} { // 2 was not asked for longest
		owners[pid] = settled(t, r, process(pid))
	}
	for _, pid := range []uint32{1, 3, 4} {
		if r.Owner(process(pid)) != owners[pid] {
			t.Errorf("%d was evicted", pid)
		}
	}
	again := r.Owner(process(2))
	if again == owners[2] || *again != *owners[2] {
		t.Errorf("evicted: %p %+v, want a copy of %p %+v", again, again, owners[2], owners[2])
	}
	if len(r.processes) != 3 || r.recent.Len() != 3 {
		t.Errorf("%d and %d kept, want 3", len(r.processes), r.recent.Len())
	}
}

// Set for the copy of this test that runs as nobody.
const asNobody = "LOTRACE_TEST_AS_NOBODY"

// Another user's executable is unknown, not wrong, and said once.
func TestDenied(t *testing.T) {
	if os.Getuid() == 0 && os.Getenv(asNobody) == "" {
		test := exec.Command("/proc/self/exe", "-test.run=^TestDenied$", "-test.v")
		test.Env = append(os.Environ(), asNobody+"=1")
		test.Dir = "/"
		test.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := test.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Engines: []string{}})
		defer r.Close()
		p := &reading.Process{ProcessID: model.ProcessID{TGID: 1, StartNS: startOf(t, 1)}, PID: 1}
		got := settled(t, r, p)
		if got.Exe != "" || got.Comm == "" || got.Cmdline == "" || got.Cgroup == "" {
			t.Errorf("%+v, want all but the executable", got)
		}
		time.Sleep(3 * time.Second)
		settled(t, r, p)
		if r.Denied() != 1 {
			t.Errorf("%d denied, want 1", r.Denied())
		}
		before := facts{exe: "/before/exec"}
		if got, denied, err := newProcfs("/proc").read(p, before); got.exe != "" || !denied || err != nil {
			t.Errorf("%+v, %t, %v, want no executable", got, denied, err)
		}
	})
}

func TestCloseAndAsk(t *testing.T) {
	r := New(Config{Proc: t.TempDir(), Scan: func() ([]reading.Holder, error) { return nil, nil }})
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if got := *settled(t, r, process(1)); got != recordOnly(process(1)) {
		t.Errorf("after Close: %+v", got)
	}
	if err := r.ScanNow(); !errors.Is(err, errClosed) {
		t.Errorf("scan after Close: %v, want %v", err, errClosed)
	}
}
