package loader

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

// knownEnds are the owners of a slot's ends as they were read last, so that one is decoded when it
// changed and not at every reading.
type knownEnds struct {
	version [2]uint32
	owner   [2]*model.Process
}

// read returns who is behind the ends now. An owner that is just being written is the one before.
func (k *knownEnds) read(ends *lotraceLtEnds) [2]*model.Process {
	for i := range ends.End {
		version := atomic.LoadUint32(&ends.End[i].Version)
		if version == k.version[i] || version&1 != 0 {
			continue
		}
		owner := decodeOwner(&ends.End[i])
		if atomic.LoadUint32(&ends.End[i].Version) == version {
			k.version[i], k.owner[i] = version, owner
		}
	}
	return k.owner
}

func decodeOwner(from *lotraceLtOwner) *model.Process {
	var comm [len(from.Comm)]byte
	for i, c := range from.Comm {
		comm[i] = byte(c)
	}
	return &model.Process{
		ProcessID: model.ProcessID{TGID: from.Tgid, StartNS: from.StartNs},
		PID:       from.Pid,
		UID:       from.Uid,
		CgroupID:  from.CgroupId,
		Comm:      unix.ByteSliceToString(comm[:]),
	}
}
