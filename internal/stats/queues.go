package stats

import (
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// queues is what walks over sockets found. A window whose walk failed knows nothing of them, and what sockets
// counted in it is in the next one that does.
type queues struct {
	sockets  []*sockets // by slot index; nil: nothing is known of them
	backlogs backlogs
	walked   bool   // the newest reading has them
	walkedNS uint64 // CLOCK_MONOTONIC of the reading that they are counted from; 0: none had them
	failed   error  // what went wrong since the newest window was made
}

// sockets is what the readings said of the queues of one slot's sockets.
type sockets struct {
	createdNS uint64 // of the flow that they are about
	end       [2]socket
}

type socket struct {
	now  reading.Queue
	seen bool          // by the newest reading
	base reading.Queue // when the window began
	old  bool          // was there then
}

// socketOf returns what is kept of the socket that a queue is about, anew if that was another flow's; nil
// if the slot is free.
func (e *Engine) socketOf(q *reading.Queue) *socket {
	count := e.now.Slot(q.Slot)
	if count == nil {
		return nil
	}
	slot := e.slotOf(count)
	for int(q.Slot) >= len(e.queues.sockets) {
		e.queues.sockets = append(e.queues.sockets, nil)
	}
	kept := e.queues.of(slot)
	if kept == nil {
		kept = &sockets{createdNS: slot.CreatedNS}
		if earlier := e.earlier(slot); earlier != nil && earlier.sockets != nil {
			kept.end = earlier.sockets.end // they are the same
		}
		e.queues.sockets[q.Slot] = kept
	}
	return &kept.end[q.End&1]
}

// readQueues has a walk over the sockets made. Where it fails nothing is known of them.
func (e *Engine) readQueues() {
	err := e.source.ReadQueues(&e.now)
	e.queues.walked = err == nil
	if err != nil {
		e.queues.failed = err
		e.now.Queues, e.now.Backlogs = e.now.Queues[:0], e.now.Backlogs[:0]
	}
}

func (e *Engine) noticeQueues() {
	for i := range e.now.Queues {
		q := &e.now.Queues[i]
		if s := e.socketOf(q); s != nil {
			s.now, s.seen = *q, true
		}
	}
	e.queues.backlogs.notice(e.now.Backlogs)
}

// restartQueues counts from the newest reading, if that has them.
func (e *Engine) restartQueues() {
	e.queues.backlogs.listening = nil
	if !e.queues.walked {
		return
	}
	e.queues.walkedNS = e.now.MonoNS
	e.queues.backlogs.base = sumDrops(e.now.Backlogs)
	for i := range e.now.Queues {
		q := &e.now.Queues[i]
		if s := e.socketOf(q); s != nil {
			*s = socket{base: *q, old: true}
		}
	}
}

// of returns what is kept of the slot's sockets; nil: nothing.
func (q *queues) of(slot *reading.Slot) *sockets {
	if int(slot.Index) >= len(q.sockets) {
		return nil
	}
	s := q.sockets[slot.Index]
	if s == nil || s.createdNS != slot.CreatedNS {
		return nil
	}
	return s
}

// addTo adds what waits now, and what was counted since the walk at start (CLOCK_MONOTONIC, ns; 0: there was
// none). Of a TCP socket whose SYN was seen all is new, and so it is of one whose flow was there at start, when
// it had nothing to say. Of others it is unknown what was before; a UDP socket may have served others.
func (s *sockets) addTo(h *model.Health, slot *reading.Slot, start uint64) {
	fresh := slot.Key.Proto == model.ProtoTCP && (slot.Role == reading.SlotRoleSYN || slot.CreatedNS <= start)
	for i, end := range []*model.EndHealth{&h.Client, &h.Server} {
		socket := &s.end[i]
		if !socket.seen {
			continue
		}
		end.ReceiveQueue, end.SendQueue = uint64(socket.now.Receive), uint64(socket.now.Send)
		if socket.old || fresh {
			end.OutOfOrder = uint64(socket.now.OutOfOrder - socket.base.OutOfOrder)
			end.SocketDrops = uint64(socket.now.Drops - socket.base.Drops)
		}
	}
}

// backlogs is what the listening sockets' queues of connections were like.
type backlogs struct {
	base      map[model.ListenKey]uint64 // drops when the window began; nil: unknown
	listening model.Listening
}

func listensAt(b *reading.Backlog) model.ListenKey {
	return model.ListenKey{Site: b.Site, Addr: b.Addr, Port: b.Port, V6Only: b.V6Only}
}

// sumDrops adds up the drops of those that listen at one place.
func sumDrops(all []reading.Backlog) map[model.ListenKey]uint64 {
	sum := make(map[model.ListenKey]uint64, len(all))
	for i := range all {
		sum[listensAt(&all[i])] += all[i].Drops
	}
	return sum
}

func (b *backlogs) notice(all []reading.Backlog) {
	b.listening = make(model.Listening)
	for at, drops := range sumDrops(all) {
		if was := b.base[at]; b.base == nil {
			drops = 0
		} else if was <= drops { // or others listen there now
			drops -= was
		}
		b.listening.Add(&model.AcceptQueue{ListenKey: at, Overflows: drops})
	}
	for i := range all {
		queue := b.listening.At(listensAt(&all[i]))
		queue.Length += all[i].Length
		queue.Limit += all[i].Limit
	}
}
