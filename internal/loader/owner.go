package loader

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// knownEnds are the owners of a slot's ends as they were read last, so that one is decoded when it
// changed and not at every reading.
type knownEnds struct {
	version [2]uint32
	owner   [2]*reading.Process
}

// read returns who is behind the ends now. An owner that is just being written is the one before.
func (k *knownEnds) read(ends *lotraceLtLife, processes *processes) [2]*reading.Process {
	for i := range ends.End {
		version := atomic.LoadUint32(&ends.End[i].Version)
		if version == k.version[i] || version&1 != 0 {
			continue
		}
		owner := copyOwner(&ends.End[i])
		if atomic.LoadUint32(&ends.End[i].Version) == version {
			k.version[i], k.owner[i] = version, processes.of(owner)
		}
	}
	return k.owner
}

// copyOwner copies what the kernel may be writing. Word by word, each atomically: an atomic load orders the loads behind
// it and no plain ones before it, so a plain copy could be made after the version is read the second time.
func copyOwner(from *lotraceLtOwner) (owner lotraceLtOwner) {
	const words = unsafe.Sizeof(owner) / 8
	shared, own := (*[words]uint64)(unsafe.Pointer(from)), (*[words]uint64)(unsafe.Pointer(&owner))
	for i := range own {
		own[i] = atomic.LoadUint64(&shared[i])
	}
	return owner
}

// processes has one model.Process for all ends that a process is behind: a server may have a hundred
// thousand.
type processes map[lotraceLtOwner]*reading.Process

// maxProcesses is when they are forgotten and begun anew. Who is known beside a slot stays so.
const maxProcesses = 1 << 13

func (p *processes) of(owner lotraceLtOwner) *reading.Process {
	owner.Version = 0
	known := (*p)[owner]
	if known == nil {
		if *p == nil || len(*p) >= maxProcesses {
			*p = make(processes)
		}
		known = decodeOwner(&owner)
		(*p)[owner] = known
	}
	return known
}

func decodeOwner(from *lotraceLtOwner) *reading.Process {
	var comm [len(from.Comm)]byte
	for i, c := range from.Comm {
		comm[i] = byte(c)
	}
	return &reading.Process{
		ProcessID: model.ProcessID{TGID: from.Tgid, StartNS: from.StartNs},
		PID:       from.Pid,
		UID:       from.Uid,
		CgroupID:  from.CgroupId,
		Comm:      unix.ByteSliceToString(comm[:]),
	}
}
