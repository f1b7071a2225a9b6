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
	turns    []slowTurn // the newest last, in the order in which they were told
	shed     uint64     // beyond the bound
	rejected map[reading.SlotKey]struct{}
}

type slowTurn struct {
	reading.SlowTurn
	owners [2]*model.Owner // of the ends of Key
}

func (s *slowTurns) reset() {
	s.turns, s.shed = s.turns[:0], 0
	clear(s.rejected)
}

// add keeps a copy, Parts included.
func (s *slowTurns) add(turn reading.SlowTurn) {
	if turn.Parts != nil {
		parts := *turn.Parts
		turn.Parts = &parts
	}
	s.turns = append(s.turns, slowTurn{SlowTurn: turn})
	if len(s.turns) >= 4*model.SlowKept {
		s.trim()
	}
}

// trim keeps the newest, and the longest of the others.
func (s *slowTurns) trim() {
	older := len(s.turns) - model.SlowKept
	if older <= model.SlowKept {
		return
	}
	slices.SortStableFunc(s.turns[:older], func(a, b slowTurn) int { return cmp.Compare(b.Turn, a.Turn) })
	s.shed += uint64(older - model.SlowKept)
	s.turns = slices.Delete(s.turns, model.SlowKept, older)
}

// reject leaves out the turns of a flow that is not to be shown.
func (s *slowTurns) reject(key *reading.SlotKey) {
	if len(s.turns) == 0 {
		return
	}
	if s.rejected == nil {
		s.rejected = make(map[reading.SlotKey]struct{})
	}
	s.rejected[*key] = struct{}{}
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

// tellSlow puts the window's slow turns into the snapshot, newest first.
func (e *Engine) tellSlow(s *model.Window) {
	if e.config.Slow == 0 {
		return
	}
	e.slow.trim()
	s.SlowFrom = e.config.Slow
	s.SlowLost = e.now.SlowLost - e.start.SlowLost + e.slow.shed
	for i := range e.slow.turns {
		turn := &e.slow.turns[i]
		if _, rejected := e.slow.rejected[turn.Key]; !rejected {
			s.Slow = append(s.Slow, e.slowRow(turn))
		}
	}
	if s.SlowLost > 0 {
		s.Slow = append(s.Slow, longestMissing(s)...)
	}
	slices.SortStableFunc(s.Slow, func(a, b model.SlowTurnRow) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Turn, a.Turn))
	})
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
func longestMissing(s *model.Window) []model.SlowTurnRow {
	longest := make(map[tuple]time.Duration)
	for i := range s.Slow {
		t := &s.Slow[i]
		of := tuple{t.Site, t.Proto, t.Client.AddrPort(), t.Server.AddrPort()}
		longest[of] = max(longest[of], t.Turn)
	}
	var missing []model.SlowTurnRow
	for f := range s.Flows.All() {
		// The row's may be the bound of its bucket.
		known := longest[tuple{f.Site, f.Proto, f.Client.AddrPort(), f.Server.AddrPort()}]
		if f.Turn.Max < s.SlowFrom || model.Bucket(known) >= model.Bucket(f.Turn.Max) {
			continue
		}
		missing = append(missing, model.SlowTurnRow{
			Time: s.End, Site: f.Site, Netns: f.Netns, Proto: f.Proto, Client: f.Client, Server: f.Server,
			Turn: f.Turn.Max,
		})
	}
	slices.SortStableFunc(missing, func(a, b model.SlowTurnRow) int { return cmp.Compare(b.Turn, a.Turn) })
	return missing[:min(len(missing), model.SlowKept)]
}
