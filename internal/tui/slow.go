package tui

import (
	"fmt"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// How many slow turns are remembered, of all rows together, and shown, of one.
const (
	mostSlow  = 500
	shownSlow = 10
)

// rememberSlow puts the frame's slow turns before the older ones.
func (m *Model) rememberSlow(s *model.Window) {
	if len(s.Slow) == 0 {
		return
	}
	m.slow = append(append([]model.SlowTurnRow(nil), s.Slow...), m.slow...)
	m.slow = m.slow[:min(len(m.slow), mostSlow)]
}

// slowOf are the node's, newest first.
func (m *Model) slowOf(n *node) (turns []*model.SlowTurnRow) {
	for i := range m.slow {
		if t := &m.slow[i]; m.isOf(n, t) {
			turns = append(turns, t)
		}
	}
	return turns
}

// isOf reports whether the turn is one of the node's. Rows for the rest have none.
func (m *Model) isOf(n *node, t *model.SlowTurnRow) bool {
	f := model.Flow{Site: t.Site, Netns: t.Netns, Proto: t.Proto, Client: t.Client, Server: t.Server}
	key, by := n.position.Key, kinds[n.kind]
	switch n.kind {
	case kindProcess, kindCgroup:
		return key == by.KeyOfEnd(t.Client.Owner) || key == by.KeyOfEnd(t.Server.Owner)
	case kindFlow:
		return n.flow.Key() == f.Key()
	default:
		return key == by.KeyOf(&f)
	}
}

// slowTurns lists the last turns that took long.
func (m *Model) slowTurns(n *node) []string {
	if m.newest.Window == nil || m.newest.SlowFrom == 0 {
		return nil
	}
	turns := m.slowOf(n)
	if len(turns) == 0 {
		return nil
	}
	lines := []string{"", "  " + m.paint(strong, "slow") + m.paint(faint, fmt.Sprintf("     the last turns of %s and more",
		human.Span(m.newest.SlowFrom)))}
	for _, t := range turns[:min(len(turns), shownSlow)] {
		text := fmt.Sprintf("  %s  %8s", t.Time.Format("15:04:05.000"), human.Latency(t.Turn))
		if p := t.Parts; p != nil {
			text += fmt.Sprintf("  delivery %s, wait %s, think %s", human.Latency(p.Delivery), human.Latency(p.Wait), human.Latency(p.Think))
		}
		if n.kind != kindFlow {
			text += "  " + m.paint(faint, human.End(&t.Client)+" → "+human.End(&t.Server))
		}
		lines = append(lines, text)
	}
	return lines
}
