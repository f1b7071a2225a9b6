package tui

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"github.com/lotrace/lotrace/internal/filter"
)

// binding is what a key does. The table dispatches, and makes the help.
type binding struct {
	keys []string // as tea names them
	show string   // as people do
	help string
	hint string // for the last line of the screen; "": none
	in   mode   // where it works
	do   func(*Model) tea.Cmd
}

// bindings is set when the program starts: help, which it leads to, reads it.
var bindings []binding

func init() {
	const lists, pages = modeRows, modeDetail | modeHelp
	bindings = []binding{
		{[]string{"?", "f1"}, "?", "this help", "? help", lists | modeDetail, plain(func(m *Model) { m.mode, m.page = modeHelp, 0 })},
		{[]string{"q"}, "q", "quit", "q quit", lists, func(*Model) tea.Cmd { return tea.Quit }},
		{[]string{"up", "k"}, "↑ k", "one row up", "", lists, moving(-1)},
		{[]string{"down", "j"}, "↓ j", "one row down", "↑↓ move", lists, moving(1)},
		{[]string{"pgup", "ctrl+b"}, "PgUp", "a screen up", "", lists, paging(-1)},
		{[]string{"pgdown", "ctrl+f"}, "PgDn", "a screen down", "", lists, paging(1)},
		{[]string{"home"}, "Home", "to the first row, whichever that is", "", lists, plain((*Model).home)},
		{[]string{"end"}, "End", "to the last row", "", lists, plain((*Model).end)},
		{[]string{"right", "l", "+"}, "→ l", "show what the row is made of", "→ open", lists, plain(func(m *Model) { m.expand(true) })},
		{[]string{"left", "h", "-"}, "← h", "hide it again", "", lists, plain(func(m *Model) { m.expand(false) })},
		{[]string{"enter"}, "Enter", "both ends of the row, its rates and latencies", "Enter detail", lists, plain((*Model).enter)},
		{[]string{"/"}, "/", "show only what matches a filter", "/ filter", lists, plain((*Model).openFilter)},
		{[]string{"g"}, "g", "a row per service, pair, flow, process or cgroup", "g group", lists, plain((*Model).nextGroup)},
		{[]string{"s"}, "s", "sort by the next column", "s sort", lists, plain((*Model).nextSort)},
		{[]string{"S"}, "S", "the other way round", "", lists, plain((*Model).reverse)},
		{[]string{"1"}, "1", "values over the last second", "", lists, over(0)},
		{[]string{"2"}, "2", "over ten seconds", "1 2 3 window", lists, over(1)},
		{[]string{"3"}, "3", "over a minute", "", lists, over(2)},
		{[]string{"space"}, "Space", "pause the values", "Space pause", lists | modeDetail, plain((*Model).pause)},
		{[]string{"o"}, "o", "freeze the order of the rows", "o order", lists, plain(func(m *Model) { m.frozen = !m.frozen })},
		{[]string{"t"}, "t", "closed flows, too", "", lists, plain((*Model).toggleClosed)},
		{[]string{"x"}, "x", "forget the last minute and begin anew", "", lists, plain(func(m *Model) { m.mode = modeAsk })},
		{[]string{"w"}, "w", "write these rows to a file: json, csv or a filter", "w write", lists, plain(func(m *Model) { m.mode = modeWrite })},
		{[]string{"c"}, "c", "copy the row, by the terminal's clipboard", "", lists, (*Model).copyRow},
		{[]string{"up", "k"}, "", "", "", pages, scrolling(-1)},
		{[]string{"down", "j"}, "", "", "↑↓ scroll", pages, scrolling(1)},
		{[]string{"pgup", "ctrl+b"}, "", "", "", pages, scrolling(-10)},
		{[]string{"pgdown", "ctrl+f"}, "", "", "", pages, scrolling(10)},
		{[]string{"home"}, "", "", "", pages, plain(func(m *Model) { m.page = 0 })},
		{[]string{"end"}, "", "", "", pages, plain(func(m *Model) { m.page = 1 << 20 })},
		{[]string{"esc", "enter", "q", "left", "h"}, "", "", "Esc back", pages, plain((*Model).back)},
		{[]string{"esc"}, "Esc", "drop the filter", "", lists, plain((*Model).dropFilter)},
		{[]string{"y"}, "", "", "", modeAsk, plain(func(m *Model) { m.mode = modeRows; m.restart() })},
		{[]string{"n", "esc", "q", "enter", "space"}, "", "", "", modeAsk, plain(func(m *Model) { m.mode = modeRows })},
		{[]string{"j"}, "", "", "", modeWrite, writing("json")},
		{[]string{"c"}, "", "", "", modeWrite, writing("csv")},
		{[]string{"f"}, "", "", "", modeWrite, writing("filter")},
		{[]string{"n", "esc", "q"}, "", "", "", modeWrite, plain(func(m *Model) { m.mode = modeRows })},
		{[]string{"ctrl+c"}, "", "", "", ^mode(0), func(*Model) tea.Cmd { return tea.Quit }},
		{[]string{"ctrl+z"}, "^Z", "suspend; fg comes back", "", ^mode(0), func(*Model) tea.Cmd { return tea.Suspend }},
	}
}

func plain(do func(*Model)) func(*Model) tea.Cmd {
	return func(m *Model) tea.Cmd {
		do(m)
		return nil
	}
}

func moving(by int) func(*Model) tea.Cmd { return plain(func(m *Model) { m.move(by) }) }

func paging(by int) func(*Model) tea.Cmd {
	return plain(func(m *Model) { m.move(by * max(1, m.room()-1)) })
}

func scrolling(by int) func(*Model) tea.Cmd {
	return plain(func(m *Model) { m.page = max(0, min(m.page, m.lastPage())+by) })
}

func writing(format string) func(*Model) tea.Cmd {
	return func(m *Model) tea.Cmd { return m.write(format) }
}

func over(window int) func(*Model) tea.Cmd {
	return plain(func(m *Model) {
		m.window = windows[window]
		m.arrange(false)
	})
}

// press does what the table says. What is typed into the filter is none of it.
func (m *Model) press(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	for i := range bindings {
		if b := &bindings[i]; b.in&m.mode != 0 && slices.Contains(b.keys, name) {
			return b.do(m)
		}
	}
	if m.mode == modeFilter {
		m.edit(k)
	}
	return nil
}

func (m *Model) home() {
	m.cursor, m.scroll = nil, 0
	m.arrange(false)
}

func (m *Model) end() { m.move(len(m.rows)) }

func (m *Model) enter() {
	if len(m.rows) > 0 {
		m.cursor = m.rows[m.cursorIndex()].node
		m.mode, m.page = modeDetail, 0
		m.collect() // with all measures
		m.arrange(false)
	}
}

func (m *Model) back() {
	if m.mode == modeHelp {
		m.page = 0
	}
	m.mode = modeRows
	m.clamp()
}

func (m *Model) nextGroup() { m.setGroup((m.group + 1) % group(len(groupNames))) }

// nextSort leaves out columns that are not on the screen, lest rows move for no visible reason.
func (m *Model) nextSort() {
	at := slices.Index(columns, m.sort)
	shown := m.layout()
	for {
		at = (at + 1) % len(columns)
		c := columns[at]
		if !m.group.sorts(c) {
			continue
		}
		if c.head == "" || slices.ContainsFunc(shown, func(s placed) bool { return s.column == c }) {
			m.sortBy(c, false)
			return
		}
	}
}

func (m *Model) reverse() { m.sortBy(m.sort, !m.reversed) }

func (m *Model) toggleClosed() {
	m.showClosed = !m.showClosed
	m.arrange(false)
}

func (m *Model) openFilter() {
	m.mode = modeFilter
	m.input.set(m.filter.String())
}

func (m *Model) dropFilter() {
	if m.filter != nil {
		m.setFilter(nil)
	}
}

// edit takes what is typed into the filter. That is used when Enter says so, and if it can be.
func (m *Model) edit(k tea.KeyPressMsg) {
	switch k.String() {
	case "esc":
		m.mode = modeRows
	case "enter":
		f, err := filter.Parse(m.input.String())
		if err != nil {
			return
		}
		m.input.remember()
		m.mode = modeRows
		m.setFilter(f)
	default:
		m.input.press(k)
	}
}
