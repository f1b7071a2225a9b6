// Package outfile makes files that belong to the user behind sudo. Nobody but their owner reads them, and
// another's file or link of the same name is not written to.
package outfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is who files are to belong to; nil: whoever runs this. Files are made, and taken away, with the rights of the
// user. Where those do not suffice, Create makes them with our own, and gives them away: a capture may be meant for a
// directory of root's.
type User struct{ UID, GID int }

// BehindSudo returns who used sudo; nil: nobody, or root. It must be called while the process has its capabilities:
// the real user becomes that of sudo, which takes no right away but lets files be made as that user later,
// without CAP_SETUID. Where that is refused it returns nil.
func BehindSudo(env map[string]string) *User {
	uid, errUID := strconv.ParseUint(env["SUDO_UID"], 10, 31)
	gid, errGID := strconv.ParseUint(env["SUDO_GID"], 10, 31)
	if errUID != nil || errGID != nil || uid == 0 || os.Geteuid() != 0 {
		return nil
	}
	u := &User{UID: int(uid), GID: int(gid)}
	if syscall.Setresgid(u.GID, -1, -1) != nil || syscall.Setresuid(u.UID, -1, -1) != nil {
		return nil
	}
	return u
}

// Create makes a file. One of that name is taken away first, rather than written to: another may have it open.
// Pipes and devices that the user may write to are opened as they are. Links are not followed: they may be another's.
func (u *User) Create(path string) (file *os.File, err error) {
	err = u.do(func(owner *User) (err error) {
		file, err = create(path, owner)
		return err
	})
	return file, err
}

// Write makes a file of which the name is not taken, NAME.EXTENSION or else NAME-2.EXTENSION and so on, has it
// filled, and returns its path. It has no rights but the user's. After an error the file is gone.
func (u *User) Write(name, extension string, fill func(io.Writer) error) (path string, err error) {
	err = u.as(func() error {
		file, err := createFree(name, extension)
		if err != nil {
			return err
		}
		path = file.Name()
		if err := errors.Join(fill(file), file.Close()); err != nil {
			return errors.Join(err, os.Remove(path))
		}
		return nil
	})
	return path, err
}

// Remove takes a file away.
func (u *User) Remove(path string) error {
	return u.do(func(*User) error { return os.Remove(path) })
}

// do calls f with the rights of the user, and with our own where a directory is closed to the user. In the latter
// case what f makes must be given to the owner.
func (u *User) do(f func(owner *User) error) error {
	err := u.as(func() error { return f(nil) })
	if u == nil || !errors.Is(err, unix.EACCES) {
		return err
	}
	return f(u)
}

// as calls f on a thread whose files are the user's.
func (u *User) as(f func() error) (err error) {
	if u == nil {
		return f()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with what it may
		if err = u.become(); err == nil {
			err = f()
		}
	}()
	<-done
	return err
}

// become makes the calling thread's files those of the user.
func (u *User) become() error {
	for _, id := range []struct {
		set func(int) (int, error)
		to  int
	}{{unix.SetfsgidRetGid, u.GID}, {unix.SetfsuidRetUid, u.UID}} {
		if _, err := id.set(id.to); err != nil {
			return fmt.Errorf("become user %d: %w", u.UID, err)
		}
		if now, err := id.set(-1); err != nil || now != id.to {
			return fmt.Errorf("become user %d: refused", u.UID)
		}
	}
	return nil
}

// create makes a file in place of another, or opens what is no file. With an owner, who may not do that, it only
// takes away files of the owner's or our own.
func create(path string, owner *User) (*os.File, error) {
	f, err := createNew(path, owner)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	there, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	switch mode := there.Mode(); {
	case owner != nil && !owner.mayLose(there):
		return nil, &fs.PathError{Op: "open", Path: path, Err: unix.EACCES}
	case mode.IsRegular():
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		return createNew(path, owner)
	case mode&fs.ModeNamedPipe != 0:
		f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, syscall.ENXIO) {
			return nil, fmt.Errorf("open %s: nobody reads from it; start the reader first", path)
		}
		return f, err
	case mode&fs.ModeCharDevice != 0:
		return os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	case mode&fs.ModeSymlink != 0:
		return nil, fmt.Errorf("open %s: is a symbolic link; name what it leads to", path)
	}
	return nil, fmt.Errorf("open %s: is no file (%s)", path, there.Mode().Type())
}

// mayLose reports whether something is a file of the user's or our own.
func (u *User) mayLose(there fs.FileInfo) bool {
	stat, ok := there.Sys().(*syscall.Stat_t)
	return ok && there.Mode().IsRegular() && (int(stat.Uid) == u.UID || int(stat.Uid) == os.Geteuid())
}

func createFree(name, extension string) (*os.File, error) {
	path := name + extension
	for again := 2; ; again++ {
		file, err := createNew(path, nil)
		if !errors.Is(err, fs.ErrExist) || again > 99 {
			return file, err
		}
		path = fmt.Sprintf("%s-%d%s", name, again, extension)
	}
}

// createNew makes a file that was not there, nor anything else of its name. A user it is given to is its owner.
func createNew(path string, owner *User) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil || owner == nil {
		return f, err
	}
	if err := f.Chown(owner.UID, owner.GID); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}
