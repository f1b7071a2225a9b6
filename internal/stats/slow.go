package stats

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// slowTurns are those of one window.
type slowTurns struct {
	turns  []slowTurn // the newest last, in the order in which they were told
	shed   uint64     // beyond the bound
	judged map[reading.SlotKey][]judgement
}

type slowTurn struct {
	reading.SlowTurn
	owners [2]*model.Owner // of the ends of Key
}

// judgement is what became of a row of which there are slow turns.
type judgement struct {
	beganNS uint64
	shown   bool
}

func (s *slowTurns) reset() {
	s.turns, s.shed = s.turns[:0], 0
	clear(s.judged)
}

// add keeps a copy, Parts included.
func (s *slowTurns) add(turn reading.SlowTurn) {
	if turn.Parts != nil {
		parts := *turn.Parts
		turn.Parts = &parts
	}
	if s.judged == nil {
		s.judged = make(map[reading.SlotKey][]judgement)
	}
	if _, known := s.judged[turn.Key]; !known {
		s.judged[turn.Key] = nil
	}
	s.turns = append(s.turns, slowTurn{SlowTurn: turn})
	if len(s.turns) >= 4*model.SlowKept {
		s.trim()
	}
}

// trim keeps the newest, and the longest of the others.
func (s *slowTurns) trim() {
	kept, lost := model.KeepSlow(s.turns, func(t *slowTurn) time.Duration { return t.Turn })
	s.turns, s.shed = kept, s.shed+lost
}

// judge remembers whether the row that a slot began is shown, if there are slow turns of its key.
func (s *slowTurns) judge(slot *reading.Slot, shown bool) {
	if len(s.turns) == 0 {
		return
	}
	if rows, asked := s.judged[slot.Key]; asked {
		s.judged[slot.Key] = append(rows, judgement{slot.CreatedNS, shown})
	}
}

// verdict reports whether the turn's row is shown; false, false: the window has none. It is the newest row of its
// key that had begun by then.
func (s *slowTurns) verdict(t *slowTurn) (shown, known bool) {
	newest := uint64(0)
	for _, row := range s.judged[t.Key] {
		if row.beganNS <= t.AskedNS && row.beganNS >= newest {
			shown, known, newest = row.shown, true, row.beganNS
		}
	}
	return shown, known
}

// takeSlow takes over the slow turns that a reading told of, even one that failed: they are told once. The source may
// tell of more of them than windows list.
func (e *Engine) takeSlow() {
	for i := range e.now.Slow {
		if e.config.SlowTurn != nil {
			e.config.SlowTurn(&e.now.Slow[i])
		}
		if e.config.Slow > 0 && e.now.Slow[i].Turn >= e.config.Slow {
			e.slow.add(e.now.Slow[i])
		}
	}
	e.now.Slow = e.now.Slow[:0]
}

// nameSlow says who was at the ends of slow turns, as far as it is known by now: when the window is over, their
// slots may be free.
func (e *Engine) nameSlow() {
	for i := range e.slow.turns {
		t := &e.slow.turns[i]
		if slot, ends := e.find(t.Slot, &t.Key, t.AskedNS); slot != nil {
			t.name(e, slot, ends)
		}
	}
}

func (t *slowTurn) name(e *Engine, slot *reading.Slot, ends *ends) {
	for i := range t.owners {
		if o := e.ownerOf(slot, ends, i); o != nil {
			t.owners[i] = o
		}
	}
}

// showSlow puts the window's slow turns into it, newest first.
func (e *Engine) showSlow(w *model.Window) {
	if e.config.Slow == 0 {
		return
	}
	e.slow.trim()
	w.SlowFrom = e.config.Slow
	w.SlowLost = e.now.SlowLost - e.start.SlowLost + e.slow.shed
	for i := range e.slow.turns {
		if turn := &e.slow.turns[i]; e.isTurnShown(turn) {
			w.Slow = append(w.Slow, e.slowRow(turn))
		}
	}
	if w.SlowLost > 0 {
		w.Slow = append(w.Slow, longestMissing(w)...)
	}
	model.SortSlow(w.Slow)
}

// isTurnShown reports whether a turn is of a flow that is shown. Of a flow without a row in the window it asks what
// it would ask of its row.
func (e *Engine) isTurnShown(t *slowTurn) bool {
	shown, known := e.slow.verdict(t)
	if known {
		return shown
	}
	flow, _ := e.FlowOf(&reading.Sample{Slot: t.Slot, Key: t.Key, MonoNS: t.AskedNS, Client: t.Client})
	client := 0
	if flow.Client.AddrPort() != t.Key.Endpoint(0) {
		client = 1
	}
	flow.Client.Owner = cmp.Or(flow.Client.Owner, t.owners[client])
	flow.Server.Owner = cmp.Or(flow.Server.Owner, t.owners[1-client])
	shown, _ = e.isWanted(&flow)
	return shown
}

func (e *Engine) slowRow(t *slowTurn) model.SlowTurnRow {
	end := func(i uint8) model.Endpoint {
		at := t.Key.Endpoint(int(i))
		return model.Endpoint{Addr: at.Addr(), Port: at.Port(), Owner: t.owners[i]}
	}
	client := t.Client & 1
	return model.SlowTurnRow{
		Time: e.wall(t.AskedNS), Site: t.Key.Site, Netns: e.netnsOf(t.Key.Site), Proto: t.Key.Proto,
		Client: end(client), Server: end(1 - client), Turn: t.Turn, Parts: t.Parts,
	}
}

// tuple names a flow of a row.
type tuple struct {
	site           uint32
	proto          model.Proto
	client, server netip.AddrPort
}

// longestMissing makes records of the longest turns of those flows whose own were lost, as far as their
// rows know them: those that took longest come first to be kept.
func longestMissing(w *model.Window) []model.SlowTurnRow {
	longest := make(map[tuple]time.Duration)
	for i := range w.Slow {
		t := &w.Slow[i]
		of := tuple{t.Site, t.Proto, t.Client.AddrPort(), t.Server.AddrPort()}
		longest[of] = max(longest[of], t.Turn)
	}
	var missing []model.SlowTurnRow
	for f := range w.Flows.All() {
		// The row's may be the bound of its bucket.
		known := longest[tuple{f.Site, f.Proto, f.Client.AddrPort(), f.Server.AddrPort()}]
		if f.Turn.Max < w.SlowFrom || model.Bucket(known) >= model.Bucket(f.Turn.Max) {
			continue
		}
		missing = append(missing, model.SlowTurnRow{
			Time: w.End, Site: f.Site, Netns: f.Netns, Proto: f.Proto, Client: f.Client, Server: f.Server,
			Turn: f.Turn.Max,
		})
	}
	slices.SortStableFunc(missing, func(a, b model.SlowTurnRow) int { return cmp.Compare(b.Turn, a.Turn) })
	return missing[:min(len(missing), model.SlowKept)]
}
