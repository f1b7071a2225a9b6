package hook

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

// Netns is a network namespace.
type Netns struct {
	Name  string // as the user gave it
	Inode uint32
	path  string // "" for our own
}

// IsOwn reports whether it was asked for as our own.
func (n Netns) IsOwn() bool { return n.path == "" }

// FindNetns resolves NAME, PATH, PID or "self" (also ""), as ip-netns(8) names them.
func FindNetns(name string) (Netns, error) {
	n := Netns{Name: name}
	switch _, err := strconv.Atoi(name); {
	case name == "" || name == "self":
		n.Name = "self"
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
	n.Inode = inode
	return n, nil
}

// currentInode is the namespace's identity as its name leads to it now.
func (n Netns) currentInode() (uint32, error) {
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

// Gone reports whether the name leads nowhere, or somewhere else, since FindNetns. Without
// privileges another process's /proc/PID/ns/net cannot be followed, but as long as the kernel says
// so there is that process.
func (n Netns) Gone() bool {
	inode, err := n.currentInode()
	if errors.Is(err, os.ErrPermission) {
		return false
	}
	return err != nil || inode != n.Inode
}

// Do runs f on a thread inside the namespace. Sockets and links that f makes stay there.
func (n Netns) Do(f func() error) error {
	if n.path == "" {
		return f()
	}
	result := make(chan error)
	go func() { result <- n.doLocked(f) }()
	return <-result
}

// doLocked leaves its thread locked, so that the runtime ends it, only where the way back failed.
func (n Netns) doLocked(f func() error) error {
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
		return enterError(n.Name, err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// Inside is a thread that stays in a namespace, for what must be done there when the right to enter it was
// given up. Nil is our own namespace, where every thread is.
type Inside struct {
	jobs    chan func() error
	results chan error
}

// Stay sends a thread there. Leave must be called.
func (n Netns) Stay() (*Inside, error) {
	if n.path == "" {
		return nil, nil
	}
	in := &Inside{make(chan func() error), make(chan error)}
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

// Do runs f there, one at a time.
func (in *Inside) Do(f func() error) error {
	if in == nil {
		return f()
	}
	in.jobs <- f
	return <-in.results
}

// Leave ends the thread, or returns it to where it came from, if it still may.
func (in *Inside) Leave() {
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
