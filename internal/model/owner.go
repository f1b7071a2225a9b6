package model

// ProcessID tells processes apart, those that had the same PID one after the other included.
type ProcessID struct {
	TGID    uint32 // PID in the first PID namespace; 0: the kernel itself
	StartNS uint64 // CLOCK_BOOTTIME when the process was started
}

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
