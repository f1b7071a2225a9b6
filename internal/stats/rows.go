package stats

import "github.com/lotrace/lotrace/internal/model"

// rows makes one row of each flow with traffic in the window, or stuck without any.
func (e *Engine) rows() []model.Flow {
	e.flows, e.hidden = e.flows[:0], model.Hidden{}
	for i := range e.now.Slots {
		slot := e.slotAt(i)
		e.takePart(slot)
		if slot.Dir[0].Packets+slot.Dir[1].Packets == 0 && !e.isStuck(slot) {
			continue
		}
		if older, ok := e.byKey[slot.Key]; ok && continues(slot) {
			e.ended[older].merge(slot, e.endsOf(slot), e.talkOf(slot))
			continue
		}
		e.addRow(slot, e.owners[i], e.talkOf(slot))
	}
	for i := range e.ended {
		ended := &e.ended[i]
		e.addRow(&ended.Slot, e.ownersOf(&ended.Slot, &ended.ends), ended.talk)
	}
	return e.flows
}

func (e *Engine) addRow(slot *model.Slot, owners [2]*model.Owner, talk talk) {
	e.flows = append(e.flows, model.Flow{})
	row := &e.flows[len(e.flows)-1]
	e.fill(row, slot, owners)
	e.addSigns(row, slot, &talk)
	switch {
	case e.config.Match != nil && !e.config.Match(row):
	case e.config.Hide != nil && e.config.Hide(row):
		e.hidden.Flows++
		e.hidden.Add(sumOf(slot))
	default:
		return
	}
	e.slow.reject(&slot.Key)
	e.flows = e.flows[:len(e.flows)-1]
}

func (e *Engine) fill(row *model.Flow, slot *model.Slot, owners [2]*model.Owner) {
	client, source := e.listeners.roleOf(slot)
	server := 1 - client
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
