package doctor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
)

// notTried stands where an attempt would only repeat what a check before it said.
const notTried = "not tried; see what failed above"

// probeNetns checks one namespace; what needs programs is tried only if able.
func probeNetns(n hook.Netns, able bool) []Check {
	if err := n.Do(func() error { return nil }); err != nil {
		return []Check{failed("netns", err)}
	}
	checks := []Check{{
		Name: "netns", Status: StatusOK, Required: true, Found: fmt.Sprintf("%s, inode %d", n.Name, n.Inode),
	}}
	p := &netnsProbe{netns: n, able: able}
	if err := n.Do(p.openDevice); err != nil {
		return append(checks, failed("loopback", err))
	}
	checks = append(checks, checkLoopback(p.device))
	// Others' programs there are read before anything of ours is.
	checks = append(checks, p.checkAttached()...)
	checks = append(checks, p.checkHooks()...)
	return append(checks, p.checkListeners(), p.checkDrops())
}

// netnsProbe looks at one network namespace.
type netnsProbe struct {
	netns  hook.Netns
	able   bool
	device *hook.Device // closed: it only says what it is
	count  model.DeviceCount
}

// openDevice runs inside the namespace.
func (p *netnsProbe) openDevice() (err error) {
	if p.device, err = hook.OpenDevice(); err != nil {
		return err
	}
	p.count, err = p.device.Count()
	return errors.Join(err, p.device.Close())
}

func checkLoopback(lo *hook.Device) Check {
	c := Check{Name: "loopback", Status: StatusOK, Required: true}
	state := "up"
	if !lo.Up {
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
	others := Check{Name: "attached", Status: StatusOK, Found: "nothing of others on " + p.device.Name}
	left := Check{Name: "leftovers", Status: StatusOK, Found: "none"}
	if !p.able {
		others.Status, others.Found = StatusWarn, notTried
		left.Status, left.Found = StatusWarn, notTried
		return []Check{others, left}
	}
	var there hook.Attached
	err := p.netns.Do(func() (err error) {
		there, err = p.device.Attached()
		return err
	})
	if err != nil {
		others.Status, others.Found = StatusWarn, err.Error()
	} else if len(there.Others) > 0 {
		others.Found = strings.Join(there.Others, ", ")
	}
	if len(there.Leftovers) > 0 {
		left.Status = StatusWarn
		left.Found = "of killed runs: " + strings.Join(there.Leftovers, ", ")
		left.Fix = "sudo lotrace flows --hook clsact -d 0 removes them"
		if !p.netns.IsOwn() {
			left.Fix = "sudo lotrace flows --netns " + p.netns.Name + " --hook clsact -d 0 removes them"
		}
	}
	return []Check{others, left}
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
	tcxErr, clsactErr := loader.TryTC(p.netns, p.device)
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

func (p *netnsProbe) tryXDP() error {
	if p.device.XDP != 0 {
		return errors.New("another XDP program is there, and a device takes one")
	}
	return loader.TryXDP(p.netns)
}

// checkListeners goes the way of Loader.Listeners, and says how far.
func (p *netnsProbe) checkListeners() Check {
	c := Check{Name: "listeners", Status: StatusOK}
	if !p.able {
		c.Status, c.Found = StatusWarn, notTried
		return c
	}
	found, err := loader.TryListeners(p.netns)
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
	c.Found = fmt.Sprintf("%d packets on %s, %s in the backlogs of all devices", p.count.Dropped, p.device.Name, backlog)
	if p.count.Dropped > 0 {
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
