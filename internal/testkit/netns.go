// Package testkit is what tests against a real kernel are made of: private network namespaces,
// packets made byte by byte, traffic whose senders know what they sent, and checks for what a
// test left behind.
package testkit

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// loIndex is the ifindex of the loopback device; the kernel insists on it in every namespace.
const loIndex = 1

// legacyGSOMaxSize is the largest gso_max_size that the kernel applies to IPv4 as well.
const legacyGSOMaxSize = 65536

// Counters is what the loopback device of a namespace counted since it was made.
type Counters struct {
	RxPackets uint64
	RxBytes   uint64 // IP header on, no MAC header
	Dropped   uint64 // refused by the device or its backlog, so part of neither of the above
}

// Sub returns c less o; o is the older.
func (c Counters) Sub(o Counters) Counters {
	return Counters{c.RxPackets - o.RxPackets, c.RxBytes - o.RxBytes, c.Dropped - o.Dropped}
}

// Netns is a network namespace of one test's own, with a loopback device that is up and idle.
// Its methods other than Do fail the test on error, so they belong on the test's goroutine.
type Netns struct {
	tb     testing.TB
	fd     int
	inode  uint32
	handle *netlink.Handle
}

// NewNetns makes a namespace that lives until the test ends, or until the last socket in it is
// closed. It skips the test where RequireRoot does.
func NewNetns(tb testing.TB) *Netns {
	tb.Helper()
	RequireRoot(tb)
	n := &Netns{tb: tb, fd: -1}
	if err := n.create(); err != nil {
		tb.Fatalf("make network namespace: %v", err)
	}
	tb.Cleanup(func() { unix.Close(n.fd) })
	if err := n.Do(n.raiseLo); err != nil {
		tb.Fatalf("raise lo: %v", err)
	}
	tb.Cleanup(n.handle.Close)
	return n
}

func (n *Netns) create() error {
	home, err := leave(func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	if err != nil {
		return err
	}
	defer home()
	if n.fd, err = openThreadNetns(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(n.fd, &st); err != nil {
		return fmt.Errorf("stat namespace: %w", err)
	}
	n.inode = uint32(st.Ino)
	return nil
}

func (n *Netns) raiseLo() error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_INET_DIAG)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	n.handle = handle
	lo, err := handle.LinkByIndex(loIndex)
	if err != nil {
		return fmt.Errorf("find link: %w", err)
	}
	return handle.LinkSetUp(lo)
}

// Do runs f with the calling thread inside the namespace. Sockets made by f stay inside; the
// goroutines it starts do not begin there.
func (n *Netns) Do(f func() error) error {
	home, err := leave(func() error { return unix.Setns(n.fd, unix.CLONE_NEWNET) })
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer home()
	return f()
}

// Run is Do for code that reports through tb.
func (n *Netns) Run(tb testing.TB, f func()) {
	tb.Helper()
	if err := n.Do(func() error { f(); return nil }); err != nil {
		tb.Fatal(err)
	}
}

// Path names the namespace for setns; any process that may read our descriptors can open it
// until the test ends.
func (n *Netns) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.fd) }

// Inode is the namespace's identity, as in a flow's key.
func (n *Netns) Inode() uint32 { return n.inode }

// Device reads the counters of lo.
func (n *Netns) Device() Counters {
	n.tb.Helper()
	lo, err := n.lo()
	if err != nil {
		n.tb.Fatal(err)
	}
	s := lo.Statistics
	return Counters{RxPackets: s.RxPackets, RxBytes: s.RxBytes, Dropped: s.RxDropped + s.TxDropped}
}

func (n *Netns) lo() (*netlink.LinkAttrs, error) {
	lo, err := n.handle.LinkByIndex(loIndex)
	if err != nil {
		return nil, fmt.Errorf("read lo: %w", err)
	}
	return lo.Attrs(), nil
}

// SetMTU sets the MTU of lo, in bytes.
func (n *Netns) SetMTU(mtu int) {
	n.tb.Helper()
	if err := n.handle.LinkSetMTU(n.link(), mtu); err != nil {
		n.tb.Fatalf("set mtu %d: %v", mtu, err)
	}
}

// SetGSO sets the size in bytes from which lo has skbs segmented, for both families.
func (n *Netns) SetGSO(maxSize int) {
	n.tb.Helper()
	if err := n.handle.LinkSetGSOMaxSize(n.link(), maxSize); err != nil {
		n.tb.Fatalf("set gso_max_size %d: %v", maxSize, err)
	}
	if maxSize <= legacyGSOMaxSize {
		return
	}
	if err := n.handle.LinkSetGSOIPv4MaxSize(n.link(), maxSize); err != nil {
		n.tb.Fatalf("set gso_ipv4_max_size %d: %v", maxSize, err)
	}
}

func (n *Netns) link() netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: loIndex}}
}

// leave ties the goroutine to its thread, lets move change that thread's network namespace, and
// returns the way back. A thread must never be handed back to the scheduler, or left to the end
// of its goroutine, in a foreign namespace: Go parks the main thread rather than ending it, and
// /proc/self would show that namespace from then on.
func leave(move func() error) (home func(), err error) {
	runtime.LockOSThread()
	origin, err := openThreadNetns()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	if err := move(); err != nil {
		unix.Close(origin)
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() {
		if err := unix.Setns(origin, unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("return to the first network namespace: %v", err))
		}
		unix.Close(origin)
		runtime.UnlockOSThread()
	}, nil
}

func openThreadNetns() (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the thread's network namespace: %w", err)
	}
	return fd, nil
}
