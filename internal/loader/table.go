package loader

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

// table is the flow slots as memory shared with the kernel, and the way back for the used ones.
type table struct {
	slots []lotraceLtSlot
	ends  []lotraceLtEnds // beside the slots
	known []knownEnds     // what was read of ends last

	exchanges     []lotraceLtExchange
	exchangesFree *ebpf.Map
	breakdowns    []lotraceLtBreakdown // beside the exchanges; one unless they are measured
	troubles      []lotraceLtTrouble
	troublesFree  *ebpf.Map

	index *ebpf.Map
	free  *ebpf.Map
	pool  *ebpf.Variable

	outer *ebpf.Map // a map of one map, updated to wait for running programs
	inner *ebpf.Map
}

func openTable(coll *ebpf.Collection, maxFlows int) (*table, error) {
	t := &table{
		index: coll.Maps["lt_index"], free: coll.Maps["lt_free"], pool: coll.Variables["pool"],
		exchangesFree: coll.Maps["lt_exchanges_free"],
		troublesFree:  coll.Maps["lt_troubles_free"],
	}
	t.known = make([]knownEnds, maxFlows)
	var slotsErr, endsErr, exchangesErr, breakdownsErr, troublesErr error
	t.slots, slotsErr = mapArray[lotraceLtSlot](coll.Maps["lt_slots"])
	t.ends, endsErr = mapArray[lotraceLtEnds](coll.Maps["lt_owners"])
	t.exchanges, exchangesErr = mapArray[lotraceLtExchange](coll.Maps["lt_exchanges"])
	t.breakdowns, breakdownsErr = mapArray[lotraceLtBreakdown](coll.Maps["lt_breakdowns"])
	t.troubles, troublesErr = mapArray[lotraceLtTrouble](coll.Maps["lt_troubles"])
	if err := errors.Join(slotsErr, endsErr, exchangesErr, breakdownsErr, troublesErr, t.openGrace()); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *table) Close() error {
	return errors.Join(t.outer.Close(), t.inner.Close(), unmapArray(t.slots), unmapArray(t.ends),
		unmapArray(t.exchanges), unmapArray(t.breakdowns), unmapArray(t.troubles))
}

// mapArray is the memory of an array map.
func mapArray[T any](m *ebpf.Map) ([]T, error) {
	n := int(m.MaxEntries())
	size := n * int(unsafe.Sizeof(*new(T)))
	memory, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", m, err)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&memory[0])), n), nil
}

func unmapArray[T any](array []T) error {
	if len(array) == 0 {
		return nil
	}
	size := len(array) * int(unsafe.Sizeof(array[0]))
	return unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&array[0])), size))
}

func (t *table) openGrace() (err error) {
	inner := &ebpf.MapSpec{Name: "lt_grace_inner", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	if t.inner, err = ebpf.NewMap(inner); err != nil {
		return fmt.Errorf("create grace map: %w", err)
	}
	outer := &ebpf.MapSpec{
		Name: "lt_grace", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1, InnerMap: inner,
	}
	if t.outer, err = ebpf.NewMap(outer); err != nil {
		return fmt.Errorf("create grace map: %w", err)
	}
	return nil
}

// grace returns once every program run that was under way at the call has ended: the kernel waits
// for that when an entry of a map of maps changes (maybe_wait_bpf_programs, kernel/bpf/syscall.c).
func (t *table) grace() error {
	if err := t.outer.Put(uint32(0), t.inner); err != nil {
		return fmt.Errorf("wait for running programs: %w", err)
	}
	return nil
}

// noPlace is LT_NO_PLACE.
const noPlace = ^uint32(0)

// closedWindow is LT_CLOSED.
const closedWindow = 1 << 31

// used is how many slots, from the first, were ever in use.
func (t *table) used() (int, error) {
	pool, err := t.readPool()
	return int(min(pool.Fresh, uint64(len(t.slots)))), err
}

func (t *table) readPool() (pool lotraceLtPool, err error) {
	if err := t.pool.Get(&pool); err != nil {
		return pool, fmt.Errorf("read slot pool: %w", err)
	}
	return pool, nil
}

// read appends every slot in use to into.
func (t *table) read(into []model.Slot) ([]model.Slot, error) {
	used, err := t.used()
	if err != nil {
		return into, err
	}
	into = slices.Grow(into, used)
	for i := range used {
		switch state := model.SlotState(atomic.LoadUint32(&t.slots[i].State)); state {
		case model.SlotLive, model.SlotOrphan:
			into = append(into, model.Slot{})
			t.decode(&into[len(into)-1], i, state)
		case model.SlotFree, model.SlotRetiring:
		}
	}
	return into, nil
}

// decode reads slot i and what lies beside it.
func (t *table) decode(to *model.Slot, i int, state model.SlotState) {
	decodeSlot(to, &t.slots[i], state)
	to.Index = uint32(i)
	ends := &t.ends[i]
	to.CreatedNS = ends.CreatedNs
	to.ConnectedNS = atomic.LoadUint64(&ends.ConnectedNs)
	to.AcceptedNS = atomic.LoadUint64(&ends.AcceptedNs)
	to.FirstByteNS = atomic.LoadUint64(&ends.FirstByteNs)
	if trouble := atomic.LoadUint32(&ends.Trouble1); trouble != noPlace {
		to.Trouble = trouble
	}
	to.Owner = t.known[i].read(ends)
}

func decodeKey(from *lotraceLtKey) model.SlotKey {
	return model.SlotKey{Addr: from.Addr, Port: from.Port, Netns: from.Netns, Proto: model.Proto(from.Proto)}
}

// decodeSlot reads a slot that the kernel may be writing. Each counter is whole; a packet being
// counted at this moment may be in some of them and not yet in others.
func decodeSlot(to *model.Slot, from *lotraceLtSlot, state model.SlotState) {
	to.State = state
	to.Key = decodeKey(&from.Key)
	to.TCPFlags = from.TcpFlags
	to.Client = from.Client
	to.Role = model.SlotRole(from.Role)
	if exchange := atomic.LoadUint32(&from.Exchange1); exchange != noPlace {
		to.Exchange = exchange
	}
	for i := range to.Dir {
		dir, unlocked := &from.Dir[i], &from.Unlocked[i]
		to.Dir[i] = model.SlotDir{
			Counters: model.Counters{
				Packets:      atomic.LoadUint64(&dir.Packets) + atomic.LoadUint64(&unlocked.Packets),
				Bytes:        atomic.LoadUint64(&dir.Bytes) + atomic.LoadUint64(&unlocked.Bytes),
				SKBs:         atomic.LoadUint64(&dir.Skbs) + atomic.LoadUint64(&unlocked.Skbs),
				PayloadBytes: atomic.LoadUint64(&dir.PayloadBytes) + atomic.LoadUint64(&unlocked.PayloadBytes),
				Retransmits:  uint64(atomic.LoadUint32(&dir.Retransmits)),
				RetransBytes: atomic.LoadUint64(&dir.RetransBytes),
			},
			LastNS: atomic.LoadUint64(&dir.LastNs),
			SRTT:   time.Duration(atomic.LoadUint32(&dir.SrttUs8)&^closedWindow) * time.Microsecond / 8,
		}
		// Without a socket the word is the sequence gap instead.
		if to.Dir[i].SRTT != 0 {
			to.Dir[i].Cwnd = atomic.LoadUint32(&dir.Cwnd)
		}
	}
}

// Retire frees the given slots, which must come from the newest reading, and appends their final
// counts to into. No packet is lost to it: first sockets stop trusting them, then the index forgets
// them, then every program that may still hold one has ended, and only then are the
// counts read for the last time. One grace period (some milliseconds) serves all of them.
func (l *Loader) Retire(slots, into []model.Slot) ([]model.Slot, error) {
	return l.table.retire(slots, into)
}

func (t *table) retire(slots, into []model.Slot) ([]model.Slot, error) {
	if len(slots) == 0 {
		return into, nil
	}
	for i := range slots {
		if err := t.forget(slots[i].Index); err != nil {
			return into, err
		}
	}
	if err := t.grace(); err != nil {
		return into, err
	}
	for i := range slots {
		into = append(into, model.Slot{})
		t.decode(&into[len(into)-1], int(slots[i].Index), model.SlotRetiring)
	}
	for i := range slots {
		index := slots[i].Index
		t.slots[index], t.ends[index], t.known[index] = lotraceLtSlot{}, lotraceLtEnds{}, knownEnds{}
		if err := t.free.Put(nil, index); err != nil {
			return into, fmt.Errorf("give slot back: %w", err)
		}
	}
	return into, nil
}

// forget makes sockets stop trusting a slot, and takes its key out of the index if that still leads to it.
// From the mark on the key is a successor's for the taking, and the kernel may put its own number there
// before we get to it. Then it is put back; the ends of a connection that is already under way find their
// slot through their sockets meanwhile. So that is one slot at a time, and no batch.
func (t *table) forget(index uint32) error {
	if !t.mark(index) {
		return nil
	}
	return t.unlink(index)
}

// mark reports whether the slot's key was still its own.
func (t *table) mark(index uint32) bool {
	state := &t.slots[index].State
	if atomic.CompareAndSwapUint32(state, uint32(model.SlotLive), uint32(model.SlotRetiring)) {
		return true
	}
	atomic.StoreUint32(state, uint32(model.SlotRetiring))
	return false
}

func (t *table) unlink(index uint32) error {
	key := t.slots[index].Key
	var found uint32
	switch err := t.index.LookupAndDelete(&key, &found); {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("forget flow: %w", err)
	case found == index:
		return nil
	}
	// Another may have found none and made one: then that is newer.
	if err := t.index.Update(&key, found, ebpf.UpdateNoExist); err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("remember successor of flow: %w", err)
	}
	return nil
}
