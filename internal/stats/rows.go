package stats

import (
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// rows is what the newest window shows.
type rows struct {
	due    []uint32     // indexes of slots that may have a row in the newest window
	next   model.Flow   // the one that is being put together
	list   *model.Flows // where they go; the caller's as soon as the window is made
	shown  model.Count  // in the list
	hidden model.Hidden
}

// makeRows makes one row of each flow of which the window has something to say.
func (e *Engine) makeRows(list *model.Flows) {
	list.Reset()
	list.Grow(len(e.rows.due))
	e.rows.list, e.rows.shown = list, model.Count{}
	e.endOrphans()
	for at, i := range e.rows.due {
		// By the reading, not by what it is now: another slot may have become an orphan since.
		if e.now.Slots[i].State == reading.SlotOrphan {
			continue
		}
		lent := e.turns.histograms.used
		slot := e.slotAt(i)
		e.subtractBase(slot)
		tally := e.tallyOf(slot)
		ends := e.endsOf(slot)
		if !isDue(slot, ends, &tally) {
			continue
		}
		ends.steps = stepsOf(slot)
		if earlier := e.earlier(slot); earlier != nil {
			earlier.merge(slot, ends, &tally)
			continue
		}
		e.addRow(slot, ends, e.names.owners[at], &tally)
		e.turns.histograms.used = lent // the row has a copy
	}
	for i := range e.ended.slots {
		ended := &e.ended.slots[i]
		e.addRow(&ended.Slot, &ended.ends, e.ownersOf(&ended.Slot, &ended.ends), &ended.tally)
	}
}

func (e *Engine) addRow(slot *reading.Slot, ends *ends, owners [2]*model.Owner, tally *model.Tally) {
	row := &e.rows.next
	e.fill(row, slot, ends, owners)
	e.addTally(row, slot, ends, tally)
	if e.isShown(row, slot) {
		e.rows.shown.Add(sumOf(slot))
		e.rows.list.Append(row)
	}
}

// isShown asks the filter about a flow, and then whether it is to be hidden, which it counts.
func (e *Engine) isShown(row *model.Flow, slot *reading.Slot) bool {
	wanted, hidden := e.isWanted(row)
	if hidden {
		e.rows.hidden.Flows++
		e.rows.hidden.Add(sumOf(slot))
	}
	e.slow.judge(slot, wanted)
	return wanted
}

// isWanted reports whether a flow is to be shown and, if it is not, whether that is as it is to be hidden.
func (e *Engine) isWanted(row *model.Flow) (wanted, hidden bool) {
	if e.config.Match != nil && !e.config.Match(row) {
		return false, false
	}
	hidden = e.config.Hide != nil && e.config.Hide(row)
	return !hidden, hidden
}

// isDue reports whether there is a row to be made of a slot's part of the window: something was counted, which may
// come long after the last packet, or the connection made a step of which no row told. Bytes that wait in queues
// are no reason.
func isDue(slot *reading.Slot, ends *ends, t *model.Tally) bool {
	return stepsOf(slot) != ends.steps ||
		slot.Dir[0].Counters != model.Counters{} || slot.Dir[1].Counters != model.Counters{} || counted(t)
}

// stepsOf is how many of its steps a connection has made: the handshake, the server's accept, the first byte.
func stepsOf(slot *reading.Slot) uint8 {
	steps := uint8(0)
	for _, ns := range [...]uint64{slot.ConnectedNS, slot.AcceptedNS, slot.FirstByteNS} {
		if ns != 0 {
			steps++
		}
	}
	return steps
}

// netnsOf is the namespace of a site; 0: no site has that number.
func (e *Engine) netnsOf(site uint32) uint32 {
	for i := range e.config.Origin.Sites {
		if of := &e.config.Origin.Sites[i]; of.Number == site {
			return of.Netns
		}
	}
	return 0
}

func (e *Engine) fill(row *model.Flow, slot *reading.Slot, ends *ends, owners [2]*model.Owner) {
	client, source := e.listeners.roleOf(slot)
	server := 1 - client
	*row = model.Flow{}
	row.Site, row.Netns = slot.Key.Site, e.netnsOf(slot.Key.Site)
	row.Proto = slot.Key.Proto
	row.RoleSource = source
	row.Client = endOf(slot, client, owners[client])
	row.Server = endOf(slot, server, owners[server])
	row.ToServer = slot.Dir[client].Counters
	row.ToClient = slot.Dir[server].Counters
	row.ClientSRTT, row.ServerSRTT = slot.SRTT[client], slot.SRTT[server]
	row.ClientCwnd, row.ServerCwnd = slot.Cwnd[client], slot.Cwnd[server]
	row.TCPFlags = [2]uint8{slot.TCPFlags[client], slot.TCPFlags[server]}
	row.BeganNS = slot.CreatedNS
	row.LastNS = [2]uint64{slot.Dir[client].LastNS, slot.Dir[server].LastNS}
	row.FirstSeen = e.begun.Add(ends.firstSeen)
	row.LastSeen = e.wall(slot.LastNS())
	row.Judge()
}

func endOf(slot *reading.Slot, i int, owner *model.Owner) model.Endpoint {
	end := slot.Key.Endpoint(i)
	return model.Endpoint{Addr: end.Addr(), Port: end.Port(), Owner: owner}
}
