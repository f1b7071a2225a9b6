package hook

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
)

// attachClsact runs inside the watched namespace.
func (a *Attachment) attachClsact(p Programs) error {
	a.Kind = Clsact
	guardian, err := startGuardian()
	if err != nil {
		a.warn("%v; if lotrace is killed, its filter stays until the next --hook clsact", err)
	}
	a.onClose(guardian.Close)
	c, err := newClsact(a.device.Index)
	if err != nil {
		return err
	}
	a.onClose(c.Close)
	if err := c.locked(func() error { return c.attach(a, p, guardian) }); err != nil {
		return err
	}
	a.placed = append(a.placed, c.isPlaced)
	if c.priority > firstPriority {
		a.warn("another filter on %s comes first; what it takes for itself is not counted.", a.device.Name)
	}
	return nil
}

// TryClsact attaches a program and takes it away again. It does not sweep as Attach does: a diagnosis removes
// nothing. It must run inside the namespace.
func (d *Device) TryClsact(program *ebpf.Program) error {
	c, err := newClsact(d.Index)
	if err != nil {
		return err
	}
	err = c.locked(func() (err error) {
		if c.mark, err = ownFilterMark(); err != nil {
			return err
		}
		if err = c.addQdisc(); err != nil {
			return err
		}
		return c.addFilter(netlink.HANDLE_MIN_EGRESS, program.FD())
	})
	return errors.Join(err, c.Close())
}

func (c *clsact) attach(a *Attachment, p Programs, guardian *guardian) (err error) {
	if err := c.remove(filterMark.dead); err != nil {
		return fmt.Errorf("sweep leftovers: %w", err)
	}
	if c.mark, err = ownFilterMark(); err != nil {
		return err
	}
	c.charge = func() {
		if err := guardian.charge(c.ifindex, c.mark); err != nil {
			a.warn("%v", err)
		}
	}
	if err := c.addQdisc(); err != nil {
		return err
	}
	if err := c.addFilter(netlink.HANDLE_MIN_EGRESS, p.Egress.FD()); err != nil || p.Ingress == nil {
		return err
	}
	return c.addFilter(netlink.HANDLE_MIN_INGRESS, p.Ingress.FD())
}

// clsact is our part of a device's clsact qdisc.
type clsact struct {
	handle   *netlink.Handle
	netns    *os.File // for its lock
	ifindex  int
	mark     filterMark // zero until we own something
	filters  []*netlink.BpfFilter
	priority uint16 // the last of theirs
	charge   func() // called when mark has changed
}

// newClsact must run inside the watched namespace.
func newClsact(ifindex int) (*clsact, error) {
	netns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open own network namespace: %w", err)
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink: %w", err), netns.Close())
	}
	return &clsact{handle: handle, netns: netns, ifindex: ifindex, charge: func() {}}, nil
}

// lockLimit is how long another lotrace, or somebody unkind, may keep us waiting.
const lockLimit = time.Second

// locked runs f while no other lotrace changes what is in this namespace: the qdisc that one finds
// empty and removes must not be the one that another just decided to share.
func (c *clsact) locked(f func() error) error {
	fd := int(c.netns.Fd())
	for deadline := time.Now().Add(lockLimit); unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil; {
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return errors.Join(f(), unix.Flock(fd, unix.LOCK_UN))
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

// remove deletes the filters of ours that are chosen, and the qdisc if lotrace made it and nobody is
// left in it.
func (c *clsact) remove(chosen func(filterMark) bool) error {
	there, err := c.hasQdisc()
	if err != nil || !there {
		return err
	}
	removed, ownQdisc := 0, c.mark.ownQdisc
	count, err := c.eachFilter(func(filter *netlink.BpfFilter) error {
		mark, ours := parseFilterMark(filter.Name)
		if !ours || !chosen(mark) {
			return nil
		}
		removed++
		ownQdisc = ownQdisc || mark.ownQdisc
		return ignoreGone(c.handle.FilterDel(filter))
	})
	if err != nil || !ownQdisc || removed < count {
		return err
	}
	return ignoreGone(c.handle.QdiscDel(c.qdisc()))
}

func (c *clsact) qdisc() *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: c.ifindex,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

// addQdisc makes the qdisc or shares the one that is there. If another lotrace made that, whoever
// of us ends last removes it. Its charge comes before it makes a qdisc: nobody would know an empty one
// to be ours, were we killed before there is a filter.
func (c *clsact) addQdisc() error {
	there, err := c.hasQdisc()
	if err != nil {
		return err
	}
	if there {
		return c.shareQdisc()
	}
	c.mark.ownQdisc = true
	c.charge()
	err = c.handle.QdiscAdd(c.qdisc())
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		c.mark.ownQdisc = false
		if there, listErr := c.hasQdisc(); there || listErr != nil {
			return errors.Join(listErr, c.shareQdisc())
		}
		return &advice.Error{ // an ingress qdisc sits in the same place
			Doing: "add qdisc clsact", Found: "a qdisc of another kind is in its place",
			Fix: "use --hook tcx, or remove that qdisc", Err: err,
		}
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP):
		return &advice.Error{
			Doing: "add qdisc clsact", Need: "the kernel module sch_ingress",
			Fix: "modprobe sch_ingress cls_bpf", Err: err,
		}
	default:
		return fmt.Errorf("add qdisc clsact: %w", err)
	}
}

// shareQdisc finds out whose the qdisc is that is there.
func (c *clsact) shareQdisc() error {
	_, err := c.eachFilter(func(filter *netlink.BpfFilter) error {
		mark, ours := parseFilterMark(filter.Name)
		c.mark.ownQdisc = c.mark.ownQdisc || ours && mark.ownQdisc
		return nil
	})
	c.charge()
	return err
}

// firstPriority is that of a filter that runs before all others.
const firstPriority = 1

// addFilter puts our filter first, for the same reason as attachTCX. Filters of one priority must be
// of one kind and protocol (EINVAL); of those that run BPF, the newest comes first. It takes the first
// free handle from our process id up: two of us may differ in nothing else.
func (c *clsact) addFilter(parent uint32, fd int) error {
	const tries = 32
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: c.ifindex,
			Parent:    parent,
			Handle:    uint32(c.mark.pid),
			Protocol:  unix.ETH_P_ALL,
			Priority:  firstPriority,
		},
		Fd:           fd,
		Name:         c.mark.String(),
		DirectAction: true,
	}
	var err error
	for range tries {
		err = c.handle.FilterAdd(filter)
		switch {
		case err == nil:
			c.filters = append(c.filters, filter)
			c.priority = max(c.priority, filter.Priority)
			return nil
		case errors.Is(err, unix.EEXIST):
			filter.Handle++
		case errors.Is(err, unix.EINVAL):
			filter.Priority++
		case errors.Is(err, unix.ENOENT):
			return &advice.Error{
				Doing: "add tc filter", Need: "the kernel module cls_bpf", Fix: "modprobe cls_bpf", Err: err,
			}
		default:
			return fmt.Errorf("add tc filter: %w", err)
		}
	}
	return fmt.Errorf("add tc filter: %w", err)
}

// Close removes our filters, and the qdisc if lotrace made it and nobody is left in it.
func (c *clsact) Close() error {
	err := c.locked(c.detach)
	c.handle.Close()
	return errors.Join(err, c.netns.Close())
}

// isOurs goes by more than the place, in which somebody may have put a filter of theirs.
func (c *clsact) isOurs(filter *netlink.BpfFilter) bool {
	mark, ok := parseFilterMark(filter.Name)
	return ok && mark == c.mark && slices.ContainsFunc(c.filters, func(f *netlink.BpfFilter) bool {
		return f.Parent == filter.Parent && f.Priority == filter.Priority && f.Handle == filter.Handle
	})
}

// isPlaced reports whether all of our filters are there. A list that changed while it was read says
// nothing.
func (c *clsact) isPlaced() bool {
	there, err := c.hasQdisc()
	if err != nil || !there {
		return err != nil
	}
	ours := 0
	_, err = c.eachFilter(func(filter *netlink.BpfFilter) error {
		if c.isOurs(filter) {
			ours++
		}
		return nil
	})
	return err != nil || ours == len(c.filters)
}

func (c *clsact) detach() error {
	there, err := c.hasQdisc()
	if err != nil || !there {
		return err
	}
	_, err = c.eachFilter(func(filter *netlink.BpfFilter) error {
		if !c.isOurs(filter) {
			return nil
		}
		return ignoreGone(c.handle.FilterDel(filter))
	})
	errs := []error{err}
	if c.mark.ownQdisc {
		nobody := func(filterMark) bool { return false }
		errs = append(errs, c.remove(nobody))
	}
	return errors.Join(errs...)
}

// ignoreGone forgives that somebody removed it before us.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
