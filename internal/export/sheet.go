package export

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
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
	if d := s.Device; d != nil {
		title = append(title, agreement(s))
		if d.Dropped > 0 {
			title = append(title, note{text: human.Commas(d.Dropped) + " dropped", alarm: true})
		}
	}
	if n := errorsIn(s); n > 0 {
		title = append(title, note{text: human.Counted(n, "error"), alarm: true})
	}
	if s.Overflow != (model.Count{}) {
		title = append(title, overflowNote(s))
	}
	if st := s.Stages; st != nil {
		n := missing(st)
		title = append(title, note{line: true, alarm: n > 0, text: fmt.Sprintf("egress %s, ingress %s, missing %s",
			human.Counted(st.Egress.Packets, "packet"), human.Counted(st.Ingress.Packets, "packet"), strings.TrimPrefix(human.Signed(n), "+"))})
	}
	title = append(title, whoseNotes(s)...)
	if s.Unmeasured > 0 {
		title = append(title, note{alarm: true, text: "turns of " + human.Counted(s.Unmeasured, "flow") + " not followed"})
	}
	if s.Untold > 0 {
		title = append(title, note{line: true, alarm: true, text: "troubles of " + human.Counted(s.Untold, "flow") + " not counted"})
	}
	return title
}

// agreement says whether all that was counted is what the device counted, and how much that is more
// if not.
func agreement(s *model.Window) note {
	if s.Device.Agrees {
		return note{text: "exact"}
	}
	all := s.Totals
	all.Add(s.Hidden.Count)
	return note{line: true, alarm: true, text: fmt.Sprintf("not exact: device %s packets, %s bytes",
		human.Signed(int64(s.Device.Packets-all.Packets)), human.Signed(int64(s.Device.Bytes-all.Bytes)))}
}

// whoseNotes say how many flows have both ends named, unless all have, and what is left out.
func whoseNotes(s *model.Window) []note {
	var notes []note
	if a := attribute(s.Flows); a.Both < a.Flows {
		// Rounded down: 100 % would be a lie.
		tenths := a.Both * 1000 / a.Flows
		notes = append(notes, note{text: fmt.Sprintf("owners: %d.%d %% both", tenths/10, tenths%10)})
	}
	if h := s.Hidden; h.Flows > 0 {
		notes = append(notes, note{text: fmt.Sprintf("hidden: %s, %s (lotrace itself)", human.Counted(uint64(h.Flows), "flow"), human.Size(h.Bytes))})
	}
	if len(notes) > 0 {
		notes[0].line = true
	}
	return notes
}

// overflowNote says what is in no flow, the most frequent cause first.
func overflowNote(s *model.Window) note {
	causes := slices.SortedFunc(maps.Keys(s.ByCause), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.ByCause[b].Packets, s.ByCause[a].Packets), strings.Compare(a, b))
	})
	for i, c := range causes {
		causes[i] = human.Plain(c) + " " + human.Commas(s.ByCause[c].Packets)
	}
	text := fmt.Sprintf("overflow %s, %s in no flow", human.Counted(s.Overflow.Packets, "packet"), human.Size(s.Overflow.Bytes))
	if len(causes) > 0 {
		text += ": " + strings.Join(causes, ", ")
	}
	return note{line: true, alarm: true, text: text}
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
