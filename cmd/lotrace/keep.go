package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/tui"
)

// keeper writes what is on a screen into new files, as the user who asked sudo for the program.
type keeper struct {
	uid, gid int // -1: as we are
}

// newKeeper must be called while the process has its capabilities. The real user becomes that of sudo, which
// takes no right away but lets files be made as that user later, without CAP_SETUID. Where that is refused
// files will be root's.
func newKeeper(env map[string]string) keeper {
	user := invokingUser(env)
	if user == nil || user.UID == 0 ||
		syscall.Setresgid(user.GID, -1, -1) != nil || syscall.Setresuid(user.UID, -1, -1) != nil {
		return keeper{-1, -1}
	}
	return keeper{user.UID, user.GID}
}

// write makes a file in the working directory and says which.
func (k keeper) write(e tui.Export) (where string, err error) {
	encode, err := encoderOf(e)
	if err != nil {
		return "", err
	}
	name := "lotrace-" + time.Now().Format("20060102-150405")
	err = k.as(func() error {
		file, err := create(name, "."+e.Format)
		if err != nil {
			return err
		}
		where = file.Name()
		if err := errors.Join(encode(file), file.Close()); err != nil {
			return errors.Join(err, os.Remove(where))
		}
		return nil
	})
	if full, absErr := filepath.Abs(where); err == nil && absErr == nil {
		where = full
	}
	return where, err
}

func encoderOf(e tui.Export) (func(io.Writer) error, error) {
	if e.Format == "filter" {
		return func(w io.Writer) error {
			_, err := fmt.Fprintln(w, e.Filter)
			return err
		}, nil
	}
	encoder, err := export.New(e.Format, export.Options{By: e.By, Sort: e.Sort})
	if err != nil { // a screen sorts by more than files do
		encoder, err = export.New(e.Format, export.Options{By: e.By})
	}
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error { return encoder.Encode(w, e.Snapshot) }, nil
}

// create makes a file that was not there, nor anything else of its name, for its owner alone.
func create(name, extension string) (*os.File, error) {
	path := name + extension
	for again := 2; ; again++ {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if !errors.Is(err, os.ErrExist) || again > 99 {
			return file, err
		}
		path = fmt.Sprintf("%s-%d%s", name, again, extension)
	}
}

// as calls f on a thread whose files are the user's.
func (k keeper) as(f func() error) (err error) {
	if k.uid < 0 {
		return f()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with what it may
		if err = k.become(); err == nil {
			err = f()
		}
	}()
	<-done
	return err
}

// become makes the calling thread's files those of the user.
func (k keeper) become() error {
	for _, id := range []struct {
		set func(int) (int, error)
		to  int
	}{{unix.SetfsgidRetGid, k.gid}, {unix.SetfsuidRetUid, k.uid}} {
		if _, err := id.set(id.to); err != nil {
			return fmt.Errorf("become user %d: %w", k.uid, err)
		}
		if now, err := id.set(-1); err != nil || now != id.to {
			return fmt.Errorf("become user %d: refused", k.uid)
		}
	}
	return nil
}
