package loader

import "testing"

// One process is one, at however many ends, and who reads meets no mixture of two.
func TestOwnersAreShared(t *testing.T) {
	owner := func(version, tgid uint32) lotraceLtOwner {
		return lotraceLtOwner{Version: version, Tgid: tgid, Comm: [16]int8{'x'}}
	}
	var all processes
	var a, b knownEnds
	first := a.read(&lotraceLtLife{End: [2]lotraceLtOwner{owner(2, 10), owner(4, 11)}}, &all)
	second := b.read(&lotraceLtLife{End: [2]lotraceLtOwner{owner(8, 11), owner(3, 12)}}, &all)
	if first[1] != second[0] || first[0] == first[1] || first[0].TGID != 10 || first[1].TGID != 11 {
		t.Errorf("%+v and %+v", first, second)
	}
	if second[1] != nil {
		t.Errorf("read while it was written: %+v", second[1])
	}
	for tgid := range uint32(2 * maxProcesses) {
		all.of(owner(2, 100+tgid))
	}
	if len(all) > maxProcesses {
		t.Errorf("%d processes are kept", len(all))
	}
	if again := a.read(&lotraceLtLife{End: [2]lotraceLtOwner{owner(2, 10), owner(4, 11)}}, &all); again != first {
		t.Errorf("known as %+v, then as %+v", first, again)
	}
}
