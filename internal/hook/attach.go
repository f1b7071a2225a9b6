package hook

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/machine"
)

// Kind is the place where packets are counted.
type Kind string

// The hooks. Each counts every packet once.
const (
	Auto   Kind = "auto"   // tcx where the kernel has it, else clsact
	TCX    Kind = "tcx"    // TC egress through a link; Linux 6.6
	Clsact Kind = "clsact" // TC egress through a qdisc and filter
	XDP    Kind = "xdp"    // generic XDP; see docs/accounting.md before using it
)

// Programs are what Attach puts at a device. Those that its kind of hook does not take may be nil.
type Programs struct {
	Egress  *ebpf.Program // at TC egress
	Ingress *ebpf.Program // at TC ingress as well; nil: nothing is put there
	XDP     *ebpf.Program
}

// Attachment is what is ours at a device.
type Attachment struct {
	Kind     Kind     // never Auto
	Warnings []string // what does not keep it from counting, a sentence each

	device   *Device
	placed   []func() bool  // whether our programs are where they were put; true as well if nobody can say
	cleanups []func() error // undone in reverse order by Close
}

// Attach puts programs at the device. It must run inside its namespace. The programs must stay open until
// Close, which must be called.
func (d *Device) Attach(kind Kind, p Programs) (*Attachment, error) {
	a := &Attachment{Kind: kind, device: d}
	if err := a.attach(p); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// IsPlaced reports whether our programs are where Attach has put them; true as well if nobody can say.
func (a *Attachment) IsPlaced() bool {
	for _, isPlaced := range a.placed {
		if !isPlaced() {
			return false
		}
	}
	return true
}

// Close takes away what is ours and nothing else.
func (a *Attachment) Close() error {
	var errs []error
	for _, f := range slices.Backward(a.cleanups) {
		errs = append(errs, f())
	}
	a.cleanups = nil
	return errors.Join(errs...)
}

func (a *Attachment) onClose(f func() error) { a.cleanups = append(a.cleanups, f) }

func (a *Attachment) warn(format string, args ...any) {
	a.Warnings = append(a.Warnings, fmt.Sprintf(format, args...))
}

func (a *Attachment) attach(p Programs) error {
	switch a.Kind {
	case XDP:
		return a.attachXDP(p)
	case Clsact:
		return a.attachClsact(p)
	case TCX:
		err := a.attachTCX(p)
		if errors.Is(err, ebpf.ErrNotSupported) {
			return &advice.Error{
				Doing: "attach tcx egress", Need: "Linux 6.6", Found: "this is " + machine.Release(),
				Fix: "use --hook clsact",
			}
		}
		return err
	case Auto:
		err := a.attachTCX(p)
		if errors.Is(err, ebpf.ErrNotSupported) {
			return a.attachClsact(p)
		}
		return err
	default:
		return fmt.Errorf("attach: no hook %q", a.Kind)
	}
}

// attachTCX puts our programs first: one that consumes a packet for itself would hide it from those
// after it, and the device counts what TC egress let go, whoever did.
func (a *Attachment) attachTCX(p Programs) error {
	a.Kind = TCX
	if err := a.attachTCXProgram(p.Egress, ebpf.AttachTCXEgress); err != nil || p.Ingress == nil {
		return err
	}
	return a.attachTCXProgram(p.Ingress, ebpf.AttachTCXIngress)
}

func (a *Attachment) attachTCXProgram(program *ebpf.Program, at ebpf.AttachType) error {
	info, err := program.Info()
	if err != nil {
		return fmt.Errorf("ask for our program: %w", err)
	}
	tcx, err := link.AttachTCX(link.TCXOptions{
		Interface: a.device.Index,
		Program:   program,
		Attach:    at,
		Anchor:    link.Head(),
	})
	if err != nil {
		return fmt.Errorf("attach %s with tcx: %w", info.Name, err)
	}
	a.onClose(tcx.Close)
	a.watchLink(tcx, info)
	return nil
}

func (a *Attachment) attachXDP(p Programs) error {
	info, err := p.XDP.Info()
	if err != nil {
		return fmt.Errorf("ask for our program: %w", err)
	}
	xdp, err := link.AttachXDP(link.XDPOptions{
		Interface: a.device.Index,
		Program:   p.XDP,
		Flags:     link.XDPGenericMode,
	})
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
		return &advice.Error{
			Doing: "attach xdp to " + a.device.Name, Found: "another XDP program is there, and a device takes one",
			Fix: "use --hook auto", Err: err,
		}
	}
	if err != nil {
		return fmt.Errorf("attach xdp to %s: %w", a.device.Name, err)
	}
	a.onClose(xdp.Close)
	a.warn("%s", xdpWarning)
	a.watchLink(xdp, info)
	return nil
}

// watchLink has IsPlaced see to it that the link leads from the device to the program: whoever may
// administrate the network can detach it or give it another one.
func (a *Attachment) watchLink(at link.Link, program *ebpf.ProgramInfo) {
	id, _ := program.ID()
	a.placed = append(a.placed, func() bool {
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
		return ifindex == uint32(a.device.Index) && info.Program == id
	})
}
