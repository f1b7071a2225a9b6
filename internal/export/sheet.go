package export

import (
	"fmt"
	"strings"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

// sheet is what people get to see, before anything is drawn.
type sheet struct {
	title []note
	heads []string
	texts []bool // per column: left-aligned text; numbers otherwise
	rows  [][]string
	dim   []bool // per row
	more  string // what the limit hid, or why there is no row; "" for neither

	optional int    // so many of the last columns may be left out
	legend   string // explains what is drawn in the rows; "" if nothing is
}

// note is a piece of a title line; an alarm is what nobody should overlook.
type note struct {
	text  string
	alarm bool
	line  bool // begins a line of its own
}

// newSheet lays out the rows r asks for.
func newSheet(r request, s *model.Window, wide bool) (sheet, error) {
	sel, err := r.pick(s)
	if err != nil {
		return sheet{}, err
	}
	sh := sheet{title: titleOf(s)}
	sel.fill(&sh, wide)
	switch {
	case sel.limited() > 0:
		sh.more = fmt.Sprintf("… and %s more (-n 0 shows all)", human.Commas(uint64(sel.limited())))
	case len(sh.rows) == 0:
		sh.more = human.NoFlows(s)
	}
	return sh, nil
}

// titleOf says what was watched and how far the numbers can be trusted.
func titleOf(s *model.Window) []note {
	title := []note{
		{text: human.Plain(s.Origin.Site().Device)},
		{text: human.Span(s.Duration)},
		{text: human.Counted(s.Totals.Packets, "packet")},
		{text: human.Size(s.Totals.Bytes)},
		{text: human.Counted(uint64(s.Flows.Len()), "flow")},
	}
	if s.Origin.Filter != "" {
		title = append(title, note{text: "filter " + human.Plain(s.Origin.Filter)})
	}
	trust := trustNotes(s)
	title = append(title, trust.device...)
	if n := s.Flows.Errors(); n > 0 {
		title = append(title, note{text: human.Counted(n, "error"), alarm: true})
	}
	title = append(title, trust.overflow...)
	if st := s.Stages; st != nil {
		n := missing(st)
		title = append(title, note{line: true, alarm: n > 0, text: fmt.Sprintf("egress %s, ingress %s, missing %s",
			human.Counted(st.Egress.Packets, "packet"), human.Counted(st.Ingress.Packets, "packet"), strings.TrimPrefix(human.Signed(n), "+"))})
	}
	return append(title, trust.rest...)
}

// trusted is how far the numbers can be trusted, by where in the title it stands.
type trusted struct{ device, overflow, rest []note }

func trustNotes(s *model.Window) (t trusted) {
	for _, n := range view.Trust(s) {
		drawn := note{alarm: n.Level == view.Alarming, text: n.Brief}
		switch n.About {
		case view.Exact, view.Dropped:
			t.device = append(t.device, drawn)
		case view.NotExact:
			drawn.line, drawn.text = true, n.Brief+": device "+n.Detail
			t.device = append(t.device, drawn)
		case view.Overflow:
			drawn.line, drawn.text = true, n.Brief+" in no flow"
			if n.Detail != "" {
				drawn.text += ": " + n.Detail
			}
			t.overflow = append(t.overflow, drawn)
		case view.Owners:
			drawn.line, drawn.text = true, n.Brief+": "+n.Detail+" both"
			t.rest = append(t.rest, drawn)
		case view.Hidden:
			drawn.line, drawn.text = len(t.rest) == 0, "hidden: "+n.Brief+", "+n.Detail+" (lotrace itself)"
			t.rest = append(t.rest, drawn)
		case view.Unmeasured:
			t.rest = append(t.rest, drawn)
		case view.Uncounted:
			drawn.line = true
			t.rest = append(t.rest, drawn)
		}
	}
	return t
}

// lines joins notes into title lines; mark shows an alarm.
func lines(title []note, mark func(string) string) []string {
	var out []string
	for i, n := range title {
		text := n.text
		if n.alarm {
			text = mark(text)
		}
		if i == 0 || n.line {
			out = append(out, text)
		} else {
			out[len(out)-1] += " · " + text
		}
	}
	return out
}
