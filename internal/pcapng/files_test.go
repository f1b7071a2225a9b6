package pcapng

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/outfile"
	"github.com/lotrace/lotrace/internal/testkit"
)

// names are those of the files in a directory, in order.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// capture writes n packets of 1000 bytes, one a second, and returns how many each file in dir then has.
func capture(t *testing.T, path string, rotation Rotation, n int) map[string]int {
	t.Helper()
	f, err := NewFiles(path, rotation, nil, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := f.add(&packet{Time: started.Add(time.Duration(i) * time.Second), Data: make([]byte, 1000), Length: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	held := make(map[string]int)
	for _, name := range names(t, filepath.Dir(path)) {
		file, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(file), "not ours") {
			continue
		}
		back := read(t, file)
		if back.end != nil || len(back.stats) != 1 {
			t.Errorf("%s: %v, %d statistics", name, back.end, len(back.stats))
		}
		if rotation.Size > 0 && int64(len(file)) > rotation.Size {
			t.Errorf("%s has %d bytes", name, len(file))
		}
		held[name] = len(back.packets)
	}
	return held
}

func TestRotation(t *testing.T) {
	for _, test := range []struct {
		name     string
		rotation Rotation
		want     map[string]int
	}{
		{"none", Rotation{}, map[string]int{"x.pcapng": 7}},
		{"packets", Rotation{Packets: 3}, map[string]int{
			"x_00001_20260102030405.pcapng": 3, "x_00002_20260102030408.pcapng": 3, "x_00003_20260102030411.pcapng": 1}},
		{"size", Rotation{Size: 3800}, map[string]int{
			"x_00001_20260102030405.pcapng": 3, "x_00002_20260102030408.pcapng": 3, "x_00003_20260102030411.pcapng": 1}},
		{"time", Rotation{Every: 5 * time.Second}, map[string]int{
			"x_00001_20260102030405.pcapng": 5, "x_00002_20260102030410.pcapng": 2}},
		{"newest", Rotation{Packets: 2, Files: 2}, map[string]int{
			"x_00003_20260102030409.pcapng": 2, "x_00004_20260102030411.pcapng": 1}},
		{"total", Rotation{Total: 7600}, map[string]int{
			"x_00002_20260102030408.pcapng": 3, "x_00003_20260102030411.pcapng": 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			others := filepath.Join(dir, "x_00000_20260101000000.pcapng")
			if err := os.WriteFile(others, []byte("not ours"), 0o644); err != nil {
				t.Fatal(err)
			}
			got := capture(t, filepath.Join(dir, "x.pcapng"), test.rotation, 7)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if _, err := os.Stat(others); err != nil {
				t.Error("another's file:", err)
			}
		})
	}
}

// A file that somebody has put in the place of one that is to be removed stays.
func TestReplacedFileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcapng")
	f, err := NewFiles(path, Rotation{Packets: 1, Files: 1}, nil, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	first := f.kept[0].path
	if err := errors.Join(os.Rename(first, first+".mine"), os.WriteFile(first, []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := f.add(&packet{Time: started}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Base(first), filepath.Base(first) + ".mine", "x_00003_20260102030405.pcapng"}
	if diff := cmp.Diff(want, names(t, filepath.Dir(path))); diff != "" {
		t.Error(diff)
	}
}

func TestDevice(t *testing.T) {
	f, err := NewFiles(os.DevNull, Rotation{}, nil, testConfig())
	if err == nil {
		err = errors.Join(f.add(&packet{Time: started}), f.Close())
	}
	if err != nil {
		t.Error(err)
	}
}

func TestFilesBelongToTheInvokingUser(t *testing.T) {
	testkit.RequireRoot(t)
	path := filepath.Join(t.TempDir(), "x.pcapng")
	f, err := NewFiles(path, Rotation{Packets: 1}, &outfile.User{UID: 1234, GID: 5678}, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.add(&packet{Time: started}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, made := range f.kept {
		var stat unix.Stat_t
		if err := unix.Stat(made.path, &stat); err != nil || stat.Uid != 1234 || stat.Gid != 5678 || stat.Mode&0o777 != 0o600 {
			t.Errorf("%s: %d:%d %o, %v", made.path, stat.Uid, stat.Gid, stat.Mode, err)
		}
	}
}

// A file system of 64 KiB.
func TestFullFileSystem(t *testing.T) {
	testkit.RequireRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("lotrace", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "x.pcapng")
	f, err := NewFiles(path, Rotation{}, nil, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = f.add(&packet{Time: started, Data: make([]byte, 1000), Length: 1000})
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "x.pcapng: no space left") {
		t.Errorf("the disk is full: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if back := read(t, file); back.end != nil || len(back.packets) < 55 {
		t.Errorf("%d packets, %v", len(back.packets), back.end)
	}
}
