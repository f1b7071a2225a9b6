// Package stats turns cumulative readings into windows: what each flow did between two moments,
// with totals that add up, and rolls flows up into services. It has no clock and no goroutine of
// its own; time is what the readings say.
package stats

import (
	"errors"
	"fmt"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Owners names who is behind the ends of flows. Only Settle waits.
type Owners interface {
	// Process returns what is known of a process by now, of which details may come later, and whether it is known to
	// have ended.
	Process(p *reading.Process) (owner *model.Owner, gone bool)
	// Holder is who holds the socket of an end of a flow whose first packet was at created
	// (CLOCK_MONOTONIC, ns); nil: unknown so far. If the end may be waiting for somebody to connect or
	// to accept, who listens there stands for it.
	Holder(key *reading.SlotKey, end int, created uint64, waiting bool) *model.Owner
	// Version is another one whenever answers may be others than before.
	Version() uint64
	// Settle waits for what was asked for and is on its way, but no longer than limit.
	Settle(limit time.Duration)
}

// Config says what the engine shows and how much it keeps.
type Config struct {
	MaxFlows     int                    // size of the source's table: no slot's index is as large
	Exchanges    int                    // flows whose turns it can follow at once
	HealthPlaces int                    // flows whose health it can count at once
	Origin       model.Origin           // copied into every window
	Match        func(*model.Flow) bool // rows to keep; nil: all
	Hide         func(*model.Flow) bool // of these, rows to count as hidden; nil: none
	Owners       Owners                 // nil: nobody is named
	Listeners    []reading.Listener     // sockets that waited when counting began
	MaxEnded     int                    // ended flows kept for one window; 0: four tables full
	Samples      bool                   // FlowOf is to know ended flows of which the window counted nothing, too

	Slow       time.Duration           // windows list turns that take as long, of those that the source tells of; 0: none
	SlowTurn   func(*reading.SlowTurn) // called for each of them as it is read, and valid during the call; may be nil
	DropReason func(uint32) string     // names of model.Drop.Reason; nil: they go by number
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

	start reading.Reading     // the first moment of the current window, without its slots
	base  [][2]model.Counters // by slot index: counts at start; zero for younger slots
	now   reading.Reading     // the newest reading
	begun time.Time           // of the first reading, by the wall clock
	marks []marks             // by slot index

	table   table
	ended   ended
	turns   turns
	healths healths
	queues  queues
	slow    slowTurns
	names   names
	rows    rows

	calls  int            // of Sweep
	slot   reading.Slot   // the one that is being visited
	finals []reading.Slot // what was retired since the newest reading, in the order of Index
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
		marks:     make([]marks, config.MaxFlows),
		table:     table{slots: make([]tableSlot, config.MaxFlows)},
		ended:     newEnded(),
		names:     names{ends: make([]ends, config.MaxFlows)},
	}
	if err := e.read(); err != nil {
		return nil, fmt.Errorf("take first reading: %w", err)
	}
	e.begun = e.now.Wall
	e.visit(unread, func(slot *reading.Slot) {
		ends := e.endsOf(slot)
		ends.steps, ends.connected = stepsOf(slot), slot.ConnectedNS != 0
	})
	e.restart()
	return e, nil
}

// read takes a whole reading. Where it fails the window goes on: what it began with is not in e.now, and slow
// turns are kept. Without the queues the reading is whole.
func (e *Engine) read() error {
	err := e.source.Read(&e.now)
	e.takeChanged()
	e.takeSlow()
	if err != nil {
		return err
	}
	e.finals = e.finals[:0]
	e.readQueues()
	return nil
}

// restart makes the newest reading the beginning of a window.
func (e *Engine) restart() {
	e.restartMarks()
	e.start = e.now
	e.start.Slots, e.start.Changed = nil, nil
	e.ended.reset()
	e.rows.hidden = model.Hidden{}
	e.turns.histograms.reset()
	e.restartHealth()
}

// Sweep retires the slots of flows that are over, keeping their counts for the window. Call it a few
// times a second: a table has room for the flows of one such period beside the living ones. While
// there is plenty of room, most calls do nothing.
func (e *Engine) Sweep() error {
	e.calls++
	if e.calls > sweepAtFirst && !e.table.isUnderPressure(&e.config) && e.calls%sweepInPlenty != 0 {
		return nil
	}
	if err := e.Look(); err != nil {
		return err
	}
	var err error
	e.finals, err = e.source.Retire(e.table.retirable(&e.config, e.now.MonoNS), e.finals)
	for _, i := range e.byAge(e.finals) {
		slot := &e.finals[i]
		e.subtractBase(slot)
		e.base[slot.Index] = [2]model.Counters{}
		tally := e.tallyOf(slot)
		err = errors.Join(err, e.releaseExchange(slot.Exchange), e.releaseHealth(slot.Health))
		e.keep(slot, &tally)
	}
	if err != nil {
		return fmt.Errorf("free flows: %w", err)
	}
	return nil
}

// slotAt reads a slot of the newest reading. It is valid until the next call.
func (e *Engine) slotAt(index uint32) *reading.Slot { return e.slotOf(&e.now.Slots[index]) }

func (e *Engine) slotOf(count *reading.SlotCount) *reading.Slot {
	e.slot.SlotCount = *count
	e.source.ReadSlot(&e.slot)
	return &e.slot
}

// subtractBase leaves of the slot's counters what came in the window.
func (e *Engine) subtractBase(slot *reading.Slot) {
	base := &e.base[slot.Index]
	slot.Dir[0].Counters = slot.Dir[0].Counters.Sub(base[0])
	slot.Dir[1].Counters = slot.Dir[1].Counters.Sub(base[1])
}

func sumOf(slot *reading.Slot) model.Count {
	var sum model.Count
	for i := range slot.Dir {
		sum.Add(countOf(slot.Dir[i].Counters))
	}
	return sum
}

func countOf(c model.Counters) model.Count {
	return model.Count{SKBs: c.SKBs, Packets: c.Packets, Bytes: c.Bytes}
}

// Window ends the current window, whose rows it puts into the list given, which it empties first, and begins the next.
func (e *Engine) Window(rows *model.Flows) (*model.Window, error) {
	if err := e.read(); err != nil {
		return nil, fmt.Errorf("take reading: %w", err)
	}
	e.settle()
	e.noticeHealth()
	w := &model.Window{
		Start:    e.start.Wall,
		End:      e.now.Wall,
		Duration: time.Duration(e.now.MonoNS - e.start.MonoNS),
		Origin:   e.config.Origin,
	}
	e.makeRows(rows)
	w.Flows, w.Hidden = rows, e.rows.hidden
	w.Listening = e.queues.backlogs.listening
	w.Unmeasured = e.now.Unmeasured - e.start.Unmeasured
	w.Samples = e.now.Samples.Sub(e.start.Samples)
	e.showHealth(w)
	e.total(w)
	if w.Origin.Filter == "" {
		counted := w.Totals
		counted.Add(w.Hidden.Count)
		w.Device = model.NewDevice(e.start.Device, e.now.Device, counted)
	}
	if e.now.Ingress != nil {
		w.Stages = &model.Stages{
			Egress:  e.now.Reasons.Sum().Sub(e.start.Reasons.Sum()),
			Ingress: e.now.Ingress.Sub(*e.start.Ingress),
		}
	}
	e.restart()
	return w, nil
}

// wall turns a CLOCK_MONOTONIC stamp into a time of day, by the newest reading's pair of clocks.
func (e *Engine) wall(ns uint64) time.Time {
	return e.now.Wall.Add(-time.Duration(e.now.MonoNS - ns))
}

// total adds up what was counted: rows and overflow, and nothing twice.
func (e *Engine) total(w *model.Window) {
	w.Totals = e.rows.shown
	w.ByCause = make(map[string]model.Count)
	for cause, count := range e.ended.overflow {
		w.ByCause[cause] = count
	}
	for i, count := range e.now.Reasons {
		reason := reading.Reason(i)
		count = count.Sub(e.start.Reasons[i])
		// A filter cannot have asked for packets whose key could not be read.
		asked := w.Origin.Filter == "" || reason.HasKey()
		if reason.IsOverflow() && asked && count.SKBs > 0 {
			w.ByCause[reason.String()] = count
		}
	}
	for _, count := range w.ByCause {
		w.Overflow.Add(count)
	}
	w.Totals.Add(w.Overflow)
}
