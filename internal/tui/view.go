package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/human"
)

// View draws the screen.
func (m *Model) View() tea.View {
	v := tea.NewView(strings.Join(m.screen(), "\n"))
	v.AltScreen = true
	v.MouseMode = tea.MouseModeCellMotion
	if m.mode == modeFilter {
		v.Cursor = tea.NewCursor(min(m.width-1, 1+width(string(m.input.text[:m.input.at]))), m.height-1)
	}
	return v
}

// screen is as many lines as the screen has.
func (m *Model) screen() []string {
	if m.width < leastWidth || m.height < leastHeight {
		return m.tooSmall()
	}
	lines := m.header()
	switch m.mode {
	case modeDetail:
		lines = append(lines, m.paged(m.detail())...)
	case modeHelp:
		lines = append(lines, m.paged(m.help())...)
	default:
		lines = append(lines, m.table()...)
	}
	last := m.footer()
	for len(lines) < m.height-len(last) {
		lines = append(lines, "")
	}
	return append(lines[:m.height-len(last)], last...)
}

func (m *Model) tooSmall() []string {
	lines := make([]string, max(0, m.height))
	for i, text := range []string{
		fmt.Sprintf("%d × %d is too small", m.width, m.height),
		fmt.Sprintf("need %d × %d", leastWidth, leastHeight),
		"q quits",
	} {
		if i < len(lines) {
			lines[i] = head(text, m.width)
		}
	}
	return lines
}

// room is how many rows the table has lines for.
func (m *Model) room() int { return m.pageRoom() - 1 }

// table is the heads, and the rows that there is room for.
func (m *Model) table() []string {
	columns := m.layout()
	lines := []string{m.heads(columns)}
	if len(m.rows) == 0 {
		for _, text := range m.nothing() {
			lines = append(lines, head(text, m.width))
		}
		return lines
	}
	at := m.cursorIndex()
	for i := m.scroll; i < min(len(m.rows), m.scroll+m.room()); i++ {
		lines = append(lines, m.line(columns, m.rows[i], i == at))
	}
	return lines
}

func (m *Model) heads(columns []placed) string {
	var b strings.Builder
	for i, c := range columns {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch {
		case c.column == nil:
			b.WriteString(m.paint(strong, fit(m.sparkHead(c.wide), c.wide)))
		case c.text:
			b.WriteString(m.paint(strong, fit(m.headOf(c.column)+m.arrow(c.column), c.wide)))
		default:
			b.WriteString(m.paint(strong, right(m.arrow(c.column)+m.headOf(c.column), c.wide)))
		}
	}
	return line(b.String(), m.width)
}

// arrow marks what rows are sorted by.
func (m *Model) arrow(c *column) string {
	ofBytes := m.sort.field == "bytes" && (c.field == "sent" || c.field == "received")
	if c != m.sort && !ofBytes {
		return ""
	}
	if m.sort.text == m.reversed {
		return "▼"
	}
	return "▲"
}

// sparkHead says how much time the drawing covers.
func (m *Model) sparkHead(cells int) string {
	d := m.clock.lasting(min(cells, slots))
	if d == 0 {
		return "LAST"
	}
	return fmt.Sprintf("LAST %.0fs", d.Seconds())
}

func (m *Model) line(columns []placed, r row, chosen bool) string {
	idle := r.frame != m.clock.frame
	faded := idle || r.kind == kindFlow && r.flow.Closed
	var b strings.Builder
	for i, c := range columns {
		if i > 0 {
			b.WriteByte(' ')
		}
		text, style := m.cell(c, r)
		switch {
		case chosen:
			style = normal
		case faded || strings.TrimSpace(text) == "-":
			style = faint
		}
		b.WriteString(m.paint(style, text))
	}
	text := line(b.String(), m.width)
	if chosen && m.mode != modeFilter {
		return m.paint(selected, text)
	}
	return text
}

// cell is what a row has in a column, as wide as that.
func (m *Model) cell(c placed, r row) (string, style) {
	switch {
	case c.column == nil:
		return fit(m.spark(r.node, c.wide), c.wide), good
	case c.field == "client":
		style := normal
		if r.kind == kindService {
			style = strong
		}
		return fit(branch(r)+c.cell(m, r.node), c.wide), style
	case c.field == "server":
		return fit(c.cell(m, r.node), c.wide), strong
	case c.text:
		return fit(c.cell(m, r.node), c.wide), normal
	}
	return right(c.cell(m, r.node), c.wide), c.style
}

// branch draws a row's place in the tree.
func branch(r row) string {
	indent := strings.Repeat("  ", r.depth)
	switch {
	case r.kind != kindService && r.kind != kindPair:
		return indent
	case r.open:
		return indent + "▾ "
	}
	return indent + "▸ "
}

func (m *Model) spark(n *node, cells int) string {
	values := make([]uint64, min(cells, slots))
	for i := range values {
		back := uint64(len(values) - 1 - i)
		if m.clock.frame > back {
			frame := m.clock.frame - back
			s := n.past.at(frame)
			values[i] = m.clock.rate(frame, s.toServer+s.toClient)
		}
	}
	return spark(values)
}

// nothing says why there is no row.
func (m *Model) nothing() []string {
	switch {
	case m.newest.Window == nil && m.ended == nil:
		return []string{"", "  counting; the first numbers come after one interval"}
	case m.newest.Window == nil:
		return nil
	case m.filter != nil:
		return []string{"", "  nothing here matches " + human.Plain(m.filter.String()), "  Esc drops the filter, / changes it"}
	case m.newest.Origin.Filter != "" || m.newest.Totals.Packets+m.newest.Hidden.Packets > 0:
		return []string{"", "  " + human.NoFlows(m.newest.Window)}
	}
	return []string{
		"", "  " + human.Plain(m.newest.Origin.Site().Device) + " is idle: nobody talks to anybody",
		"", "  For something to look at, run in another terminal:  " + m.paint(strong, "lotrace demo"),
	}
}

// paged is the part of long text that there is room for.
func (m *Model) paged(lines []string) []string {
	first := min(m.page, max(0, len(lines)-m.pageRoom()))
	lines = lines[first:]
	lines = lines[:min(len(lines), m.pageRoom())]
	for i := range lines {
		lines[i] = head(lines[i], m.width)
	}
	return lines
}

func (m *Model) pageRoom() int { return max(1, m.height-m.headerLines()-m.footerLines()) }

func (m *Model) footerLines() int {
	if m.mode == modeFilter {
		return 2
	}
	return 1
}

// lastPage is the furthest that long text can be scrolled.
func (m *Model) lastPage() int {
	lines := m.help
	if m.mode == modeDetail {
		lines = m.detail
	}
	return max(0, len(lines())-m.pageRoom())
}

// footer is the last lines: what the keys do, or what is typed.
func (m *Model) footer() []string {
	switch m.mode {
	case modeFilter:
		return m.filterLines()
	case modeAsk:
		return []string{line(m.paint(notice, "Forget the last minute and begin anew?")+"  y yes  n no", m.width)}
	case modeWrite:
		return []string{line(m.paint(notice, "Write these rows?")+"  j json  c csv  f filter, for -f  Esc no", m.width)}
	default:
		if m.said != "" {
			return []string{spread(m.said, m.state(), m.width)}
		}
		return []string{spread(m.hints(), m.state(), m.width)}
	}
}

// filterLines say at once what is wrong with what is typed.
func (m *Model) filterLines() []string {
	said := m.paint(faint, "Enter uses it, Esc does not, ↑ brings earlier ones")
	if _, err := filter.Parse(m.input.String()); err != nil {
		said = m.paint(alarm, human.Plain(strings.TrimPrefix(err.Error(), "filter: ")))
	}
	return []string{line(said, m.width), line("/"+m.input.String(), m.width)}
}

func (m *Model) hints() string {
	var hints []string
	wide := 0
	for i := range bindings {
		b := &bindings[i]
		if b.hint == "" || b.in&m.mode == 0 {
			continue
		}
		if wide += width(b.hint) + 2; wide > m.width-width(m.state())-2 {
			break
		}
		key, does, _ := strings.Cut(b.hint, " ")
		hints = append(hints, m.paint(strong, key)+" "+m.paint(faint, does))
	}
	return strings.Join(hints, "  ")
}

// state says what makes the screen another than one would think.
func (m *Model) state() string {
	var all []string
	if m.paused {
		text := "PAUSED"
		if m.missed > 0 {
			text += ", " + human.Counted(uint64(m.missed), "frame") + " since"
		}
		all = append(all, m.paint(notice, text))
	}
	if m.frozen {
		all = append(all, m.paint(notice, "ORDER FROZEN"))
	}
	if m.showClosed {
		all = append(all, "closed shown")
	}
	if n := len(m.rows); n > m.room() && m.mode == modeRows {
		all = append(all, fmt.Sprintf("%d–%d of %d", m.scroll+1, min(n, m.scroll+m.room()), n))
	}
	return strings.Join(all, "  ")
}
