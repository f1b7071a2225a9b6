package reading

import (
	"net/netip"

	"github.com/lotrace/lotrace/internal/model"
)

// Process is a process as the kernel found it at a socket: enough to name it when it is gone. It
// never changes.
type Process struct {
	model.ProcessID
	PID      uint32 // in lotrace's own PID namespace; 0: not visible from there
	UID      uint32 // in the first user namespace
	CgroupID uint64 // cgroup v2: inode number of the directory; 0: unknown
	Comm     string // of the thread group's leader
}

// IsKernel reports whether no process is behind the socket: a RST to a closed port, an echo reply, nfsd.
func (p *Process) IsKernel() bool { return p.TGID == 0 }

// Holder is one process that holds one socket open. A socket that several processes hold is several
// Holders with one Socket.
type Holder struct {
	Process   *Process
	Site      uint32 // as in SlotKey
	Proto     model.Proto
	Socket    uint64         // tells the sockets of one scan apart
	Local     netip.AddrPort // unmapped; unspecified: any address of its family, and IPv4 too unless V6Only
	Remote    netip.AddrPort // the zero AddrPort unless connected
	Listening bool           // TCP
	V6Only    bool
}
