package loader

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A clsact filter outlives the process that made it, so its name says who that was and whether the
// qdisc is ours too: the next lotrace removes what a killed one left, and nothing else.
const (
	filterPrefix   = "lotrace"
	filterPriority = 0x6c74 // "lt": between what people number by hand and what the kernel picks
)

// filterMark is what a filter of ours says in its name.
type filterMark struct {
	pid      int
	start    string // the process's start time, clock ticks since boot: tells a reused pid apart
	pidns    string // the PID namespace in which pid means something
	ownQdisc bool   // lotrace made the qdisc
}

func (m filterMark) String() string {
	qdisc := "shared"
	if m.ownQdisc {
		qdisc = "own"
	}
	return strings.Join([]string{filterPrefix, strconv.Itoa(m.pid), m.start, m.pidns, qdisc}, "/")
}

func parseFilterMark(name string) (filterMark, bool) {
	part := strings.Split(name, "/")
	if len(part) != 5 || part[0] != filterPrefix {
		return filterMark{}, false
	}
	pid, err := strconv.Atoi(part[1])
	return filterMark{pid: pid, start: part[2], pidns: part[3], ownQdisc: part[4] == "own"}, err == nil
}

func ownFilterMark() (filterMark, error) {
	start, err := processStart(os.Getpid())
	if err != nil {
		return filterMark{}, fmt.Errorf("read own start time: %w", err)
	}
	pidns, err := ownPidns()
	return filterMark{pid: os.Getpid(), start: start, pidns: pidns}, err
}

func ownPidns() (string, error) {
	target, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", fmt.Errorf("read own pid namespace: %w", err)
	}
	return strings.Trim(strings.TrimPrefix(target, "pid:"), "[]"), nil
}

// processStart is field 22 of /proc/PID/stat, proc_pid_stat(5).
func processStart(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The command's name, in brackets, may hold anything; fields count from behind it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
	}
	return fields[19], nil
}

// dead reports that the filter's maker is known to have ended. Whoever cannot be judged, because it
// lives in another PID namespace, is left alone.
func (m filterMark) dead() bool {
	if pidns, err := ownPidns(); err != nil || pidns != m.pidns {
		return false
	}
	start, err := processStart(m.pid)
	return errors.Is(err, os.ErrNotExist) || err == nil && start != m.start
}

// attachClsact runs inside the watched namespace.
func (l *Loader) attachClsact() error {
	l.hook = HookClsact
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	l.onClose(func() error { handle.Close(); return nil })
	c := &clsact{handle: handle, ifindex: l.ifindex}
	if err := c.sweep(); err != nil {
		return err
	}
	if c.mark, err = ownFilterMark(); err != nil {
		return err
	}
	l.onClose(c.Close)
	if err := c.addQdisc(); err != nil {
		return err
	}
	if err := c.addFilter(netlink.HANDLE_MIN_EGRESS, l.coll.Programs["lotrace_egress"].FD()); err != nil || !l.stages {
		return err
	}
	return c.addFilter(netlink.HANDLE_MIN_INGRESS, l.coll.Programs["lotrace_ingress"].FD())
}

// clsact is our part of a device's clsact qdisc.
type clsact struct {
	handle  *netlink.Handle
	ifindex int
	mark    filterMark
	filters []*netlink.BpfFilter
}

// eachFilter calls f for every BPF filter under clsact and returns how many filters there are.
func (c *clsact) eachFilter(f func(*netlink.BpfFilter) error) (int, error) {
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: c.ifindex}}
	count := 0
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := c.handle.FilterList(link, parent)
		if err != nil {
			return count, fmt.Errorf("list tc filters: %w", err)
		}
		for _, filter := range filters {
			count++
			if bpf, ok := filter.(*netlink.BpfFilter); ok {
				if err := f(bpf); err != nil {
					return count, err
				}
			}
		}
	}
	return count, nil
}

// hasQdisc reports whether the device has a clsact qdisc.
func (c *clsact) hasQdisc() (bool, error) {
	link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: c.ifindex}}
	qdiscs, err := c.handle.QdiscList(link)
	if err != nil {
		return false, fmt.Errorf("list qdiscs: %w", err)
	}
	for _, q := range qdiscs {
		if q.Attrs().Parent == netlink.HANDLE_CLSACT && q.Type() == "clsact" {
			return true, nil
		}
	}
	return false, nil
}

// sweep removes filters whose lotrace was killed, and the qdisc that it made if nobody uses it.
func (c *clsact) sweep() error {
	there, err := c.hasQdisc()
	if err != nil || !there {
		return err
	}
	swept, ownQdisc := 0, false
	count, err := c.eachFilter(func(filter *netlink.BpfFilter) error {
		mark, ours := parseFilterMark(filter.Name)
		if !ours || !mark.dead() {
			return nil
		}
		swept++
		ownQdisc = ownQdisc || mark.ownQdisc
		return ignoreGone(c.handle.FilterDel(filter))
	})
	if err != nil {
		return fmt.Errorf("sweep leftovers: %w", err)
	}
	if ownQdisc && swept == count {
		return ignoreGone(c.handle.QdiscDel(c.qdisc()))
	}
	return nil
}

func (c *clsact) qdisc() *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: c.ifindex,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

// addQdisc makes the qdisc or shares the one that is there. If another lotrace made that, whoever
// of us ends last removes it.
func (c *clsact) addQdisc() error {
	err := c.handle.QdiscAdd(c.qdisc())
	switch {
	case err == nil:
		c.mark.ownQdisc = true
		return nil
	case errors.Is(err, unix.EEXIST):
		_, err := c.eachFilter(func(filter *netlink.BpfFilter) error {
			mark, ours := parseFilterMark(filter.Name)
			c.mark.ownQdisc = c.mark.ownQdisc || ours && mark.ownQdisc
			return nil
		})
		return err
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP):
		return &Error{
			Doing: "add qdisc clsact", Need: "the kernel module sch_ingress",
			Fix: "modprobe sch_ingress cls_bpf", Err: err,
		}
	default:
		return fmt.Errorf("add qdisc clsact: %w", err)
	}
}

// addFilter takes the first free handle from our process id up: two of us may differ in nothing
// else.
func (c *clsact) addFilter(parent uint32, fd int) error {
	const tries = 16
	var err error
	for i := range tries {
		filter := &netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: c.ifindex,
				Parent:    parent,
				Handle:    uint32(c.mark.pid + i),
				Protocol:  unix.ETH_P_ALL,
				Priority:  filterPriority,
			},
			Fd:           fd,
			Name:         c.mark.String(),
			DirectAction: true,
		}
		if err = c.handle.FilterAdd(filter); err == nil {
			c.filters = append(c.filters, filter)
			return nil
		}
		if !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return &Error{
			Doing: "add tc filter", Need: "the kernel module cls_bpf", Fix: "modprobe cls_bpf", Err: err,
		}
	}
	return fmt.Errorf("add tc filter: %w", err)
}

// Close removes our filters, and the qdisc if lotrace made it and nobody is left in it.
func (c *clsact) Close() error {
	var errs []error
	for _, filter := range c.filters {
		errs = append(errs, ignoreGone(c.handle.FilterDel(filter)))
	}
	c.filters = nil
	if !c.mark.ownQdisc {
		return errors.Join(errs...)
	}
	left, err := c.eachFilter(func(*netlink.BpfFilter) error { return nil })
	if err == nil && left == 0 {
		err = c.handle.QdiscDel(c.qdisc())
	}
	return errors.Join(append(errs, ignoreGone(err))...)
}

// ignoreGone forgives that somebody removed it before us.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
