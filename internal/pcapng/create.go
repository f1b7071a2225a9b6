package pcapng

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is who files are to belong to.
type User struct{ UID, GID int }

// create makes a file that nobody but its owner reads. One of that name is taken away first, rather than
// written to: another may have it open. Pipes and devices are opened as they are. Links are not followed:
// they may be another's.
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
