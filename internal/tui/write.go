package tui

import (
	"errors"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// Export is what is on the screen, for a file. It is the writer's: no frame touches it.
type Export struct {
	Format   string // "json", "csv" or "filter"
	By, Sort string // as files have them
	Window   *model.Window
	Filter   string // only for "filter": an expression that the rows on the screen match
}

// Written tells what became of an Export.
type Written struct {
	Where string
	Err   error
}

// write has the rows of the newest frame written, those that are not scrolled to as well.
func (m *Model) write(format string) tea.Cmd {
	m.mode = modeRows
	switch {
	case m.options.Write == nil:
		m.say(alarm, "there is nowhere to write to")
		return nil
	case m.newest.Window == nil:
		m.say(notice, "there is nothing to write yet")
		return nil
	}
	e := Export{Format: format, By: m.group.by().Name, Sort: m.group.word(m.sort)}
	if m.reversed {
		e.Sort = "-" + e.Sort
	}
	if format == "filter" {
		expr, err := m.filterOfRows()
		if err != nil {
			m.say(alarm, err.Error())
			return nil
		}
		e.Filter = expr
	} else {
		e.Window = m.shownWindow()
	}
	write := m.options.Write
	return func() tea.Msg {
		where, err := write(e)
		return Written{where, err}
	}
}

// shownWindow is a copy of the newest frame with the flows that the filter leaves.
func (m *Model) shownWindow() *model.Window {
	s := *m.newest.Window
	s.Flows, s.Totals = new(model.Flows), s.Overflow
	for f := range m.flows.All() {
		if m.filter != nil && !m.filter.Match(f) {
			continue
		}
		s.Flows.Append(f)
		for _, c := range []model.Counters{f.ToServer, f.ToClient} {
			s.Totals.Add(model.Count{SKBs: c.SKBs, Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	if m.filter != nil {
		s.Device = nil
		s.Origin.Filter = both(s.Origin.Filter, m.filter.String())
	}
	return &s
}

// both is an expression for what two match.
func both(a, b string) string {
	if a == "" {
		return b
	}
	return "(" + a + ") (" + b + ")"
}

// filterOfRows matches packets of the rows on the screen. By service, pair and flow it is one that the kernel
// can test, so it leaves out which process a client is.
func (m *Model) filterOfRows() (string, error) {
	var terms []string
	known := make(map[string]bool)
	for _, r := range m.rows[m.scroll:min(len(m.rows), m.scroll+m.room())] {
		term, err := m.termOf(r.node)
		if err != nil {
			return "", err
		}
		if !known[term] {
			known[term] = true
			terms = append(terms, term)
		}
	}
	if len(terms) == 0 {
		return "", errors.New("there is no row to make a filter of")
	}
	f, err := filter.Parse(strings.Join(terms, " or "))
	if err != nil {
		return "", fmt.Errorf("these rows make no filter: %w", err)
	}
	return f.String(), nil
}

// literal makes a pattern match itself only.
var literal = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)

func (m *Model) termOf(n *node) (string, error) {
	nobody := fmt.Errorf("no filter says %s", human.OrDash(m.clientCell(n)))
	if n.position.IsRest() {
		return "", nobody
	}
	owner := n.client.Owner
	switch n.kind {
	case kindProcess:
		if owner == nil || owner.PID == 0 {
			return "", nobody
		}
		return fmt.Sprintf("pid:%d", owner.PID), nil
	case kindCgroup:
		if owner == nil || owner.Cgroup == "" {
			return "", nobody
		}
		return `cgroup:"` + literal.Replace(owner.Cgroup) + `"`, nil
	default:
	}
	term := fmt.Sprintf("(proto:%s addr:%s", n.proto, n.server.Addr)
	if n.proto.HasPorts() {
		term += fmt.Sprintf(" port:%d", n.server.Port)
	}
	if n.kind == kindFlow {
		term += fmt.Sprintf(" addr:%s", n.client.Addr)
		if n.proto.HasPorts() {
			term += fmt.Sprintf(" port:%d", n.client.Port)
		}
	}
	return term + ")", nil
}

// copyRow gives the terminal's clipboard the row that the cursor is on: all its columns, uncut.
func (m *Model) copyRow() tea.Cmd {
	if len(m.rows) == 0 {
		return nil
	}
	n := m.rows[m.cursorIndex()].node
	var cells []string
	for _, c := range columns {
		if c.head != "" {
			cells = append(cells, c.cell(m, n))
		}
	}
	m.say(good, "copied, if the terminal takes it (OSC 52)")
	return tea.SetClipboard(strings.ReplaceAll(strings.Join(cells, "\t"), noBreak, " "))
}

// say shows a text in the last line until the next key.
func (m *Model) say(s style, text string) { m.said = m.paint(s, human.Plain(text)) }

func (m *Model) written(w Written) {
	if w.Err != nil {
		m.say(alarm, w.Err.Error())
		return
	}
	m.say(good, "written to "+w.Where)
}
