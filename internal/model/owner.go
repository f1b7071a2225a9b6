package model

import "net/netip"

// ProcessID tells processes apart, those that had the same PID one after the other included.
type ProcessID struct {
	TGID    uint32 // PID in the first PID namespace; 0: the kernel itself
	StartNS uint64 // CLOCK_BOOTTIME when the process was started
}

// Process is a process as the kernel found it at a socket: enough to name it when it is gone. It
// never changes.
type Process struct {
	ProcessID
	PID      uint32 // in lotrace's own PID namespace; 0: not visible from there
	UID      uint32 // in the first user namespace
	CgroupID uint64 // cgroup v2: inode number of the directory; 0: unknown
	Comm     string // of the thread group's leader
}

// IsKernel reports whether no process is behind the socket: a RST to a closed port, an echo reply, nfsd.
func (p *Process) IsKernel() bool { return p.TGID == 0 }

// OwnerSource says how an owner is known.
type OwnerSource string

// The sources, best first.
const (
	OwnerKernel OwnerSource = "kernel" // seen in the process's own context
	OwnerScan   OwnerSource = "scan"   // found among everybody's open files
)

// KernelComm is the Comm of the kernel itself.
const KernelComm = "kernel"

// NoUID is the UID of an Owner that stands for processes of several users. No process can have it.
const NoUID = ^uint32(0)

// Owner is the process behind an endpoint, or what several of them have in common. A nil *Owner is
// an unknown one; the zero value of a field is an unknown field. Owners are shared and never change.
type Owner struct {
	ProcessID
	PID           uint32 // in lotrace's own PID namespace; 0: the kernel, invisible, or several processes
	Comm          string
	Exe           string
	Cmdline       string // arguments joined by spaces
	UID           uint32
	Cgroup        string // path in the hierarchy
	Unit          string // systemd unit, the innermost
	Container     string // id
	ContainerName string
	Source        OwnerSource
}

// Holder is one process that holds one socket open. A socket that several processes hold is several
// Holders with one Socket.
type Holder struct {
	Process   *Process
	Site      uint32 // as in SlotKey
	Proto     Proto
	Socket    uint64         // tells the sockets of one scan apart
	Local     netip.AddrPort // unmapped; unspecified: any address of its family, and IPv4 too unless V6Only
	Remote    netip.AddrPort // the zero AddrPort unless connected
	Listening bool           // TCP
	V6Only    bool
}
