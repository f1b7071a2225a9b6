package tui

import (
	"cmp"
	"slices"
)

// row is one line of the table.
type row struct {
	*node
	depth int
}

// arrange puts the rows into their order. Rows that the cursor is on, and those above it in the tree, keep
// their place among their siblings; all do while the order is frozen. With anew nobody does.
func (m *Model) arrange(anew bool) {
	line, index := m.cursorLine(), m.cursorIndex()
	frames, truly, _ := m.clock.window(m.window)
	var tops []*node
	for _, n := range m.nodes {
		n.kids = n.kids[:0]
		n.frames, n.truly = frames, truly
		since := n.since
		if begun := m.begun[n.kind]; begun.compare(since) > 0 {
			since = begun
		}
		if known := m.clock.frame - since.frame + 1; known <= uint64(frames) {
			n.frames = int(known)
			n.truly = m.clock.lasting(n.frames) - since.before
		}
		n.shown = n.past.sum(m.clock.frame, n.frames)
	}
	for _, n := range m.nodes {
		if n.kind == kindFlow && n.flow.Closed && !m.showClosed {
			continue
		}
		switch {
		case m.isTop(n):
			tops = append(tops, n)
		case n.parent != nil && m.belongs(n):
			n.parent.kids = append(n.parent.kids, n)
		}
	}
	m.rows = m.rows[:0]
	m.add(tops, 0, anew)
	m.follow(line, index, anew)
}

// isTop reports whether the grouping has the node at the first level.
func (m *Model) isTop(n *node) bool { return n.kind == m.group.top() && m.matchesFlow(n) }

// belongs reports whether the node stands below another in this grouping.
func (m *Model) belongs(n *node) bool {
	switch n.kind {
	case kindPair:
		return m.group == groupService
	case kindFlow:
		return (m.group == groupService || m.group == groupPair) && n.parent.open && m.matchesFlow(n)
	default:
		return false
	}
}

// matchesFlow asks the filter about a flow that is remembered only.
func (m *Model) matchesFlow(n *node) bool {
	return n.kind != kindFlow || m.filter == nil || n.pass == m.pass || m.filter.Match(n.flow)
}

// add puts siblings in order and, with what is open below them, into the table. A service with a single
// client is one row.
func (m *Model) add(siblings []*node, depth int, anew bool) {
	m.order(siblings, anew)
	for _, n := range siblings {
		shown := n
		if n.kind == kindService && len(n.kids) == 1 {
			shown = n.kids[0]
		}
		m.rows = append(m.rows, row{shown, depth})
		if shown.open && len(shown.kids) > 0 {
			m.add(shown.kids, depth+1, anew)
		}
	}
}

func (m *Model) order(siblings []*node, anew bool) {
	if m.sort.ranked {
		m.rank(siblings)
	}
	for _, n := range siblings {
		switch {
		case m.sort.ranked:
		case m.sort.text:
			n.label = m.sort.cell(m, n)
		case m.sort.quantile > 0:
			n.past.latency(m.clock.frame, n.frames, &m.scratch)
			n.quantile = m.scratch.Quantile(m.sort.quantile)
		}
	}
	m.recall(siblings)
	slices.SortFunc(siblings, func(a, b *node) int {
		if m.frozen && !anew {
			if c := cmp.Compare(a.rank, b.rank); c != 0 {
				return c
			}
		}
		return cmp.Or(m.compare(a, b), a.position.CompareService(&b.position), a.position.Compare(&b.position))
	})
	if kept := m.onPath(siblings); kept >= 0 && !anew && siblings[kept].rank < unranked {
		n := siblings[kept]
		siblings = slices.Delete(siblings, kept, kept+1)
		at := min(n.rank, len(siblings))
		siblings = slices.Insert(siblings, at, n)
	}
	for i, n := range siblings {
		n.rank = i
	}
}

// recall brings siblings into the order that they were in before, those that are new behind the others: most
// stay where they are, and what is nearly in order is sorted quickly.
func (m *Model) recall(siblings []*node) {
	m.ranked = append(m.ranked[:0], make([]*node, len(siblings))...)
	fresh := 0
	for _, n := range siblings {
		if n.rank < len(siblings) && m.ranked[n.rank] == nil {
			m.ranked[n.rank] = n
			continue
		}
		siblings[fresh] = n
		fresh++
	}
	end := len(siblings)
	copy(siblings[end-fresh:], siblings[:fresh])
	at := 0
	for _, n := range m.ranked {
		if n != nil {
			siblings[at] = n
			at++
		}
	}
	clear(m.ranked)
}

// onPath returns which of siblings the cursor is on or below; -1: none.
func (m *Model) onPath(siblings []*node) int {
	for n := m.cursor; n != nil; n = n.parent {
		if i := slices.Index(siblings, n); i >= 0 {
			return i
		}
	}
	return -1
}

func (m *Model) compare(a, b *node) int {
	c := m.sort.compare(m, a, b)
	if !m.sort.text {
		c = -c
	}
	if m.reversed {
		c = -c
	}
	return c
}

// cursorIndex is which row the cursor is on.
func (m *Model) cursorIndex() int {
	if m.cursor == nil {
		return 0
	}
	return max(0, slices.IndexFunc(m.rows, func(r row) bool { return r.node == m.cursor }))
}

// cursorLine is which line of the screen that is.
func (m *Model) cursorLine() int { return m.cursorIndex() - m.scroll }

// follow keeps the cursor's row where it was on the screen. Of a row that has gone the next one takes over.
func (m *Model) follow(line, index int, anew bool) {
	if m.cursor == nil {
		m.scroll = 0
		return
	}
	if !slices.ContainsFunc(m.rows, func(r row) bool { return r.node == m.cursor }) {
		m.cursor = nil
		if len(m.rows) > 0 {
			m.cursor = m.rows[min(index, len(m.rows)-1)].node
		}
	}
	m.scroll = m.cursorIndex() - line
	m.clamp()
}

// clamp keeps the cursor on the screen, and the screen full.
func (m *Model) clamp() {
	room := max(1, m.room())
	at := m.cursorIndex()
	m.scroll = min(m.scroll, len(m.rows)-room, at)
	m.scroll = max(m.scroll, 0, at-room+1)
}

// move puts the cursor so many rows further.
func (m *Model) move(by int) {
	if len(m.rows) == 0 {
		return
	}
	m.cursor = m.rows[max(0, min(len(m.rows)-1, m.cursorIndex()+by))].node
	m.clamp()
}

// expand opens or closes the row that the cursor is on; closing what is closed goes up to its parent.
func (m *Model) expand(open bool) {
	if len(m.rows) == 0 {
		return
	}
	at := m.rows[m.cursorIndex()]
	n := at.node
	m.cursor = n
	switch {
	case !open && (!n.open || n.kind == kindFlow):
		if at.depth > 0 && n.parent != nil {
			m.cursor = n.parent
			m.clamp()
		}
		return
	case n.kind == kindService || n.kind == kindPair:
		n.open = open
	}
	m.collect()
	m.arrange(false)
}
