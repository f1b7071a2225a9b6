package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
)

// loIndex is the ifindex of the loopback device; the kernel insists on it in every namespace.
const loIndex = 1

// namespace is a network namespace with lo up. It lives until Close, and as long as a socket or process in it.
type namespace struct {
	hook.Netns
	file *os.File
}

func newNamespace() (*namespace, error) {
	made := make(chan error)
	n := &namespace{}
	go func() { made <- n.make() }()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	return n, nil
}

// make leaves its thread locked, so that the runtime ends it, only where the way back failed.
func (n *namespace) make() (err error) {
	runtime.LockOSThread()
	home, err := os.Open(threadNetns)
	if err != nil {
		return err
	}
	defer home.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = n.open()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

const threadNetns = "/proc/thread-self/ns/net"

// open runs inside.
func (n *namespace) open() (err error) {
	if n.file, err = os.Open(threadNetns); err != nil {
		return err
	}
	n.Netns, err = hook.FindNetns(fmt.Sprintf("/proc/self/fd/%d", n.file.Fd()))
	return errors.Join(err, raiseLo())
}

func (n *namespace) Close() error { return n.file.Close() }

// raiseLo works on the lo of the calling thread's namespace.
func raiseLo() error {
	if err := netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: loIndex}}); err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	return nil
}
