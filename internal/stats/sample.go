package stats

import (
	"fmt"
	"sort"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Look takes a reading of the flow table, as Sweep does, and retires nothing: afterwards FlowOf knows the
// flows that began since.
func (e *Engine) Look() error {
	err := e.source.ReadSlots(&e.now)
	e.takeChanged()
	e.takeSlow()
	if err != nil {
		return fmt.Errorf("read flows: %w", err)
	}
	e.finals = e.finals[:0]
	e.visit(unread|unnamed, e.noticeOwners)
	e.nameSlow()
	return nil
}

// Settle waits a moment for owners that were asked for, so that FlowOf knows them.
func (e *Engine) Settle() {
	if e.config.Owners != nil {
		e.config.Owners.Settle(settleOwners)
	}
}

// Now returns the moment of the newest reading, by CLOCK_MONOTONIC (ns) and by the wall clock.
func (e *Engine) Now() (ns uint64, wall time.Time) { return e.now.MonoNS, e.now.Wall }

// Progress returns how far the flow of a sample has come by the newest reading; false: the flow is not in it. It
// takes nothing from any window.
func (e *Engine) Progress(of *reading.Sample) (p reading.Progress, known bool) {
	count := e.now.Slot(of.Slot)
	if count == nil {
		return p, false
	}
	slot := e.slotOf(count)
	if !isFlow(slot, &of.Key, of.MonoNS) {
		return p, false
	}
	p.Sent = [2]uint64{slot.Dir[0].PayloadBytes, slot.Dir[1].PayloadBytes}
	if x := &e.turns.now; slot.Exchange > 0 && e.source.ReadExchange(slot.Exchange, x, nil) {
		p.Asked, p.Answered, p.AnsweredNS = x.Asked, x.Answered, x.AnsweredNS
	}
	return p, true
}

// isFlow reports whether a slot is that of a flow of a key that was there at a time (CLOCK_MONOTONIC, ns).
func isFlow(slot *reading.Slot, key *reading.SlotKey, ns uint64) bool {
	return slot.Key == *key && slot.CreatedNS <= ns
}

// FlowOf returns the flow that a sample was taken from, as far as it is known by now: its ends with their
// owners, roles and state, without counts. Flows are known from the first Look or Sweep after they began
// until the end of the window in which they ended. Of one that is not, FlowOf returns what the sample says
// itself, and false.
func (e *Engine) FlowOf(s *reading.Sample) (f model.Flow, known bool) {
	slot, ends := e.find(s.Slot, &s.Key, s.MonoNS)
	if slot == nil {
		return e.unknownFlow(s), false
	}
	e.fill(&f, slot, ends, e.ownersOf(slot, ends))
	f.ToServer, f.ToClient = model.Counters{}, model.Counters{}
	return f, true
}

// find returns the slot that a flow of that key had at a time (CLOCK_MONOTONIC, ns), free by now or not,
// and never an earlier or a later connection's on the same ports; nil: unknown.
func (e *Engine) find(index uint32, key *reading.SlotKey, ns uint64) (*reading.Slot, *ends) {
	if count := e.now.Slot(index); count != nil {
		if slot := e.slotOf(count); isFlow(slot, key, ns) {
			return slot, e.endsOf(slot)
		}
	}
	at := sort.Search(len(e.finals), func(i int) bool { return e.finals[i].Index >= index })
	if at < len(e.finals) && e.finals[at].Index == index && isFlow(&e.finals[at], key, ns) {
		return &e.finals[at], e.endsOf(&e.finals[at])
	}
	if i, ok := e.ended.byKey[*key]; ok && isFlow(&e.ended.slots[i].Slot, key, ns) {
		return &e.ended.slots[i].Slot, &e.ended.slots[i].ends
	}
	if silent, ok := e.ended.silent[*key]; ok && isFlow(&silent.slot, key, ns) {
		return &silent.slot, &silent.ends
	}
	return nil, nil
}

// unknownFlow decides who is the client as for a flow of the table, as far as a sample can tell: it knows whom the
// kernel takes for the client if it is from a slot.
func (e *Engine) unknownFlow(s *reading.Sample) model.Flow {
	slot := reading.Slot{Key: s.Key, Client: s.Client}
	if s.Slot != reading.NoSlot {
		slot.Role = reading.SlotRoleFirst
	}
	client, _ := e.listeners.roleOf(&slot)
	return model.Flow{
		Site: s.Key.Site, Netns: e.netnsOf(s.Key.Site), Proto: s.Key.Proto,
		Client: endOf(&slot, client, nil), Server: endOf(&slot, 1-client, nil),
	}
}
