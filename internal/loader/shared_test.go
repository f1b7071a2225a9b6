package loader

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/lotrace/lotrace/internal/reading"
)

// rounds is how often shared memory is changed while somebody reads it.
const rounds = 20_000

// beside runs write once, and read again and again until write is done.
func beside(write, read func()) {
	var writing sync.WaitGroup
	over := make(chan struct{})
	writing.Go(func() {
		defer close(over)
		write()
	})
	for done := false; !done; {
		select {
		case <-over:
			done = true
		default:
		}
		read()
	}
	writing.Wait()
}

// writeOwner makes the owner process n, as the kernel does (lt_learn_owner, bpf/owner.bpf.h). Everything in it is n.
func writeOwner(owner *lotraceLtOwner, n uint64) {
	version := atomic.LoadUint32(&owner.Version)
	if version&1 != 0 || !atomic.CompareAndSwapUint32(&owner.Version, version, version+1) {
		return
	}
	for _, word := range []*uint32{&owner.Tgid, &owner.Pid, &owner.Uid} {
		atomic.StoreUint32(word, uint32(n))
	}
	atomic.StoreUint64(&owner.StartNs, n)
	atomic.StoreUint64(&owner.CgroupId, n)
	letters := [16]byte{}
	for i := range letters[:15] {
		letters[i] = 'a' + byte(n%26)
	}
	comm := (*[2]uint64)(unsafe.Pointer(&owner.Comm))
	for i, word := range *(*[2]uint64)(unsafe.Pointer(&letters)) {
		atomic.StoreUint64(&comm[i], word)
	}
	atomic.SwapUint32(&owner.Version, version+2)
}

// An owner that is read is one that was written, and no mixture of two, however often it changes meanwhile.
func TestOwnersAreReadWhole(t *testing.T) {
	var ends lotraceLtLife
	if at := unsafe.Offsetof(ends.End); at%8 != 0 || unsafe.Sizeof(ends.End[0])%8 != 0 || unsafe.Sizeof(ends)%8 != 0 {
		t.Fatal("owners are no whole words")
	}
	var known knownEnds
	var all processes
	var seen atomic.Uint64 // changes that were read
	var newest [2]*reading.Process
	deadline := time.Now().Add(time.Minute)
	var written uint64
	beside(func() {
		for written < rounds || written%2 == 1 || seen.Load() < 100 && time.Now().Before(deadline) {
			writeOwner(&ends.End[written%2], written+1)
			written++
		}
	}, func() {
		for i, p := range known.read(&ends, &all) {
			if p == nil {
				continue
			}
			n := p.StartNS
			letter := 'a' + rune(n%26)
			if uint64(p.TGID) != n || uint64(p.PID) != n || uint64(p.UID) != n || p.CgroupID != n || rune(p.Comm[0]) != letter ||
				rune(p.Comm[14]) != letter || n%2 != uint64(1-i) {
				t.Errorf("end %d: %+v", i, p)
			}
			if p != newest[i] {
				newest[i] = p
				seen.Add(1)
			}
		}
	})
	for i, p := range known.read(&ends, &all) {
		if want := written - 1 + uint64(i); p == nil || p.StartNS != want {
			t.Errorf("end %d is in the end %+v, want %d", i, p, want)
		}
	}
	if seen.Load() < 100 {
		t.Errorf("read only %d of %d owners", seen.Load(), written)
	}
}

// A reader of client and role at once finds those from before or those from after, and no flag that the kernel sees
// meanwhile gets lost.
func TestTellingIsOneStep(t *testing.T) {
	var slot lotraceLtSlot
	at := unsafe.Offsetof(slot.TcpFlags)
	if at%4 != 0 || unsafe.Offsetof(slot.Client) != at+2 || unsafe.Offsetof(slot.Role) != at+3 {
		t.Fatal("client and role are not in the flags' word")
	}
	word := (*uint32)(unsafe.Pointer(&slot.TcpFlags))
	var lost int
	beside(func() {
		for range rounds {
			atomic.StoreUint32(word, 0) // a new slot: flags 0, client 0, LT_ROLE_NONE
			slot.tell(1)
		}
	}, func() {
		now := atomic.LoadUint32(word)
		bytes := *(*[4]uint8)(unsafe.Pointer(&now))
		told := [2]uint8{bytes[2], bytes[3]}
		if told != [2]uint8{0, uint8(reading.SlotRoleNone)} && told != [2]uint8{1, uint8(reading.SlotRoleTold)} {
			t.Errorf("client %d, role %d", told[0], told[1])
		}
	})
	atomic.StoreUint32(word, 0)
	beside(func() {
		for range rounds {
			slot.tell(1)
		}
	}, func() {
		for bit := range 16 {
			atomic.OrUint32(word, 1<<bit)
			if atomic.LoadUint32(word)&(1<<bit) == 0 {
				lost++
			}
			atomic.AndUint32(word, ^uint32(1<<bit))
		}
	})
	if lost > 0 || slot.Client != 1 || slot.TcpFlags != [2]uint8{} {
		t.Errorf("%d flags lost, client %d, flags %v", lost, slot.Client, slot.TcpFlags)
	}
}

// No drop is read without its reason, whose name it would not get.
func TestDropsHaveTheirReason(t *testing.T) {
	var drop atomic.Pointer[lotraceLtDrop]
	drop.Store(&lotraceLtDrop{})
	beside(func() {
		for range rounds {
			d := drop.Load()
			atomic.CompareAndSwapUint32(&d.Reason, 0, 7)
			atomic.AddUint32(&d.Skbs, 1)
			drop.Store(&lotraceLtDrop{})
		}
	}, func() {
		if d := readDrop(drop.Load()); d.SKBs > 0 && d.Reason == 0 {
			t.Errorf("%+v", d)
		}
	})
}
