package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
)

// netns is the network namespace under watch.
type netns struct {
	name  string // as the user gave it
	path  string // "" for our own
	inode uint32
}

// findNetns resolves NAME, PATH, PID or "self" (also ""), as ip-netns(8) names them.
func findNetns(name string) (netns, error) {
	n := netns{name: name}
	switch _, err := strconv.Atoi(name); {
	case name == "" || name == "self":
		n.name = "self"
	case strings.Contains(name, "/"):
		n.path = name
	case err == nil:
		n.path = filepath.Join("/proc", name, "ns/net")
	default:
		n.path = filepath.Join("/run/netns", name)
	}
	inode, err := n.currentInode()
	switch doing := "open network namespace " + name; {
	case errors.Is(err, os.ErrPermission):
		return n, &advice.Error{Doing: doing, Err: err, Fix: "run as root"}
	case err != nil:
		return n, &advice.Error{Doing: doing, Need: "a name from `ip netns`, a path, a process id or self", Err: err}
	}
	n.inode = inode
	return n, nil
}

// currentInode is the namespace's identity as its name leads to it now.
func (n netns) currentInode() (uint32, error) {
	path := n.path
	if path == "" {
		path = "/proc/thread-self/ns/net"
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint32(st.Ino), nil
}

// gone reports whether the name leads nowhere, or somewhere else, since findNetns. Without
// privileges another process's /proc/PID/ns/net cannot be followed, but as long as the kernel says
// so there is that process.
func (n netns) gone() bool {
	inode, err := n.currentInode()
	if errors.Is(err, os.ErrPermission) {
		return false
	}
	return err != nil || inode != n.inode
}

// do runs f on a thread inside the namespace. Sockets and links that f makes stay there.
func (n netns) do(f func() error) error {
	if n.path == "" {
		return f()
	}
	result := make(chan error)
	go func() { result <- n.doLocked(f) }()
	return <-result
}

// doLocked leaves its thread locked, so that the runtime ends it, only where the way back failed.
func (n netns) doLocked(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("open own network namespace: %w", err)
	}
	defer home.Close()
	target, err := os.Open(n.path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer target.Close()

	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return enterError(n.name, err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// inside is a thread that stays in a namespace, for what must be done there when the right to enter it was
// given up. Nil is our own namespace, where every thread is.
type inside struct {
	jobs    chan func() error
	results chan error
}

// stay sends a thread there. leave must be called.
func (n netns) stay() (*inside, error) {
	if n.path == "" {
		return nil, nil
	}
	in := &inside{make(chan func() error), make(chan error)}
	go offMainThread(func() {
		in.results <- n.doLocked(func() error {
			in.results <- nil
			for job := range in.jobs {
				in.results <- job()
			}
			return nil
		})
	})
	if err := <-in.results; err != nil {
		return nil, err
	}
	return in, nil
}

// do runs f there, one at a time.
func (in *inside) do(f func() error) error {
	if in == nil {
		return f()
	}
	in.jobs <- f
	return <-in.results
}

// leave ends the thread, or returns it to where it came from, if it still may.
func (in *inside) leave() {
	if in != nil {
		close(in.jobs)
		<-in.results
	}
}

// offMainThread runs f on any other: what /proc/self shows is the main thread's.
func offMainThread(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Gettid() != os.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

func enterError(name string, err error) error {
	e := &advice.Error{Doing: "enter network namespace " + name, Err: err}
	if errors.Is(err, unix.EPERM) {
		e.Need = "cap_sys_admin"
		e.Fix = "run as root"
	}
	return e
}
