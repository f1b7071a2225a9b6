package outfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

var nobody *User // behind sudo

// inEmpty makes a directory of the test's own, in which files are as private as their maker has them.
func inEmpty(t *testing.T) (dir, path string, must func(error)) {
	dir = t.TempDir()
	old := syscall.Umask(0)
	t.Cleanup(func() { syscall.Umask(old) })
	return dir, filepath.Join(dir, "x"), func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestCreate(t *testing.T) {
	_, path, must := inEmpty(t)
	t.Run("for its owner only", func(t *testing.T) {
		f, err := nobody.Create(path)
		must(err)
		defer f.Close()
		if info, err := f.Stat(); err != nil || info.Mode() != 0o600 {
			t.Error(info.Mode(), err)
		}
	})
	t.Run("anew", func(t *testing.T) {
		before, err := os.OpenFile(path, os.O_RDONLY, 0)
		must(err)
		defer before.Close()
		must(os.Chmod(path, 0o666))
		f, err := nobody.Create(path)
		must(err)
		defer f.Close()
		there, err := before.Stat()
		must(err)
		now, err := f.Stat()
		must(err)
		if os.SameFile(there, now) || now.Mode() != 0o600 {
			t.Error("whoever has the old file open can read the new one", now.Mode())
		}
	})
}

func TestCreateWhereNoFileIs(t *testing.T) {
	dir, path, must := inEmpty(t)
	precious := filepath.Join(dir, "precious")
	must(os.WriteFile(precious, []byte("precious"), 0o600))
	t.Run("link", func(t *testing.T) {
		for _, to := range []string{precious, filepath.Join(dir, "nothing")} {
			must(os.Symlink(to, path))
			if _, err := nobody.Create(path); err == nil || !strings.Contains(err.Error(), "symbolic link") {
				t.Errorf("link to %s: %v", to, err)
			}
			must(os.Remove(path))
		}
		if text, err := os.ReadFile(precious); string(text) != "precious" {
			t.Errorf("%q, %v", text, err)
		}
	})
	t.Run("directory", func(t *testing.T) {
		if _, err := nobody.Create(dir); err == nil || !strings.Contains(err.Error(), "no file") {
			t.Error(err)
		}
	})
	t.Run("pipe", func(t *testing.T) {
		must(unix.Mkfifo(path, 0o600))
		if _, err := nobody.Create(path); err == nil || !strings.Contains(err.Error(), "nobody reads") {
			t.Error(err)
		}
		reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		must(err)
		defer reader.Close()
		f, err := nobody.Create(path)
		must(err)
		must(f.Close())
	})
	t.Run("device", func(t *testing.T) {
		f, err := nobody.Create(os.DevNull)
		must(err)
		must(f.Close())
	})
	t.Run("nowhere", func(t *testing.T) {
		if _, err := nobody.Create(filepath.Join(dir, "no", "x")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// A name that is taken, be it by a link to somewhere else, is left alone.
func TestWriteFollowsNoLink(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"rows.json", "rows-2.json"} {
		if err := os.Symlink("victim", name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("rows-3.json", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := nobody.Write("rows", ".json", func(w io.Writer) error {
		_, err := w.Write([]byte("new"))
		return err
	})
	if text, readErr := os.ReadFile("rows-4.json"); err != nil || path != "rows-4.json" || string(text) != "new" {
		t.Errorf("made %s with %q: %v, %v", path, text, err, readErr)
	}
	if _, err := os.Lstat("victim"); !os.IsNotExist(err) {
		t.Errorf("the link was followed: %v", err)
	}
}

func TestHalfIsGone(t *testing.T) {
	dir := t.TempDir()
	full := errors.New("full")
	path, err := nobody.Write(filepath.Join(dir, "rows"), ".csv", func(w io.Writer) error {
		_, err := w.Write([]byte("half"))
		return errors.Join(err, full)
	})
	if left, readErr := os.ReadDir(dir); !errors.Is(err, full) || readErr != nil || len(left) != 0 {
		t.Errorf("%s: %v; left %v, %v", path, err, left, readErr)
	}
}

// user is somebody behind sudo.
var user = &User{UID: 1234, GID: 5678}

// newDir makes a directory that others can get to, of the owner and with the mode.
func newDir(t *testing.T, uid, gid int, mode os.FileMode) string {
	t.Helper()
	testkit.RequireRoot(t)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chown(dir, uid, gid), os.Chmod(dir, mode)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func checkOwner(t *testing.T, path string) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); int(stat.Uid) != user.UID || int(stat.Gid) != user.GID || info.Mode() != 0o600 {
		t.Errorf("%s: %d:%d %v", path, stat.Uid, stat.Gid, info.Mode())
	}
}

// Files are the user's wherever they are made: in a directory of theirs, and in one that is closed to them.
func TestFilesAreTheUsers(t *testing.T) {
	for name, dir := range map[string]string{
		"own":    newDir(t, user.UID, user.GID, 0o700),
		"closed": newDir(t, 0, 0, 0o700),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "x")
			for range 2 { // the second takes the first away
				file, err := user.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				file.Close()
				checkOwner(t, path)
			}
			if err := user.Remove(path); err != nil {
				t.Error(err)
			}
		})
	}
}

// Write makes nothing where the user could not.
func TestWriteHasTheUsersRights(t *testing.T) {
	empty := func(io.Writer) error { return nil }
	path, err := user.Write(filepath.Join(newDir(t, user.UID, user.GID, 0o700), "x"), "", empty)
	if err != nil {
		t.Fatal(err)
	}
	checkOwner(t, path)
	closed := newDir(t, 0, 0, 0o700)
	path, err = user.Write(filepath.Join(closed, "x"), "", empty)
	if left, readErr := os.ReadDir(closed); !errors.Is(err, unix.EACCES) || readErr != nil || len(left) != 0 {
		t.Errorf("made %q: %v; left %v, %v", path, err, left, readErr)
	}
}

// A file that is there already and closed to the user is not opened with root's rights, nor taken away.
func TestOthersStay(t *testing.T) {
	for name, test := range map[string]struct {
		dir os.FileMode
		put func(path string) error
	}{
		"pipe in an open directory": {0o777 | os.ModeSticky, func(path string) error { return unix.Mkfifo(path, 0o600) }},
		"pipe in a closed one":      {0o700, func(path string) error { return unix.Mkfifo(path, 0o600) }},
		"device": {0o777 | os.ModeSticky, func(path string) error {
			return unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
		}},
		"a third one's file": {0o755, func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, 4321, 4321))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(newDir(t, 0, 0, test.dir), "x")
			if err := test.put(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if before.Mode().Type() == fs.ModeNamedPipe {
				reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer reader.Close()
			}
			if file, err := user.Create(path); !errors.Is(err, unix.EACCES) {
				t.Errorf("made %v: %v", file, err)
			}
			if now, err := os.Lstat(path); err != nil || !os.SameFile(before, now) {
				t.Errorf("it was taken away: %v", err)
			}
		})
	}
}

// Where everybody may write, what the user could not take away stays, though root runs this.
func TestOthersFilesStay(t *testing.T) {
	dir := newDir(t, 0, 0, 0o777|os.ModeSticky)
	path := filepath.Join(dir, "x")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if file, err := user.Create(path); !errors.Is(err, unix.EPERM) {
		t.Errorf("made %v: %v", file, err)
	}
	if err := user.Remove(path); !errors.Is(err, unix.EPERM) {
		t.Errorf("removed: %v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("%q, %v", text, err)
	}
}
