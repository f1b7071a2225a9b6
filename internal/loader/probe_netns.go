package loader

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/lotrace/lotrace/internal/model"
)

// notTried stands where an attempt would only repeat what a check before it said.
const notTried = "not tried; see what failed above"

// probeNetns checks one namespace; what needs programs is tried only if able.
func probeNetns(n netns, able bool) []Check {
	if err := n.do(func() error { return nil }); err != nil {
		return []Check{failed("netns", err)}
	}
	checks := []Check{{
		Name: "netns", Status: StatusOK, Required: true, Found: fmt.Sprintf("%s, inode %d", n.name, n.inode),
	}}
	p := &netnsProbe{netns: n, able: able}
	if err := n.do(p.findLoopback); err != nil {
		return append(checks, failed("loopback", err))
	}
	checks = append(checks, checkLoopback(p.loopback))
	// What others have there is read before anything of ours is.
	checks = append(checks, p.checkAttached()...)
	checks = append(checks, p.checkHooks()...)
	return append(checks, p.checkListeners(), p.checkDrops())
}

// netnsProbe looks at one network namespace.
type netnsProbe struct {
	netns    netns
	able     bool
	loopback *netlink.LinkAttrs
	device   model.DeviceCount
}

// findLoopback runs inside the namespace.
func (p *netnsProbe) findLoopback() error {
	lo, err := findLoopback()
	if err != nil {
		return err
	}
	p.loopback = lo.Attrs()
	stats, err := openDeviceStats(p.loopback.Index)
	if err != nil {
		return err
	}
	p.device, err = stats.read()
	return errors.Join(err, stats.Close())
}

func checkLoopback(lo *netlink.LinkAttrs) Check {
	c := Check{Name: "loopback", Status: StatusOK, Required: true}
	state := "up"
	if lo.Flags&net.FlagUp == 0 {
		state = "down: nothing crosses it"
		c.Status = StatusWarn
		c.Fix = "sudo ip link set " + lo.Name + " up"
	}
	c.Found = fmt.Sprintf("%s, index %d, mtu %d, gso_max_size %d, %s", lo.Name, lo.Index, lo.MTU, lo.GSOMaxSize, state)
	return c
}

// checkAttached reports what others have on the device, which is theirs, and what killed runs of
// lotrace have left, which is nobody's.
func (p *netnsProbe) checkAttached() []Check {
	others := Check{Name: "attached", Status: StatusOK, Found: "nothing of others on " + p.loopback.Name}
	left := Check{Name: "leftovers", Status: StatusOK, Found: "none"}
	if !p.able {
		others.Status, others.Found = StatusWarn, notTried
		left.Status, left.Found = StatusWarn, notTried
		return []Check{others, left}
	}
	var a attached
	if err := p.netns.do(func() error { return a.read(p.loopback) }); err != nil {
		others.Status, others.Found = StatusWarn, err.Error()
	} else if len(a.others) > 0 {
		others.Found = strings.Join(a.others, ", ")
	}
	if len(a.leftovers) > 0 {
		left.Status = StatusWarn
		left.Found = "of killed runs: " + strings.Join(a.leftovers, ", ")
		left.Fix = "sudo lotrace flows --hook clsact -d 0 removes them"
		if p.netns.path != "" {
			left.Fix = "sudo lotrace flows --netns " + p.netns.name + " --hook clsact -d 0 removes them"
		}
	}
	return []Check{others, left}
}

// attached is what is on a device.
type attached struct {
	others    []string // programs, filters and queues: where, and which
	leftovers []string // the names of our own filters whose process has ended
}

// read runs inside the namespace.
func (a *attached) read(lo *netlink.LinkAttrs) error {
	if lo.Xdp != nil && lo.Xdp.Attached {
		a.add("xdp", programName(ebpf.ProgramID(lo.Xdp.ProgId)))
	}
	for _, at := range []struct {
		place string
		kind  ebpf.AttachType
	}{{"tcx ingress", ebpf.AttachTCXIngress}, {"tcx egress", ebpf.AttachTCXEgress}} {
		// The error is that of a kernel without tcx: nothing can be there.
		found, err := link.QueryPrograms(link.QueryOptions{Target: lo.Index, Attach: at.kind})
		if err != nil {
			continue
		}
		for _, program := range found.Programs {
			a.add(at.place, programName(program.ID))
		}
	}
	c, err := newClsact(lo.Index)
	if err != nil {
		return err
	}
	return errors.Join(a.readTC(c), c.Close())
}

func (a *attached) readTC(c *clsact) error {
	there, err := c.hasQdisc()
	if err != nil || !there {
		return err
	}
	bpf := 0
	count, err := c.eachFilter(func(filter *netlink.BpfFilter) error {
		bpf++
		place := "clsact ingress"
		if filter.Parent == netlink.HANDLE_MIN_EGRESS {
			place = "clsact egress"
		}
		if mark, ours := parseFilterMark(filter.Name); ours && mark.dead() {
			a.leftovers = append(a.leftovers, filter.Name)
		} else {
			a.add(place, filter.Name)
		}
		return nil
	})
	if count > bpf {
		a.add("clsact", fmt.Sprintf("filters of other kinds (%d)", count-bpf))
	}
	return err
}

func (a *attached) add(place, name string) { a.others = append(a.others, place+": "+name) }

// programName needs cap_sys_admin, and has the number alone without.
func programName(id ebpf.ProgramID) string {
	name := fmt.Sprintf("program %d", id)
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return name
	}
	defer program.Close()
	if info, err := program.Info(); err == nil && info.Name != "" {
		name += " " + info.Name
	}
	return name
}

// checkHooks tries tcx and clsact, one of which it takes. XDP is loaded but not attached: on lo it
// slows everybody's traffic while it is there.
func (p *netnsProbe) checkHooks() []Check {
	hooks := []Check{
		{Name: "tcx", Status: StatusOK, Found: "attaches"},
		{Name: "clsact", Status: StatusOK, Found: "attaches"},
		{Name: "xdp", Status: StatusOK, Found: "loads; not attached, which would slow local traffic"},
	}
	if !p.able {
		for i := range hooks {
			hooks[i].Status, hooks[i].Found = StatusWarn, notTried
		}
		return hooks
	}
	tcxErr, clsactErr := p.tryTC()
	for i, err := range []error{tcxErr, clsactErr, p.tryXDP()} {
		if err != nil {
			hooks[i].Status = StatusWarn
			hooks[i].Found, hooks[i].Fix = explain(err)
		}
	}
	if clsact := &hooks[1]; tcxErr != nil {
		clsact.Required = true
		if clsactErr != nil {
			clsact.Status = StatusFail
		}
	}
	return hooks
}

// load makes a loader whose programs are in the kernel and attached nowhere.
func (p *netnsProbe) load(hook Hook) (*Loader, error) {
	l := &Loader{netns: p.netns, device: p.loopback.Name, ifindex: p.loopback.Index}
	if err := l.load(Config{Hook: hook, MaxFlows: MinFlows}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// tryTC attaches the TC program in both ways, one after the other.
func (p *netnsProbe) tryTC() (tcx, clsact error) {
	l, err := p.load(HookAuto)
	if err != nil {
		return err, err
	}
	err = p.netns.do(func() error {
		clsact = l.tryClsact()
		tcx = l.attach(HookTCX)
		return nil
	})
	if err = errors.Join(err, l.Close()); err != nil {
		return errors.Join(tcx, err), errors.Join(clsact, err)
	}
	return tcx, clsact
}

// tryClsact does not sweep as attachClsact does: a diagnosis removes nothing. It runs inside the
// watched namespace.
func (l *Loader) tryClsact() error {
	c, err := newClsact(l.ifindex)
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
		return c.addFilter(netlink.HANDLE_MIN_EGRESS, l.coll.Programs["lotrace_egress"].FD())
	})
	return errors.Join(err, c.Close())
}

func (p *netnsProbe) tryXDP() error {
	if xdp := p.loopback.Xdp; xdp != nil && xdp.Attached {
		return errors.New("another XDP program is there, and a device takes one")
	}
	l, err := p.load(HookXDP)
	if err != nil {
		return err
	}
	return l.Close()
}

// checkListeners goes the way of Loader.Listeners, and says how far.
func (p *netnsProbe) checkListeners() Check {
	c := Check{Name: "listeners", Status: StatusOK}
	if !p.able {
		c.Status, c.Found = StatusWarn, notTried
		return c
	}
	var found []model.Listener
	load := func(program string) (*ebpf.Program, error) {
		source, err := readSource()
		if err != nil {
			return nil, err
		}
		return source.load(program, nil)
	}
	err := p.netns.do(func() (err error) {
		found, err = listListeners(load)
		return err
	})
	c.Found = fmt.Sprintf("%d found", len(found))
	if err != nil {
		c.Status = StatusWarn
		c.Found = "unknown, so servers of older connections are guessed: " + err.Error()
	}
	return c
}

// checkDrops warns of packets that left a socket and never arrived, because the receiving CPU's
// backlog was full.
func (p *netnsProbe) checkDrops() Check {
	c := Check{Name: "drops", Status: StatusOK}
	backlog := "unknown"
	if text, err := os.ReadFile("/proc/net/softnet_stat"); err == nil {
		backlog = strconv.FormatUint(softnetDropped(string(text)), 10)
	}
	c.Found = fmt.Sprintf("%d packets on %s, %s in the backlogs of all devices", p.device.Dropped, p.loopback.Name, backlog)
	if p.device.Dropped > 0 {
		c.Status = StatusWarn
		c.Fix = "a longer backlog: sudo sysctl -w net.core.netdev_max_backlog=10000"
	}
	return c
}

// softnetDropped adds up the second column of /proc/net/softnet_stat, a line per CPU in hexadecimal
// (softnet_seq_show, net/core/net-procfs.c).
func softnetDropped(text string) uint64 {
	var sum uint64
	for line := range strings.Lines(text) {
		var processed, dropped uint64
		if _, err := fmt.Sscanf(line, "%x %x", &processed, &dropped); err == nil {
			sum += dropped
		}
	}
	return sum
}
