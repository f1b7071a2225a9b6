package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/machine"
)

// attach runs inside the watched namespace.
func (l *Loader) attach(hook Hook) error {
	switch hook {
	case HookXDP:
		return l.attachXDP()
	case HookClsact:
		return l.attachClsact()
	case HookTCX:
		err := l.attachTCX()
		if errors.Is(err, ebpf.ErrNotSupported) {
			return &advice.Error{
				Doing: "attach tcx egress", Need: "Linux 6.6", Found: "this is " + machine.Release(),
				Fix: "use --hook clsact",
			}
		}
		return err
	case HookAuto:
		err := l.attachTCX()
		if errors.Is(err, ebpf.ErrNotSupported) {
			return l.attachClsact()
		}
		return err
	default:
		return fmt.Errorf("attach: no hook %q", hook)
	}
}

// attachTCX puts our programs first: one that consumes a packet for itself would hide it from those
// after it, and the device counts what TC egress let go, whoever did.
func (l *Loader) attachTCX() error {
	l.hook = HookTCX
	if err := l.attachTCXProgram("lotrace_egress", ebpf.AttachTCXEgress); err != nil || !l.stages {
		return err
	}
	return l.attachTCXProgram("lotrace_ingress", ebpf.AttachTCXIngress)
}

func (l *Loader) attachTCXProgram(name string, at ebpf.AttachType) error {
	tcx, err := link.AttachTCX(link.TCXOptions{
		Interface: l.ifindex,
		Program:   l.coll.Programs[name],
		Attach:    at,
		Anchor:    link.Head(),
	})
	if err != nil {
		return fmt.Errorf("attach %s with tcx: %w", name, err)
	}
	l.onClose(tcx.Close)
	return l.watchLink(tcx, name)
}

func (l *Loader) attachXDP() error {
	l.hook = HookXDP
	xdp, err := link.AttachXDP(link.XDPOptions{
		Interface: l.ifindex,
		Program:   l.coll.Programs["lotrace_xdp"],
		Flags:     link.XDPGenericMode,
	})
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
		return &advice.Error{
			Doing: "attach xdp to " + l.device, Found: "another XDP program is there, and a device takes one",
			Fix: "use --hook auto", Err: err,
		}
	}
	if err != nil {
		return fmt.Errorf("attach xdp to %s: %w", l.device, err)
	}
	l.onClose(xdp.Close)
	return l.watchLink(xdp, "lotrace_xdp")
}

// watchLink has Alive see to it that the link leads from a device to the program: whoever may
// administrate the network can detach it or give it another one.
func (l *Loader) watchLink(at link.Link, name string) error {
	program, err := l.coll.Programs[name].Info()
	if err != nil {
		return fmt.Errorf("ask for %s: %w", name, err)
	}
	id, _ := program.ID()
	l.placed = append(l.placed, func() bool {
		info, err := at.Info()
		if err != nil {
			return true
		}
		var ifindex uint32
		if tcx := info.TCX(); tcx != nil {
			ifindex = tcx.Ifindex
		} else if xdp := info.XDP(); xdp != nil {
			ifindex = xdp.Ifindex
		}
		return ifindex == uint32(l.ifindex) && info.Program == id
	})
	return nil
}
