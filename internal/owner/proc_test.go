package owner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// fakeProc is the root of a procfs made of plain files.
type fakeProc struct {
	t    testing.TB
	root string
}

func newFakeProc(t testing.TB) fakeProc { return fakeProc{t, t.TempDir()} }

// fakeProcess is what /proc shows of one; what is "" is not there.
type fakeProcess struct {
	startNS                    uint64
	comm, exe, cmdline, cgroup string
	uid                        string
}

func (f fakeProc) path(pid uint32, name string) string {
	return filepath.Join(f.root, strconv.Itoa(int(pid)), name)
}

func (f fakeProc) write(path, content string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// set makes or replaces a process.
func (f fakeProc) set(pid uint32, p fakeProcess) {
	f.t.Helper()
	f.end(pid)
	f.write(f.path(pid, "stat"), statLine(pid, p.comm, p.startNS/nsPerClockTick))
	if p.exe != "" {
		if err := os.Symlink(p.exe, f.path(pid, "exe")); err != nil {
			f.t.Fatal(err)
		}
	}
	if p.cmdline != "" {
		f.write(f.path(pid, "cmdline"), p.cmdline)
	}
	if p.cgroup != "" {
		f.write(f.path(pid, "cgroup"), p.cgroup)
	}
	if p.uid != "" {
		f.write(f.path(pid, "status"), "Name:\tx\nUid:\t"+p.uid+"\t7\t7\t7\nGid:\t8\t8\t8\t8\n")
	}
}

func (f fakeProc) end(pid uint32) {
	f.t.Helper()
	if err := os.RemoveAll(f.path(pid, "")); err != nil {
		f.t.Fatal(err)
	}
}

func statLine(pid uint32, comm string, ticks uint64) string {
	return fmt.Sprintf("%d (%s) S 1 2 3 0 -1 4194560 11 12 13 14 15 16 17 18 20 0 1 0 %d 3133440 414 18446744073709551615\n", pid, comm, ticks)
}

func TestParseStat(t *testing.T) {
	for _, test := range []struct {
		name, stat, comm string
		ticks            uint64
		ok               bool
	}{
		{"usual", statLine(7, "redis-server", 4711), "redis-server", 4711, true},
		{"blanks and brackets", statLine(7, "a) S 1 (b", 5), "a) S 1 (b", 5, true},
		{"no name", statLine(7, "", 5), "", 5, true},
		{"escaped", statLine(7, `a\nb\\nc`, 5), "a\nb\\nc", 5, true},
		{"cut short", "7 (sh) S 1 2 3", "", 0, false},
		{"no brackets", "7 sh S", "", 0, false},
		{"brackets the wrong way", "7 )sh( S", "", 0, false},
		{"negative", strings.Replace(statLine(7, "sh", 5), " 5 ", " -5 ", 1), "", 0, false},
		{"empty", "", "", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			comm, ticks, ok := parseStat([]byte(test.stat))
			if comm != test.comm || ticks != test.ticks || ok != test.ok {
				t.Errorf("%q, %d, %t, want %q, %d, %t", comm, ticks, ok, test.comm, test.ticks, test.ok)
			}
		})
	}
}

// A name is whatever its process likes, and must not pass for a start time.
func FuzzParseStat(f *testing.F) {
	f.Add("sh", uint64(1), []byte("7 (sh) S 1"))
	f.Add(") S 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 99 (", uint64(4711), []byte(")("))
	f.Fuzz(func(t *testing.T, comm string, ticks uint64, garbage []byte) {
		parseStat(garbage)
		escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(comm)
		got, gotTicks, ok := parseStat([]byte(statLine(1, escaped, ticks)))
		if !ok || got != comm || gotTicks != ticks {
			t.Errorf("%q, %d, %t, want %q, %d", got, gotTicks, ok, comm, ticks)
		}
	})
}

func TestHasEnded(t *testing.T) {
	alive := statLine(7, ") Z (", 5)
	zombie := strings.Replace(alive, ") S ", ") Z ", 1)
	for name, test := range map[string]struct {
		stat string
		want bool
	}{
		"alive":             {alive, false},
		"zombie":            {zombie, true},
		"dead":              {strings.Replace(alive, ") S ", ") X ", 1), true},
		"zombie main":       {strings.Replace(zombie, " 20 0 1 0 ", " 20 0 2 0 ", 1), false},
		"zombie main of 10": {strings.Replace(zombie, " 20 0 1 0 ", " 20 0 10 0 ", 1), false},
		"cut short":         {"7 (sh) Z 1 2 3", false},
		"empty":             {"", false},
	} {
		if got := hasEnded([]byte(test.stat)); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

func TestReadProcess(t *testing.T) {
	const start = 12_345_678_901
	p := &reading.Process{ProcessID: model.ProcessID{TGID: 70, StartNS: start}, PID: 7}
	full := fakeProcess{
		startNS: start, comm: "redis", exe: "/usr/bin/redis-server", cmdline: "redis-server\x00*:6379\x00",
		cgroup: "0::/system.slice/redis.service\n", uid: "999",
	}
	was := facts{comm: "old", exe: "/old", cmdline: "old args", uid: 1, hasUID: true}
	was.place("/old.slice")
	now := facts{comm: "redis", exe: "/usr/bin/redis-server", cmdline: "redis-server *:6379", uid: 999, hasUID: true}
	now.place("/system.slice/redis.service")

	for _, test := range []struct {
		name string
		with func(*fakeProcess)
		want func(*facts)
		err  error
	}{
		{"all", func(*fakeProcess) {}, func(*facts) {}, nil},
		{"executable replaced", func(p *fakeProcess) { p.exe += " (deleted)" }, func(*facts) {}, nil},
		{"zombie", func(p *fakeProcess) { p.exe, p.cmdline = "", "" },
			func(f *facts) { f.exe, f.cmdline = was.exe, was.cmdline }, nil},
		{"long command line", func(p *fakeProcess) { p.cmdline = strings.Repeat("x", 3*maxCmdline) },
			func(f *facts) { f.cmdline = strings.Repeat("x", maxCmdline) }, nil},
		{"no status", func(p *fakeProcess) { p.uid = "" }, func(f *facts) { f.uid = was.uid }, nil},
		{"same clock tick", func(p *fakeProcess) { p.startNS -= 5_000_000 }, func(*facts) {}, nil},
		{"recycled a tick later", func(p *fakeProcess) { p.startNS += 10_000_000 }, func(f *facts) { *f = was }, errGone},
	} {
		t.Run(test.name, func(t *testing.T) {
			proc, there, want := newFakeProc(t), full, now
			test.with(&there)
			test.want(&want)
			proc.set(7, there)
			got, denied, err := newProcfs(proc.root).read(p, was)
			if got != want || denied || !errors.Is(err, test.err) {
				t.Errorf("%+v, %t, %v\nwant %+v, %v", got, denied, err, want, test.err)
			}
		})
	}

	t.Run("ended", func(t *testing.T) {
		got, denied, err := newProcfs(newFakeProc(t).root).read(p, was)
		if got != was || denied || !errors.Is(err, errGone) {
			t.Errorf("%+v, %t, %v, want what was known, %v", got, denied, err, errGone)
		}
	})
}

func TestReadSelf(t *testing.T) {
	pid := uint32(os.Getpid())
	r := New(Config{Engines: []string{}})
	defer r.Close()
	p := &reading.Process{ProcessID: model.ProcessID{TGID: pid, StartNS: startOf(t, pid)}, PID: pid, Comm: "stale", UID: 12345}
	got := settled(t, r, p)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got.Exe != exe || got.Cmdline != strings.Join(os.Args, " ") || got.Cgroup == "" || got.UID != uint32(os.Getuid()) {
		t.Errorf("%+v, want %s, run as %q by %d", got, exe, os.Args, os.Getuid())
	}
	if got.Comm != filepath.Base(exe)[:min(15, len(filepath.Base(exe)))] {
		t.Errorf("comm %q of %s", got.Comm, exe)
	}
	if r.Denied() != 0 {
		t.Errorf("own process denied")
	}
}

// startOf returns when a real process was started, to the clock tick.
func startOf(t testing.TB, pid uint32) uint64 {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, ticks, ok := parseStat(stat)
	if !ok {
		t.Fatalf("unreadable: %s", stat)
	}
	return ticks * nsPerClockTick
}
