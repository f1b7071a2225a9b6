package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// table is the flow slots as memory shared with the kernel, and the way back for the used ones.
type table struct {
	slots     array[lotraceLtSlot]
	ends      array[lotraceLtLife] // beside the slots
	known     []knownEnds          // what was read of ends last
	processes processes
	retired   model.Count // what slots that were freed had counted

	exchanges     array[lotraceLtExchange] // by place, as are the next two
	exchangesFree *ebpf.Map
	breakdowns    array[lotraceLtBreakdown] // nobody's alone unless they are measured
	healths       array[lotraceLtHealth]
	healthsFree   *ebpf.Map

	index *ebpf.Map
	free  *ebpf.Map
	pools *ebpf.Variable

	outer *ebpf.Map // a map of one map, updated to wait for running programs
	inner *ebpf.Map
}

func openTable(coll *ebpf.Collection) (*table, error) {
	t := &table{
		index: coll.Maps["lt_index"], free: coll.Maps["lt_free"], pools: coll.Variables["pools"],
		exchangesFree: coll.Maps["lt_exchanges_free"],
		healthsFree:   coll.Maps["lt_healths_free"],
	}
	if err := errors.Join(
		t.slots.reserve(coll.Maps["lt_slots"]), t.ends.reserve(coll.Maps["lt_lives"]),
		t.exchanges.reserve(coll.Maps["lt_exchanges"]), t.breakdowns.reserve(coll.Maps["lt_breakdowns"]),
		t.healths.reserve(coll.Maps["lt_healths"]), t.openGrace()); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.known = make([]knownEnds, len(t.slots.at))
	return t, nil
}

func (t *table) Close() error {
	return errors.Join(t.outer.Close(), t.inner.Close(), t.slots.Close(), t.ends.Close(),
		t.exchanges.Close(), t.breakdowns.Close(), t.healths.Close())
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

// reach makes all that was ever in use readable, and returns how many slots, from the first, those are.
// Slots that come into use later are for the next reading.
func (t *table) reach() (int, error) {
	pools, err := t.readPools()
	if err != nil {
		return 0, err
	}
	return t.reachFresh(&pools)
}

func (t *table) reachFresh(pools *lotraceLtPools) (int, error) {
	slots := pools.Slots.Fresh
	exchanges, healths := entries(&pools.Exchanges), entries(&pools.Healths)
	err := errors.Join(t.slots.reach(slots), t.ends.reach(slots),
		t.exchanges.reach(exchanges), t.breakdowns.reach(exchanges), t.healths.reach(healths))
	if err != nil {
		return 0, fmt.Errorf("map flow table: %w", err)
	}
	return int(min(slots, uint64(len(t.slots.at)))), nil
}

// entries is how many entries of a map there are to be read by place: that of place 0 is nobody's.
func entries(pool *lotraceLtPool) uint64 {
	if pool.Fresh == 0 {
		return 0
	}
	return pool.Fresh + 1
}

func (t *table) readPools() (pools lotraceLtPools, err error) {
	if err := t.pools.Get(&pools); err != nil {
		return pools, fmt.Errorf("read pools: %w", err)
	}
	return pools, nil
}

// Parts of a slot's state word, beside the number of its life.
const (
	slotStates = 3 // LT_SLOT_STATES
	slotTold   = 4 // LT_SLOT_TOLD
)

func (slot *lotraceLtSlot) state() reading.SlotState {
	return reading.SlotState(atomic.LoadUint32(&slot.State) & slotStates)
}

// readSlot reads a slot without its counts, and what lies beside it.
func (t *table) readSlot(to *reading.Slot) {
	const closedWindow = 1 << 31 // LT_CLOSED, beside the round trip
	i := to.Index
	slot, ends := &t.slots.at[i], &t.ends.at[i]
	to.State = slot.state()
	to.Key = decodeKey(&slot.Key)
	to.Client = slot.Client
	to.Role = reading.SlotRole(slot.Role)
	to.Exchange = place(&slot.Exchange, t.exchanges.reached)
	to.Health = place(&ends.Health, t.healths.reached)
	for i := range slot.Dir {
		dir := &slot.Dir[i]
		to.SRTT[i] = time.Duration(atomic.LoadUint32(&dir.SrttUs8)&^closedWindow) * time.Microsecond / 8
		// Without a socket the word is the sequence gap instead.
		to.Cwnd[i] = 0
		if to.SRTT[i] != 0 {
			to.Cwnd[i] = atomic.LoadUint32(&dir.Cwnd)
		}
	}
	to.CreatedNS = ends.CreatedNs
	to.ConnectedNS = atomic.LoadUint64(&ends.ConnectedNs)
	to.AcceptedNS = atomic.LoadUint64(&ends.AcceptedNs)
	to.FirstByteNS = atomic.LoadUint64(&ends.FirstByteNs)
	to.Owner = t.known[i].read(ends, &t.processes)
}

// place is one that the newest reading could reach; 0: none.
func place(of *uint32, reached int) uint32 {
	if place := atomic.LoadUint32(of); place < uint32(reached) {
		return place
	}
	return 0
}

func decodeKey(from *lotraceLtKey) reading.SlotKey {
	return reading.SlotKey{Addr: from.Addr, Port: from.Port, Site: from.Site, Proto: model.Proto(from.Proto)}
}

// encodeKey is the canonical form of a tuple, and which end of it from is.
func encodeKey(from, to netip.AddrPort, site uint32, proto model.Proto) (key lotraceLtKey, end uint8) {
	low, high := from, to
	fromAddr, toAddr := from.Addr().As16(), to.Addr().As16()
	if c := bytes.Compare(fromAddr[:], toAddr[:]); c > 0 || c == 0 && from.Port() > to.Port() {
		low, high, end = to, from, 1
	}
	return lotraceLtKey{
		Addr: [2][16]uint8{low.Addr().As16(), high.Addr().As16()}, Port: [2]uint16{low.Port(), high.Port()},
		Site: site, Proto: uint8(proto),
	}, end
}

// find looks a live slot of the newest reading up, and which end of its key from is; ebpf.ErrKeyNotExist if there is
// none.
func (t *table) find(from, to netip.AddrPort, site uint32, proto model.Proto) (index uint32, end uint8, err error) {
	key, end := encodeKey(from, to, site, proto)
	if err := t.index.Lookup(&key, &index); err != nil {
		return 0, 0, fmt.Errorf("look flow up: %w", err)
	}
	if int(index) >= t.slots.reached {
		return 0, 0, ebpf.ErrKeyNotExist
	}
	slot := &t.slots.at[index]
	if slot.state() != reading.SlotLive || slot.Key != key {
		return 0, 0, ebpf.ErrKeyNotExist
	}
	return index, end, nil
}

// ReadSlot reads what there is to say of a slot of the newest reading but its counts, which stay as they are:
// to says which slot it is. What has changed since the reading is as it is now, state and place of health included.
func (l *Loader) ReadSlot(to *reading.Slot) { l.table.readSlot(to) }

// Tell says which end of a slot is the client, where the kernel does not know or is wrong: from then on that one's
// turns are followed.
func (l *Loader) Tell(index uint32, client uint8) { l.table.slots.at[index].tell(client) }

// tell changes client and role in one step, so that the kernel takes nobody for the client who is not. The word that
// they are in has flags, too, which the kernel may be adding to. Then sockets that remember the slot look again.
func (slot *lotraceLtSlot) tell(client uint8) {
	word := (*uint32)(unsafe.Pointer(&slot.TcpFlags))
	for {
		was := atomic.LoadUint32(word)
		bytes := binary.NativeEndian.AppendUint32(nil, was)
		bytes[2], bytes[3] = client, uint8(reading.SlotRoleTold)
		if atomic.CompareAndSwapUint32(word, was, binary.NativeEndian.Uint32(bytes)) {
			atomic.OrUint32(&slot.State, slotTold)
			return
		}
	}
}

// Retire frees the given slots, which must come from the newest reading, and appends what they were at
// last to into. No packet is lost to it: first sockets stop trusting them, then the index forgets
// them, then every program that may still hold one has ended, and only then are the
// counts read for the last time. One grace period (some milliseconds) serves all of them.
func (l *Loader) Retire(slots []uint32, into []reading.Slot) ([]reading.Slot, error) {
	return l.table.retire(slots, into)
}

func (t *table) retire(slots []uint32, into []reading.Slot) ([]reading.Slot, error) {
	if len(slots) == 0 {
		return into, nil
	}
	for _, index := range slots {
		if err := t.forget(index); err != nil {
			return into, err
		}
	}
	if err := t.grace(); err != nil {
		return into, err
	}
	if _, err := t.reach(); err != nil {
		return into, err
	}
	for _, index := range slots {
		into = append(into, reading.Slot{SlotCount: reading.SlotCount{Index: index}})
		final := &into[len(into)-1]
		decodeCount(&final.SlotCount, &t.slots.at[index])
		t.retired.Add(sumOf(&final.SlotCount))
		t.readSlot(final)
	}
	for _, index := range slots {
		t.slots.at[index], t.ends.at[index], t.known[index] = lotraceLtSlot{}, lotraceLtLife{}, knownEnds{}
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
	slot := &t.slots.at[index]
	for {
		word := atomic.LoadUint32(&slot.State)
		if word&slotStates != uint32(reading.SlotLive) {
			break
		}
		if atomic.CompareAndSwapUint32(&slot.State, word, uint32(reading.SlotRetiring)) {
			return true
		}
	}
	atomic.StoreUint32(&slot.State, uint32(reading.SlotRetiring))
	return false
}

func (t *table) unlink(index uint32) error {
	key := t.slots.at[index].Key
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
