package stats

import "github.com/lotrace/lotrace/internal/model"

// makeRows makes one row of each flow of which the window has something to say.
func (e *Engine) makeRows() {
	e.flows, e.shown = e.flows[:0], model.Count{}
	if e.config.Pack {
		e.nextPacked()
	}
	for i := range e.now.Slots {
		lent := e.histograms.used
		slot := e.slotAt(i)
		e.takePart(slot)
		talk := e.talkOf(slot)
		if !e.isDue(slot, &talk, e.now.MonoNS) {
			continue
		}
		if older := e.olderPart(slot); older != nil {
			older.merge(slot, e.endsOf(slot), &talk)
			continue
		}
		e.addRow(slot, e.owners[i], talk)
		if e.config.Pack {
			e.histograms.used = lent // the row has a copy
		}
	}
	for i := range e.ended {
		ended := &e.ended[i]
		e.addRow(&ended.Slot, e.ownersOf(&ended.Slot, &ended.ends), ended.talk)
	}
}

// nextPacked empties the list of the window before the newest one.
func (e *Engine) nextPacked() {
	e.packed[0], e.packed[1] = e.packed[1], e.packed[0]
	if e.packed[0] == nil {
		e.packed[0] = new(model.PackedFlows)
	}
	e.packed[0].Reset()
	e.packed[0].Grow(len(e.now.Slots))
}

func (e *Engine) addRow(slot *model.Slot, owners [2]*model.Owner, talk talk) {
	row := &e.row
	if !e.config.Pack {
		e.flows = append(e.flows, model.Flow{})
		row = &e.flows[len(e.flows)-1]
	}
	e.fill(row, slot, owners)
	e.addSigns(row, slot, &talk)
	switch shown := e.isShown(row, slot); {
	case !shown && !e.config.Pack:
		e.flows = e.flows[:len(e.flows)-1]
	case shown:
		e.shown.Add(sumOf(slot))
		if e.config.Pack {
			e.packed[0].Append(row)
		}
	}
}

// isShown asks the filter about a flow, and then whether it is to be hidden, which it counts.
func (e *Engine) isShown(row *model.Flow, slot *model.Slot) bool {
	switch {
	case e.config.Match != nil && !e.config.Match(row):
	case e.config.Hide != nil && e.config.Hide(row):
		e.hidden.Flows++
		e.hidden.Add(sumOf(slot))
	default:
		return true
	}
	e.slow.reject(&slot.Key)
	return false
}

// isDue reports whether there is a row to be made of a slot's part of the window: something was counted, which may
// come long after the last packet, or the connection made a step no later than until (CLOCK_MONOTONIC, ns), the
// last moment for which there is no other row. Bytes that wait in queues are no reason.
func (e *Engine) isDue(slot *model.Slot, t *talk, until uint64) bool {
	none := model.Counters{}
	if slot.Dir[0].Counters != none || slot.Dir[1].Counters != none || t.counted() {
		return true
	}
	for _, step := range [...]uint64{slot.ConnectedNS, slot.AcceptedNS, slot.FirstByteNS} {
		if e.start.MonoNS < step && step <= until {
			return true
		}
	}
	return false
}

func (e *Engine) fill(row *model.Flow, slot *model.Slot, owners [2]*model.Owner) {
	client, source := e.listeners.roleOf(slot)
	server := 1 - client
	*row = model.Flow{}
	row.Netns = slot.Key.Netns
	row.Proto = slot.Key.Proto
	row.RoleSource = source
	row.Client = endOf(slot, client, owners[client])
	row.Server = endOf(slot, server, owners[server])
	row.ToServer = slot.Dir[client].Counters
	row.ToClient = slot.Dir[server].Counters
	row.ClientSRTT, row.ServerSRTT = slot.SRTT[client], slot.SRTT[server]
	row.ClientCwnd, row.ServerCwnd = slot.Cwnd[client], slot.Cwnd[server]
	row.FirstSeen = e.wall(slot.CreatedNS)
	row.LastSeen = e.wall(slot.LastNS())
	if slot.Key.Proto == model.ProtoTCP {
		row.State, row.Closed = TCPState(slot.TCPFlags[client], slot.TCPFlags[server],
			slot.Dir[client].LastNS, slot.Dir[server].LastNS)
	}
}

func endOf(slot *model.Slot, i int, owner *model.Owner) model.Endpoint {
	end := slot.Key.Endpoint(i)
	return model.Endpoint{Addr: end.Addr(), Port: end.Port(), Owner: owner}
}
