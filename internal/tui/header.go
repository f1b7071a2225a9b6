package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/view"
)

// header says what is watched, how much there is in all, and how far the numbers can be trusted.
func (m *Model) header() []string {
	if m.newest.Window == nil {
		return m.withHealth([]string{m.paint(strong, "lotrace"), ""})
	}
	return m.withHealth([]string{m.titleLine(), m.totalsLine(), m.costLine()})
}

// headerLines is how many lines that takes.
func (m *Model) headerLines() int {
	lines := 3
	if m.newest.Window == nil {
		lines = 2
	}
	if len(m.doubts()) > 0 {
		lines++
	}
	return lines
}

func (m *Model) titleLine() string {
	o := &m.newest.Origin
	site := o.Site()
	host := human.OrDash(human.Plain(o.Host))
	if width(host) > 20 && m.width < 120 {
		host = fit(host, 20)
	}
	left := []string{m.paint(strong, host), human.Plain(site.Device) + " " + site.Hook, fmt.Sprintf("netns %d", site.Netns)}
	right := m.list([]string{
		"by " + m.group.String() + m.hiddenSort(), fmt.Sprintf("%.1f s", m.lasting().Seconds()), m.newest.End.Format("15:04:05"),
	}, m.width)
	return spread(m.list(left, m.width-width(right)-2), right, m.width)
}

// hiddenSort names what rows are sorted by where no head on the screen has the arrow.
func (m *Model) hiddenSort() string {
	if slices.ContainsFunc(m.layout(), func(c placed) bool { return c.column != nil && m.arrow(c.column) != "" }) {
		return ""
	}
	return ", " + m.sort.field
}

// lasting is how long the window that is shown really is.
func (m *Model) lasting() time.Duration {
	_, truly, _ := m.clock.window(m.window)
	return truly
}

func (m *Model) totalsLine() string {
	_, truly, total := m.clock.window(m.window)
	left := []string{
		m.paint(strong, human.Rate(total.Packets, truly, human.Amount)) + " packets/s",
		m.paint(strong, human.Rate(total.Bytes, truly, human.Size)) + "/s",
		human.Counted(uint64(m.flows.Len()), "flow"),
		m.attribution(),
	}
	right := m.agreement()
	space := m.width - width(m.list(left, m.width)) - width(right) - 5
	if cells := min(slots, space); cells >= leastSpark {
		right = m.paint(good, m.totalSpark(cells)) + "  " + right
	}
	return spread(m.list(left, m.width-width(right)-2), right, m.width)
}

func (m *Model) totalSpark(cells int) string {
	values := make([]uint64, cells)
	for i := range values {
		if back := uint64(cells - 1 - i); m.clock.frame > back {
			frame := m.clock.frame - back
			values[i] = m.clock.rate(frame, m.clock.counts[frame%slots].Bytes)
		}
	}
	return spark(values)
}

// attribution is the part of flows with both ends named.
func (m *Model) attribution() string {
	if m.flows.Len() == 0 {
		return ""
	}
	text := fmt.Sprintf("owners %d %%", m.named/10)
	if n := view.Find(m.trust, view.Owners); n != nil && n.Level == view.Notable {
		return m.paint(notice, text)
	}
	return text
}

// agreement says whether the totals are the device's own.
func (m *Model) agreement() string {
	if n := view.Find(m.trust, view.Exact); n != nil {
		return m.paint(good, "✓ "+n.Brief)
	}
	if n := view.Find(m.trust, view.NotExact); n != nil {
		return m.paint(alarm, "✗ "+n.Brief)
	}
	return m.paint(faint, "filtered")
}

func (m *Model) costLine() string {
	s := m.newest.Window
	self := fmt.Sprintf("self %.1f %% CPU", s.Self.CPUPercent)
	if s.Self.BPFNsPerPacket > 0 {
		self += fmt.Sprintf(", %.0f ns/packet", s.Self.BPFNsPerPacket)
	}
	hidden := "hidden 0"
	if n := view.Find(m.trust, view.Hidden); n != nil {
		hidden = "hidden " + n.Brief + " " + n.Detail
	}
	var pieces []string
	overflow := view.Find(m.trust, view.Overflow)
	if overflow != nil {
		pieces = append(pieces, m.paint(alarm, overflow.Brief))
	}
	if m.filter != nil {
		pieces = append(pieces, m.paint(notice, strings.TrimSpace(head("/"+human.Plain(m.filter.String()), m.width/2))), fmt.Sprintf("leaves out %d", m.unmatched))
	}
	if m.unlisted > 0 {
		pieces = append(pieces, human.Counted(uint64(m.unlisted), "flow")+" not listed")
	}
	if s.SlowLost > 0 {
		pieces = append(pieces, m.paint(notice, human.Counted(s.SlowLost, "slow turn")+" lost"))
	}
	pieces = append(pieces, m.paint(faint, self), m.paint(faint, hidden))
	if overflow == nil {
		pieces = append(pieces, m.paint(faint, "overflow 0"))
	}
	return line(m.list(pieces, m.width), m.width)
}

// withHealth adds a line if something is not as it should be.
func (m *Model) withHealth(lines []string) []string {
	doubts := m.doubts()
	if len(doubts) == 0 {
		return lines
	}
	text := "! " + doubts[0]
	more := ""
	if len(doubts) > 1 {
		more = fmt.Sprintf("and %d more: ?", len(doubts)-1)
	}
	return append(lines, spread(m.paint(alarm, head(text, m.width-width(more)-2)), more, m.width))
}

// doubts are what makes the numbers worth less, the worst first.
func (m *Model) doubts() []string {
	var all []string
	if m.ended != nil {
		all = append(all, human.Plain(m.ended.Error())+"; these are the last numbers")
	}
	s := m.newest.Window
	if s == nil {
		return append(all, m.plainWarnings()...)
	}
	for _, n := range m.trust {
		switch {
		case n.About == view.NotExact:
			all = append(all, n.Brief+": the device has "+n.Detail)
		case n.About == view.Dropped:
			all = append(all, "the device dropped "+n.Detail)
		case n.About == view.Overflow:
			all = append(all, "packets in no flow: "+n.Detail)
		case n.Level == view.Alarming:
			all = append(all, n.Brief)
		}
	}
	if m.newest.Folded > 0 {
		all = append(all, fmt.Sprintf("the screen was late: it shows %s as one", human.Counted(uint64(m.newest.Folded)+1, "window")))
	}
	return append(all, m.plainWarnings()...)
}

func (m *Model) plainWarnings() []string {
	var all []string
	for _, w := range m.warnings {
		all = append(all, human.Plain(w))
	}
	return all
}

// list joins the pieces that there is room for; empty ones are none.
func (m *Model) list(pieces []string, columns int) string {
	text := ""
	for _, piece := range pieces {
		if piece == "" {
			continue
		}
		next := piece
		if text != "" {
			next = text + " · " + piece
		}
		if text != "" && width(next) > columns {
			break
		}
		text = next
	}
	return text
}
