package view

import "github.com/lotrace/lotrace/internal/model"

// Common returns what two owners agree on; nil is an unknown one, and does not count. Workers of
// a prefork server share their program, not their PID, and naming one of them would blame it for
// what the others did.
func Common(a, b *model.Owner) *model.Owner {
	switch {
	case a == nil:
		return b
	case b == nil || a == b || *a == *b:
		return a
	case sameProcess(a, b):
		return fuller(a, b)
	}
	c := *a
	if c.ProcessID != b.ProcessID {
		c.ProcessID, c.PID = model.ProcessID{}, 0
	}
	if c.UID != b.UID {
		c.UID = model.NoUID
	}
	if c.Source != b.Source {
		c.Source = model.OwnerScan // the weaker of the two
	}
	keepEqual(&c.Comm, b.Comm)
	keepEqual(&c.Exe, b.Exe)
	keepEqual(&c.Cmdline, b.Cmdline)
	keepEqual(&c.Cgroup, b.Cgroup)
	keepEqual(&c.Unit, b.Unit)
	keepEqual(&c.Container, b.Container)
	keepEqual(&c.ContainerName, b.ContainerName)
	if c == *a {
		return a
	}
	merged := c // or every c would be an allocation
	return &merged
}

// sameProcess takes no chances with several processes rolled up, which have no ProcessID: they are
// not the kernel, which has none either.
func sameProcess(a, b *model.Owner) bool {
	return a.ProcessID == b.ProcessID && (a.TGID != 0 || a.Comm == model.KernelComm && b.Comm == model.KernelComm)
}

// fuller returns the one of two reports on a process that tells more: the other may have been made
// when the process was gone, or by somebody who may not look closer.
func fuller(a, b *model.Owner) *model.Owner {
	if details(b) > details(a) {
		return b
	}
	return a
}

func details(o *model.Owner) int {
	n := 0
	for _, s := range [...]string{o.Comm, o.Exe, o.Cmdline, o.Cgroup, o.Unit, o.Container, o.ContainerName} {
		if s != "" {
			n += 2
		}
	}
	if o.Source == model.OwnerKernel {
		n++
	}
	return n
}

func keepEqual(s *string, other string) {
	if *s != other {
		*s = ""
	}
}
