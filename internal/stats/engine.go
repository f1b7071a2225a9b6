// Package stats turns cumulative readings into windows: what each flow did between two moments,
// with totals that add up, and rolls flows up into services. It has no clock and no goroutine of
// its own; time is what the readings say.
package stats

import (
	"errors"
	"fmt"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// Source is what the engine counts from: the kernel, a recording, or a test.
type Source interface {
	// Read takes a whole reading, reusing r's memory.
	Read(r *model.Reading) error
	// ReadSlots reads the flow table, the clock and what there is of slow turns only.
	ReadSlots(r *model.Reading) error
	// ReadQueues reads what sockets have in their queues, reusing r's memory.
	ReadQueues(r *model.Reading) error
	// ReadSlot reads what there is to say of a slot of the newest reading but its counts: to says which.
	ReadSlot(to *model.Slot)
	// Retire frees slots of the newest reading and appends what they were at last to into.
	Retire(slots []uint32, into []model.Slot) ([]model.Slot, error)
	// ReadExchange reads the requests and answers at a place, model.Slot.Exchange. While nothing was
	// answered, or nothing asked or answered beyond the numbers given, it returns false and leaves into
	// alone.
	ReadExchange(place uint32, into *model.Exchange, asked, answered uint32) bool
	// ReleaseExchange gives the place of a slot that was freed back.
	ReleaseExchange(place uint32) error
	// ReadTrouble reads what went wrong at a place, model.Slot.Trouble.
	ReadTrouble(place uint32, into *model.Trouble)
	// ReleaseTrouble gives the place of a slot that was freed back.
	ReleaseTrouble(place uint32) error
	// Tell says who is the client of a slot whose handshake nobody saw.
	Tell(index uint32, client uint8)
}

// Owners names who is behind the ends of flows. Only Settle waits.
type Owners interface {
	// Owner is what is known of a process by now; details may come later.
	Owner(p *model.Process) *model.Owner
	// Gone reports whether the process is known to have ended.
	Gone(p *model.Process) bool
	// Holder is who holds the socket of an end of a flow whose first packet was at created
	// (CLOCK_MONOTONIC, ns); nil: unknown so far. If the end may be waiting for somebody to connect or
	// to accept, who listens there stands for it.
	Holder(key *model.SlotKey, end int, created uint64, waiting bool) *model.Owner
	// Version is another one whenever answers may be others than before.
	Version() uint64
	// Settle waits for what was asked for and is on its way, but no longer than limit.
	Settle(limit time.Duration)
}

// Config says what the engine shows and how much it keeps.
type Config struct {
	MaxFlows  int                    // size of the source's table: no slot's index is as large
	Exchanges int                    // flows whose turns it can follow at once
	Troubles  int                    // flows whose troubles it can count at once
	Origin    model.Origin           // copied into every snapshot
	Match     func(*model.Flow) bool // rows to keep; nil: all
	Hide      func(*model.Flow) bool // of these, rows to count as hidden; nil: none
	Owners    Owners                 // nil: nobody is named
	Listeners []model.Listener       // sockets that waited when counting began
	MaxEnded  int                    // ended flows kept for one window; 0: four tables full

	Pack       bool                // rows go to Snapshot.Packed, and stay until the next window was made
	Slow       time.Duration       // turns that the source tells of one by one; 0: none
	DropReason func(uint32) string // names of model.Drop.Reason; nil: they go by number
}

// While there is no pressure, one call of Sweep in so many is enough; but not at first, when
// connections that are older than lotrace show up, whose client it must find out.
const (
	sweepInPlenty = 4
	sweepAtFirst  = 8
)

// Engine holds the state between readings. Its methods are for one goroutine at a time.
type Engine struct {
	source    Source
	config    Config
	listeners listeners

	start model.Reading          // the first moment of the current window, without its slots
	base  [][2]model.Counters    // by slot index: counts at start; zero for younger slots
	now   model.Reading          // the newest reading
	ended []endedSlot            // flows whose slot was freed in this window
	byKey map[model.SlotKey]int  // the newest of ended per key
	cut   map[string]model.Count // counted, but past MaxEnded

	exchanges  []*model.Exchange // by place: as it was at start; nil: empty
	exchange   model.Exchange    // the one being read
	nothing    model.Exchange    // what an empty one is compared with
	histograms histograms

	troubles troubles
	sockets  []*sockets // by slot index; nil: nothing is known of them
	backlogs backlogs
	slow     slowTurns

	ends    []ends            // by slot index: who is behind each flow's ends
	owners  [][2]*model.Owner // of the newest reading's slots, when a window is shown
	version uint64            // of the owners' answers that are in there
	hidden  model.Hidden      // of the window that is being shown

	calls  int          // of Sweep
	slot   model.Slot   // the one that is being looked at
	census census       // of the newest reading
	finals []model.Slot // what was freed since, in the order of Index
	flows  []model.Flow
	row    model.Flow            // the one that is being packed
	packed [2]*model.PackedFlows // the newest window's, and the next one's; with Pack
	shown  model.Count           // in the rows
}

// endedSlot is a flow that has no slot any more; Dir holds the window's part.
type endedSlot struct {
	model.Slot
	ends ends
	talk talk
}

// Start takes the first reading: windows begin here.
func Start(source Source, config Config) (*Engine, error) {
	if config.MaxEnded == 0 {
		config.MaxEnded = 4 * config.MaxFlows
	}
	e := &Engine{
		source:    source,
		config:    config,
		listeners: newListeners(config.Listeners),
		base:      make([][2]model.Counters, config.MaxFlows),
		ends:      make([]ends, config.MaxFlows),
		owners:    make([][2]*model.Owner, 0, config.MaxFlows),
		byKey:     make(map[model.SlotKey]int),
		cut:       make(map[string]model.Count),
	}
	if err := e.read(); err != nil {
		return nil, fmt.Errorf("take first reading: %w", err)
	}
	e.survey(func(*model.Slot) {})
	e.restart()
	return e, nil
}

func (e *Engine) read() error {
	e.finals = e.finals[:0]
	return errors.Join(e.source.Read(&e.now), e.source.ReadQueues(&e.now))
}

// restart makes the newest reading the beginning of a window.
func (e *Engine) restart() {
	for i := range e.now.Slots {
		count := &e.now.Slots[i]
		e.base[count.Index] = [2]model.Counters{count.Dir[0].Counters, count.Dir[1].Counters}
	}
	e.start = e.now
	e.start.Slots = nil
	e.ended = e.ended[:0]
	clear(e.byKey)
	clear(e.cut)
	e.histograms.reset()
	e.restartSigns()
}

// Sweep frees the slots of flows that are over, keeping their counts for the window. Call it a few
// times a second: a table has room for the flows of one such period beside the living ones. While
// there is plenty of room, most calls do nothing.
func (e *Engine) Sweep() error {
	e.calls++
	if e.calls > sweepAtFirst && !e.census.underPressure(&e.config) && e.calls%sweepInPlenty != 0 {
		return nil
	}
	if err := e.Look(); err != nil {
		return err
	}
	var err error
	e.finals, err = e.source.Retire(e.census.retirable(&e.config), e.finals)
	for i := range e.finals {
		slot := &e.finals[i]
		e.takePart(slot)
		e.base[slot.Index] = [2]model.Counters{}
		talk := e.talkOf(slot)
		err = errors.Join(err, e.releaseExchange(slot.Exchange), e.releaseTrouble(slot.Trouble))
		e.keep(slot, talk)
	}
	if err != nil {
		return fmt.Errorf("free flows: %w", err)
	}
	return nil
}

// slotAt reads slot i of the newest reading. It is valid until the next call.
func (e *Engine) slotAt(i int) *model.Slot { return e.slotOf(&e.now.Slots[i]) }

func (e *Engine) slotOf(count *model.SlotCount) *model.Slot {
	e.slot.SlotCount = *count
	e.source.ReadSlot(&e.slot)
	return &e.slot
}

// survey goes over all slots of the newest reading, once.
func (e *Engine) survey(do func(*model.Slot)) {
	e.census.reset()
	for i := range e.now.Slots {
		slot := e.slotAt(i)
		e.census.add(slot, e.now.MonoNS)
		e.tellClient(slot)
		do(slot)
	}
}

// takePart leaves the window's part of the slot's counters.
func (e *Engine) takePart(slot *model.Slot) {
	base := &e.base[slot.Index]
	slot.Dir[0].Counters = slot.Dir[0].Counters.Sub(base[0])
	slot.Dir[1].Counters = slot.Dir[1].Counters.Sub(base[1])
}

// keep holds an ended flow's part of the window until the window is shown.
func (e *Engine) keep(slot *model.Slot, talk talk) {
	if slot.Dir[0].Packets+slot.Dir[1].Packets == 0 {
		return
	}
	if i, ok := e.byKey[slot.Key]; ok && continues(slot) {
		e.ended[i].merge(slot, e.endsOf(slot), talk)
		return
	}
	if len(e.ended) >= e.config.MaxEnded {
		cut := e.cut["report_full"]
		cut.Add(sumOf(slot))
		e.cut["report_full"] = cut
		return
	}
	e.byKey[slot.Key] = len(e.ended)
	e.ended = append(e.ended, endedSlot{*slot, *e.endsOf(slot), talk})
}

// continues reports whether a slot goes on with an earlier one of its key, rather than being a new
// connection on the same ports.
func continues(slot *model.Slot) bool { return slot.Role != model.SlotRoleSYN }

// merge adds the newer part of a flow to the older one.
func (to *endedSlot) merge(from *model.Slot, ends *ends, talk talk) {
	to.talk.add(&talk)
	for i := range to.Dir {
		to.Dir[i].Counters.Add(from.Dir[i].Counters)
		to.TCPFlags[i] |= from.TCPFlags[i]
		if from.Dir[i].LastNS > to.Dir[i].LastNS {
			to.Dir[i].LastNS = from.Dir[i].LastNS
			to.SRTT[i], to.Cwnd[i] = from.SRTT[i], from.Cwnd[i]
		}
		if from.Owner[i] != nil {
			to.Owner[i] = from.Owner[i]
		}
		if ends.held[i] != nil {
			to.ends.held[i] = ends.held[i]
		}
	}
}

func sumOf(slot *model.Slot) model.Count {
	var sum model.Count
	for i := range slot.Dir {
		sum.Add(countOf(slot.Dir[i].Counters))
	}
	return sum
}

func countOf(c model.Counters) model.Count {
	return model.Count{SKBs: c.SKBs, Packets: c.Packets, Bytes: c.Bytes}
}

// Window ends the current window and begins the next. The snapshot's rows are valid until the next
// call of a method; with Config.Pack, until the next call of Window has returned.
func (e *Engine) Window() (*model.Snapshot, error) {
	if err := e.read(); err != nil {
		return nil, fmt.Errorf("take reading: %w", err)
	}
	e.settle()
	e.noticeSigns()
	s := &model.Snapshot{
		Start:    e.start.Wall,
		End:      e.now.Wall,
		Duration: time.Duration(e.now.MonoNS - e.start.MonoNS),
		Origin:   e.config.Origin,
	}
	e.makeRows()
	s.Flows, s.Packed, s.Hidden = e.flows, e.packed[0], e.hidden
	s.Unmeasured = e.now.Unmeasured - e.start.Unmeasured
	s.Samples = e.now.Samples.Sub(e.start.Samples)
	e.tellSigns(s)
	e.total(s)
	if s.Origin.Filter == "" {
		counted := s.Totals
		counted.Add(s.Hidden.Count)
		s.Device = e.device(counted)
	}
	if e.now.Ingress != nil {
		s.Stages = &model.Stages{
			Egress:  sumReasons(&e.now).Sub(sumReasons(&e.start)),
			Ingress: e.now.Ingress.Sub(*e.start.Ingress),
		}
	}
	e.restart()
	return s, nil
}

// wall turns a CLOCK_MONOTONIC stamp into a time of day, by the newest reading's pair of clocks.
func (e *Engine) wall(ns uint64) time.Time {
	return e.now.Wall.Add(-time.Duration(e.now.MonoNS - ns))
}

// total adds up what was counted: rows and overflow, and nothing twice.
func (e *Engine) total(s *model.Snapshot) {
	s.Totals = e.shown
	s.ByCause = make(map[string]model.Count)
	for cause, count := range e.cut {
		s.ByCause[cause] = count
	}
	for i, count := range e.now.Reasons {
		reason := model.Reason(i)
		count = count.Sub(e.start.Reasons[i])
		// What could not be read cannot have been asked for by a filter.
		asked := s.Origin.Filter == "" || reason.HasKey()
		if reason.IsOverflow() && asked && count.SKBs > 0 {
			s.ByCause[reason.String()] = count
		}
	}
	for _, count := range s.ByCause {
		s.Overflow.Add(count)
	}
	s.Totals.Add(s.Overflow)
}

// device compares the totals with the interface's own counters. Those are read before and after the
// flow table at both ends of the window, so the truth lies between the narrowest and the widest pair.
func (e *Engine) device(totals model.Count) *model.Device {
	from, to := &e.start, &e.now
	return &model.Device{
		Packets: to.After.Packets - from.After.Packets,
		Bytes:   to.After.Bytes - from.After.Bytes,
		Dropped: to.After.Dropped - from.After.Dropped,
		Agrees: within(totals.Packets, from.Before.Packets, from.After.Packets, to.Before.Packets, to.After.Packets) &&
			within(totals.Bytes, from.Before.Bytes, from.After.Bytes, to.Before.Bytes, to.After.Bytes),
	}
}

// within asks whether total lies between toBefore-fromAfter and toAfter-fromBefore, without the
// first of them turning negative.
func within(total, fromBefore, fromAfter, toBefore, toAfter uint64) bool {
	return total+fromAfter >= toBefore && total <= toAfter-fromBefore
}

func sumReasons(r *model.Reading) model.Count {
	var sum model.Count
	for _, count := range r.Reasons {
		sum.Add(count)
	}
	return sum
}
