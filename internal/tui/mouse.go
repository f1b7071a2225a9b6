package tui

import tea "charm.land/bubbletea/v2"

// click chooses the row, opens or closes it if it was chosen already, or sorts by the column.
func (m *Model) click(x, y int) {
	if m.mode != modeRows {
		return
	}
	switch at := y - m.headerLines(); {
	case at == 0:
		m.clickHead(x)
	case at > 0 && at <= m.room() && m.scroll+at-1 < len(m.rows):
		n := m.rows[m.scroll+at-1].node
		if n == m.cursor {
			m.expand(!n.open)
			return
		}
		m.cursor = n
	}
}

// clickHead sorts by a column, and the other way round by the same one again.
func (m *Model) clickHead(x int) {
	for _, c := range m.layout() {
		if c.column != nil && m.group.sorts(c.column) && c.at <= x && x < c.at+c.wide {
			m.sortBy(c.column, c.column == m.sort && !m.reversed)
		}
	}
}

func (m *Model) wheel(button tea.MouseButton) {
	by := 3
	if button == tea.MouseWheelUp {
		by = -by
	}
	if m.mode == modeRows {
		m.move(by)
	} else {
		m.page = max(0, min(m.page, m.lastPage())+by)
	}
}
