package stats

import (
	"strconv"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// otherDrops stands for the reasons beyond those that are kept apart.
const otherDrops = "other"

// healths is what went wrong on slots, by place, as it was when the window began.
type healths struct {
	base    []*healthBase  // nil: nothing
	now     reading.Health // the one being read
	nothing healthBase     // what a first one is compared with
	health  model.Health   // being put together
}

type healthBase struct {
	reading.Health
	closedNS [2]uint64 // by end: how long its window was closed, the time that it still was included
}

// noticeHealth takes from a whole reading what is looked up as rows are made.
func (e *Engine) noticeHealth() {
	e.noticeQueues()
	e.nameSlow()
}

// restartHealth makes the newest reading the beginning of a window for all of them. They keep what they
// need, for the next reading takes the slices back.
func (e *Engine) restartHealth() {
	e.restartQueues()
	e.slow.reset()
	e.start.Queues, e.start.Backlogs, e.start.Slow = nil, nil, nil
}

// showHealth says what is in no row.
func (e *Engine) showHealth(s *model.Window) {
	s.Uncounted = e.now.Uncounted - e.start.Uncounted
	s.QueuesFailed, e.queues.failed = e.queues.failed, nil
	e.showSlow(s)
}

// addTally puts a slot's part of the window into its row, which has its counters already.
func (e *Engine) addTally(row *model.Flow, slot *reading.Slot, ends *ends, t *model.Tally) {
	toServer, toClient := row.ToServer, row.ToClient
	row.Tally = *t
	row.ToServer, row.ToClient = toServer, toClient
	if row.Health != nil && slot.Key.Endpoint(0) != row.Client.AddrPort() {
		row.Health.Client, row.Health.Server = row.Health.Server, row.Health.Client
	}
	addBeginning(row, slot, ends)
	if slot.Key.Proto == model.ProtoTCP {
		row.AcceptQueue = e.queues.backlogs.listening.Of(row.Site, row.Server.AddrPort())
	}
}

// addBeginning says how long the connection took to begin, if it did so before our eyes. A handshake counts in
// the first row that knows its end: its time may be before the window's beginning.
func addBeginning(row *model.Flow, slot *reading.Slot, ends *ends) {
	sawSYN := slot.Role == reading.SlotRoleSYN && slot.TCPFlags[slot.Client&1]&model.FlagSYN != 0
	if slot.Key.Proto != model.ProtoTCP || !sawSYN {
		return
	}
	since := func(ns uint64) time.Duration { return time.Duration(max(ns, slot.CreatedNS) - slot.CreatedNS) }
	row.Handshake, row.Accept, row.FirstByte = since(slot.ConnectedNS), since(slot.AcceptedNS), since(slot.FirstByteNS)
	if slot.ConnectedNS != 0 && !ends.connected {
		row.Connect = model.Single(row.Handshake)
		ends.connected = true
	}
}

// healthOf returns the window's part of what went wrong on a slot, and what waits in its queues; nil if
// there is nothing to tell. The next call returns what came after this one. Until a row is made of it,
// Client is end 0 of the key and Server end 1.
func (e *Engine) healthOf(slot *reading.Slot) *model.Health {
	sockets := e.queues.of(slot)
	if sockets != nil && !sockets.end[0].seen && !sockets.end[1].seen {
		sockets = nil
	}
	if slot.Health == 0 && sockets == nil {
		return nil
	}
	h := &e.healths.health
	*h = model.Health{}
	if slot.Health != 0 {
		e.addErrors(h, slot)
	}
	if sockets != nil {
		sockets.addTo(h, slot, e.queues.walkedNS)
	}
	if h.IsZero() {
		return nil
	}
	kept := *h
	return &kept
}

// addErrors adds what came to a slot's health since the last call.
func (e *Engine) addErrors(h *model.Health, slot *reading.Slot) {
	now := &e.healths.now
	e.source.ReadHealth(slot.Health, now)
	base := e.healthBase(slot.Health)
	h.Refused = uint64(now.Refused - base.Refused)
	h.SYNRetries = uint64(now.SYNRetries - base.SYNRetries)
	h.SYNACKRetries = uint64(now.SYNACKRetries - base.SYNACKRetries)
	closed := [2]uint64{e.closedNS(&now.End[0], slot), e.closedNS(&now.End[1], slot)}
	for i, end := range []*model.EndHealth{&h.Client, &h.Server} {
		was, is := &base.End[i], &now.End[i]
		end.Resets = uint64(is.Resets - was.Resets)
		end.Timeouts = uint64(is.Timeouts - was.Timeouts)
		end.ZeroWindows = uint64(is.ZeroWindows - was.ZeroWindows)
		end.Stalls = uint64(is.Stalls - was.Stalls)
		end.Stalled = time.Duration(is.StalledNS - was.StalledNS)
		// Its two halves are not read in one instant.
		closed[i] = max(closed[i], base.closedNS[i])
		end.ZeroWindow = time.Duration(min(closed[i]-base.closedNS[i], e.now.MonoNS-e.start.MonoNS))
	}
	e.addDrops(h, now, &base.Health)
	if slot.Key.Proto != model.ProtoTCP {
		for _, d := range h.Drops {
			h.Lost += d.SKBs
		}
	}
	if base == &e.healths.nothing {
		base = new(healthBase)
		e.healths.base[slot.Health] = base
	}
	base.Health, base.closedNS = *now, closed
}

func (e *Engine) healthBase(place uint32) *healthBase {
	for int(place) >= len(e.healths.base) {
		e.healths.base = append(e.healths.base, nil)
	}
	if base := e.healths.base[place]; base != nil {
		return base
	}
	return &e.healths.nothing
}

// addDrops adds, by name, what was dropped since base. A reason keeps its place.
func (e *Engine) addDrops(h *model.Health, now, base *reading.Health) {
	for i, drop := range now.Drops {
		if base.Drops[i].Reason == drop.Reason {
			drop.SKBs -= base.Drops[i].SKBs
		}
		if drop.SKBs != 0 {
			h.Drop(e.dropReason(drop.Reason), uint64(drop.SKBs))
		}
	}
	if n := now.OtherDrops - base.OtherDrops; n != 0 {
		h.Drop(otherDrops, uint64(n))
	}
}

func (e *Engine) dropReason(reason uint32) string {
	if e.config.DropReason == nil {
		return "reason_" + strconv.FormatUint(uint64(reason), 10)
	}
	return e.config.DropReason(reason)
}

// closedNS is how long the end's window was closed, in all. On a connection that is over nothing opens it
// any more.
func (e *Engine) closedNS(end *reading.EndHealth, slot *reading.Slot) uint64 {
	until := e.now.MonoNS
	if isOver(slot) {
		until = slot.LastNS()
	}
	if end.ClosedSinceNS == 0 || end.ClosedSinceNS > until {
		return end.ClosedNS
	}
	return end.ClosedNS + until - end.ClosedSinceNS
}

func (e *Engine) releaseHealth(place uint32) error {
	if place == 0 {
		return nil
	}
	if int(place) < len(e.healths.base) {
		e.healths.base[place] = nil
	}
	return e.source.ReleaseHealth(place)
}
