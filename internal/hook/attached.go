package hook

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// Attached is what is on a device.
type Attached struct {
	Others    []string // programs, filters and queues: where, and which
	Leftovers []string // the names of our own filters whose process has ended
}

// Attached reads what is on the device, and changes nothing. It must run inside the namespace. What could be
// read comes with an error, too.
func (d *Device) Attached() (Attached, error) {
	var a Attached
	err := a.read(d)
	return a, err
}

func (a *Attached) read(d *Device) error {
	if d.XDP != 0 {
		a.add("xdp", programName(d.XDP))
	}
	for _, at := range []struct {
		place string
		kind  ebpf.AttachType
	}{{"tcx ingress", ebpf.AttachTCXIngress}, {"tcx egress", ebpf.AttachTCXEgress}} {
		// The error is that of a kernel without tcx: nothing can be there.
		found, err := link.QueryPrograms(link.QueryOptions{Target: d.Index, Attach: at.kind})
		if err != nil {
			continue
		}
		for _, program := range found.Programs {
			a.add(at.place, programName(program.ID))
		}
	}
	c, err := newClsact(d.Index)
	if err != nil {
		return err
	}
	return errors.Join(a.readTC(c), c.Close())
}

func (a *Attached) readTC(c *clsact) error {
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
			a.Leftovers = append(a.Leftovers, filter.Name)
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

func (a *Attached) add(place, name string) { a.Others = append(a.Others, place+": "+name) }

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
