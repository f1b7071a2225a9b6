package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bpf(2) and linux/bpf.h have these names and values; the rest of the tests need no BPF library.
const (
	bpfProgGetFdByID = 13
	bpfMapGetFdByID  = 14
	bpfProgQuery     = 16
	bpfLinkGetFdByID = 30
	bpfTCXIngress    = 46
	bpfTCXEgress     = 47
)

// BPFObject names a program, map or link of the running kernel.
type BPFObject struct {
	Kind string // "prog", "map" or "link"
	ID   uint32
}

var bpfGetFdByID = map[string]uintptr{
	"prog": bpfProgGetFdByID, "map": bpfMapGetFdByID, "link": bpfLinkGetFdByID,
}

// HeldBPF lists the BPF objects that a process has descriptors of. It fails the test when there is
// none, since a check that they are gone would then say nothing.
func HeldBPF(tb testing.TB, pid int) []BPFObject {
	tb.Helper()
	held := ListBPF(tb, pid)
	if len(held) == 0 {
		tb.Fatalf("process %d holds no BPF object", pid)
	}
	return held
}

// ListBPF is HeldBPF of a process that may hold none.
func ListBPF(tb testing.TB, pid int) []BPFObject {
	tb.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		tb.Fatal(err)
	}
	var held []BPFObject
	for _, file := range files {
		held = append(held, bpfIn(file)...)
	}
	return held
}

// bpfIn reads lines as "prog_id:	12", proc_pid_fdinfo(5).
func bpfIn(fdinfo string) []BPFObject {
	file, err := os.Open(fdinfo)
	if err != nil {
		return nil // closed since it was listed
	}
	defer file.Close()
	var found []BPFObject
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kind, ok := strings.CutSuffix(name, "_id")
		if _, known := bpfGetFdByID[kind]; !ok || !known {
			continue
		}
		object := BPFObject{Kind: kind}
		if _, err := fmt.Sscan(value, &object.ID); err == nil {
			found = append(found, object)
		}
	}
	return found
}

// CheckBPFGone fails the test unless the objects soon cease to exist: the kernel frees them after a
// grace period.
func CheckBPFGone(tb testing.TB, objects []BPFObject) {
	tb.Helper()
	poll := time.NewTicker(quietPoll)
	defer poll.Stop()
	for deadline := time.Now().Add(quietWithin); ; <-poll.C {
		objects = slices.DeleteFunc(objects, func(o BPFObject) bool { return !o.exists(tb) })
		if len(objects) == 0 {
			return
		}
		if time.Now().After(deadline) {
			tb.Errorf("left behind in the kernel: %v", objects)
			return
		}
	}
}

func (o BPFObject) exists(tb testing.TB) bool {
	attr := struct{ id, next, flags uint32 }{id: o.ID}
	fd, err := bpf(bpfGetFdByID[o.Kind], unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	switch {
	case err == nil:
		unix.Close(int(fd))
		return true
	case errors.Is(err, unix.ENOENT):
		return false
	}
	tb.Fatalf("look for %s %d: %v", o.Kind, o.ID, err)
	return false
}

func bpf(command uintptr, attr unsafe.Pointer, size uintptr) (uintptr, error) {
	result, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
	runtime.KeepAlive(attr)
	if errno != 0 {
		return 0, errno
	}
	return result, nil
}

// Attached is what hangs on the loopback device of a namespace, whoever made it.
type Attached struct {
	TCXIngress []uint32 // program ids, the first to run first
	TCXEgress  []uint32
	XDP        uint32 // program id; 0: none
	Qdiscs     []string
	Filters    []string // in the order in which they run
}

// Attached reads it.
func (n *Netns) Attached() Attached {
	n.tb.Helper()
	var a Attached
	n.Run(n.tb, func() {
		a.TCXIngress, a.TCXEgress = n.tcx(bpfTCXIngress), n.tcx(bpfTCXEgress)
	})
	if lo, err := n.lo(); err != nil {
		n.tb.Fatal(err)
	} else if lo.Xdp != nil {
		a.XDP = lo.Xdp.ProgId
	}
	qdiscs, err := n.handle.QdiscList(n.link())
	if err != nil {
		n.tb.Fatalf("list qdiscs: %v", err)
	}
	for _, q := range qdiscs {
		a.Qdiscs = append(a.Qdiscs, q.Type())
	}
	if slices.Contains(a.Qdiscs, "clsact") {
		a.Filters = append(n.filters(netlink.HANDLE_MIN_INGRESS), n.filters(netlink.HANDLE_MIN_EGRESS)...)
	}
	return a
}

// tcx lists the programs at one place; none on kernels that do not know it.
func (n *Netns) tcx(place uint32) []uint32 {
	ids := make([]uint32, 64)
	attr := struct {
		ifindex, place, queryFlags, attachFlags uint32
		ids                                     uint64
		count, pad                              uint32
		flags                                   [3]uint64
		revision                                uint64
	}{ifindex: loIndex, place: place, ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: uint32(len(ids))}
	_, err := bpf(bpfProgQuery, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(ids)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		n.tb.Fatalf("query tcx: %v", err)
	}
	if attr.count == 0 {
		return nil
	}
	return ids[:attr.count]
}

func (n *Netns) filters(parent uint32) []string {
	filters, err := n.handle.FilterList(n.link(), parent)
	if err != nil {
		n.tb.Fatalf("list filters: %v", err)
	}
	var names []string
	for _, f := range filters {
		attrs := f.Attrs()
		name := fmt.Sprintf("%x priority %d handle %x %s", parent, attrs.Priority, attrs.Handle, f.Type())
		if bpf, ok := f.(*netlink.BpfFilter); ok {
			name += " " + bpf.Name
		}
		names = append(names, name)
	}
	return names
}
