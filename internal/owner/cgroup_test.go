package owner

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lotrace/lotrace/internal/reading"
	"golang.org/x/sys/unix"
)

func TestParseCgroup(t *testing.T) {
	for _, test := range []struct{ name, file, path string }{
		{"version 2", "0::/system.slice/ssh.service\n", "/system.slice/ssh.service"},
		{"version 2, top", "0::/\n", "/"},
		{"hybrid", "2:cpu,cpuacct:/a/b/c\n1:name=systemd:/init.scope\n0::/system.slice/x.service\n", "/system.slice/x.service"},
		{"hybrid, version 2 unused", "2:cpu:/a/b/c\n1:name=systemd:/x.scope\n0::/\n", "/x.scope"},
		{"version 1", "2:cpu:/a/b/c\n1:name=systemd:/x.scope\n", "/x.scope"},
		{"without systemd", "9:name=systemd:/\n5:devices:/\n4:memory:/api/job\n3:cpu:/x\n0::/\n", "/api/job"},
		{"nothing but tops", "2:cpu:/\n0::/\n", "/"},
		{"outside our namespace", "0::/../other\n", "/../other"},
		{"colons", "0::/a:b:c\n", "/a:b:c"},
		{"removed", "0::/gone (deleted)\n", "/gone"},
		{"cut short", "4:memory:/a\n0::/system.slice/half", "/a"},
		{"empty", "", ""},
		{"garbage", "x\n::\n0::relative\n", ""},
	} {
		if path := parseCgroup([]byte(test.file)); path != test.path {
			t.Errorf("%s: %q, want %q", test.name, path, test.path)
		}
	}
}

const (
	mountV1   = "11 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
	mountOdd  = "1 2 - x\n"
	mountBind = "40 31 0:38 /docker/x /bind rw - cgroup2 cgroup2 rw\n"
)

func mountV2(root, mountPoint string) string {
	return fmt.Sprintf("41 31 0:38 %s %s rw,relatime shared:5 - cgroup2 cgroup2 rw\n", root, strings.ReplaceAll(mountPoint, " ", `\040`))
}

func TestFindCgroup2(t *testing.T) {
	for _, test := range []struct {
		name, mounts, top, root string
		hybrid                  bool
	}{
		{"version 2", mountOdd + mountV2("/", "/sys/fs/cgroup"), "/sys/fs/cgroup", "/", false},
		{"hybrid", mountV1 + mountV2("/", "/a b"), "/a b", "/", true},
		{"bind mount before", mountBind + mountV2("/", "/c"), "/c", "/", false},
		{"bind mount after", mountV2("/", "/c") + mountBind, "/c", "/", false},
		{"bind mount only", mountBind, "/bind", "/docker/x", false},
		{"version 1", mountV1, "", "", true},
		{"none", "", "", "", false},
	} {
		proc := newFakeProc(t)
		proc.write(filepath.Join(proc.root, "self", "mountinfo"), test.mounts)
		top, root, hybrid := findCgroup2(proc.root)
		if top != test.top || root != test.root || hybrid != test.hybrid {
			t.Errorf("%s: %q, %q, %t, want %q, %q, %t", test.name, top, root, hybrid, test.top, test.root, test.hybrid)
		}
	}
}

func makeDir(t *testing.T, path string) (inode uint64) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Ino
}

func TestCgroupTop(t *testing.T) {
	for _, test := range []struct{ name, others, root, path string }{
		{"version 2", "", "/", "/"},
		{"hybrid", mountV1, "/", ""},
		{"another's view", "", "/../x", "/../x"},
	} {
		proc, top := newFakeProc(t), t.TempDir()
		proc.write(filepath.Join(proc.root, "self", "mountinfo"), test.others+mountV2(test.root, top))
		if path, _ := newCgroups(proc.root).path(makeDir(t, top)); path != test.path {
			t.Errorf("%s: %q, want %q", test.name, path, test.path)
		}
	}
}

func TestNoCgroup(t *testing.T) {
	c := newCgroups(t.TempDir())
	if path, settled := c.path(0); path != "" || !settled || !c.walked.IsZero() {
		t.Errorf("%q, %t, walked at %v; want no walk for nothing", path, settled, c.walked)
	}
}

// A process that ends before it is looked up keeps its cgroup, and its unit, by the id.
func TestCgroupOfTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proc, top := newFakeProc(t), filepath.Join(t.TempDir(), "cgroup two")
		proc.write(filepath.Join(proc.root, "self", "mountinfo"), mountV2("/", top))
		web := process(7)
		web.CgroupID = makeDir(t, top+"/system.slice/web.service")
		r := New(Config{Proc: proc.root})
		defer r.Close()

		got := settled(t, r, web)
		if got.Cgroup != "/system.slice/web.service" || got.Unit != "web.service" {
			t.Errorf("%+v, want web.service", got)
		}

		// The tree is not walked twice in a moment, but again for who is asked for later.
		job, sibling, lost := process(8), process(9), process(10)
		job.CgroupID = makeDir(t, top+"/job.scope")
		sibling.CgroupID = web.CgroupID
		lost.CgroupID = 1 << 60
		if got := settled(t, r, job); got.Unit != "" {
			t.Errorf("walked again at once: %+v", got)
		}
		if err := os.RemoveAll(top + "/system.slice"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if got := settled(t, r, job); got.Unit != "job.scope" {
			t.Errorf("%+v, want job.scope", got)
		}
		if got := settled(t, r, sibling); got.Unit != "web.service" {
			t.Errorf("removed cgroup: %+v, want web.service", got)
		}
		time.Sleep(3 * time.Second)
		lostToo := process(11)
		lostToo.CgroupID = lost.CgroupID
		for _, p := range []*reading.Process{lost, lostToo} {
			if got := settled(t, r, p); got.Cgroup != "" || !r.entry(p).final {
				t.Errorf("unknown cgroup: %+v, want none, for good", got)
			}
		}
	})
}
