package export

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// TraceEncoder writes what happens, line by line. Errors are those of the writer.
type TraceEncoder interface {
	Begin(w io.Writer) error
	Event(w io.Writer, e *model.Traced) error
	Gap(w io.Writer, g *model.TraceGap) error // what a limit hid since the line before
	End(w io.Writer, s *model.TraceSummary) error
}

// TraceOptions say how it is written.
type TraceOptions struct {
	Parts  bool // where the time of turns went was measured
	Errors bool // what was sent again or dropped was looked for
	Hex    bool // payload as hexadecimal digits
}

// NewTrace returns the encoder of one of TraceFormats.
func NewTrace(format string, o TraceOptions) (TraceEncoder, error) {
	switch format {
	case "table":
		return traceText{o}, nil
	case "jsonl":
		return traceJSON{o}, nil
	}
	return nil, fmt.Errorf("unknown output format %q: need one of %s", format, strings.Join(TraceFormats(), ", "))
}

// TraceFormats lists the names NewTrace takes.
func TraceFormats() []string { return []string{"table", "jsonl"} }

// traceText is for people: a line a turn, its payload below.
type traceText struct{ TraceOptions }

// The columns of a line. Names that are longer push the rest to the right.
const (
	traceTime  = "15:04:05.000000"
	traceEnds  = 40
	traceField = 10
	tracePart  = 9
)

func (e traceText) Begin(w io.Writer) error {
	line := traceLine("TIME", "CLIENT → SERVER")
	line += cells(traceField, "REQUEST", "ANSWER", "TURN", "RESPONSE")
	if e.Parts {
		line += cells(tracePart, "DELIVERY", "WAIT", "THINK")
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

func (e traceText) Event(w io.Writer, t *model.Traced) error {
	line := traceLine(t.Time.Format(traceTime), human.End(&t.Flow.Client)+" → "+human.End(&t.Flow.Server))
	if t.Conn != nil {
		_, err := fmt.Fprintln(w, line+"  "+connText(t.Conn))
		return err
	}
	turn := t.Turn
	line += cells(traceField, octets(turn.RequestBytes), octets(turn.AnswerBytes),
		human.Latency(turn.Took), unlessZero(turn.Response, human.Latency))
	if p := turn.Parts; e.Parts && p != nil {
		line += cells(tracePart, unlessZero(p.Delivery, human.Latency), human.Latency(p.Wait), human.Latency(p.Think))
	} else if e.Parts {
		line += cells(tracePart, "-", "-", "-")
	}
	line += healthText(turn) + "\n" + e.payload(">", turn.Request) + e.payload("<", turn.Answer)
	_, err := io.WriteString(w, line)
	return err
}

func (e traceText) Gap(w io.Writer, g *model.TraceGap) error {
	var parts []string
	if g.Turns > 0 {
		parts = append(parts, human.Counted(g.Turns, "more turn")+", the longest "+human.Latency(g.Longest))
	}
	if g.Conns > 0 {
		parts = append(parts, human.Counted(g.Conns, "more line")+" about connections")
	}
	_, err := fmt.Fprintf(w, "… and %s (-n 0 shows all)\n", strings.Join(parts, ", and "))
	return err
}

// End says something only if not all was shown.
func (e traceText) End(w io.Writer, s *model.TraceSummary) error {
	c := &s.Counts
	if c.LimitedTurns+c.LimitedConns > 0 {
		fmt.Fprintf(w, "shown: %s of %s", human.Commas(c.ShownTurns), human.Counted(c.Turns, "turn"))
		if c.Conns > 0 {
			fmt.Fprintf(w, ", %s of %s about connections", human.Commas(c.ShownConns), human.Counted(c.Conns, "line"))
		}
		fmt.Fprintln(w)
	}
	if lost := s.Samples.Seen - s.Samples.Taken; lost > 0 {
		fmt.Fprintf(w, "too many at once: %s of %s in which something begins or ends not seen (budget %s, buffer full %s, failed %s)\n",
			human.Commas(lost), human.Counted(s.Samples.Seen, "packet"),
			human.Commas(s.Samples.Budget), human.Commas(s.Samples.Full), human.Commas(s.Samples.Failed))
	}
	if c.Forgotten > 0 {
		fmt.Fprintf(w, "too many at once: %s forgotten\n", human.Counted(c.Forgotten, "request"))
	}
	return nil
}

func traceLine(time, ends string) string {
	return fmt.Sprintf("%-*s %-*s", len(traceTime), time, traceEnds, ends)
}

func cells(width int, all ...string) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, " %*s", width, c)
	}
	return b.String()
}

// octets are exact as long as there is room for them.
func octets(n uint64) string {
	if n == 0 {
		return "-"
	}
	return human.Amount(n) + " B"
}

func healthText(t *model.Turn) string {
	s := ""
	if t.Retransmits > 0 {
		s += "  " + human.Counted(t.Retransmits, "retransmission")
	}
	if t.Drops > 0 {
		s += "  " + human.Counted(t.Drops, "drop")
	}
	return s
}

func connText(c *model.ConnEvent) string {
	s := string(c.Change)
	if c.Change == model.ConnClosed || c.Change == model.ConnReset {
		s += " by client"
		if c.ByServer {
			s = string(c.Change) + " by server"
		}
	}
	if c.Lasted > 0 {
		s += " after " + human.Latency(c.Lasted)
	}
	if c.Unanswered > 0 {
		s += ", " + octets(c.Unanswered) + " unanswered"
	}
	return s
}

// payload is what a message begins with, nothing in it fit to move a cursor.
func (e traceText) payload(mark string, p []byte) string {
	switch {
	case len(p) == 0:
		return ""
	case !e.Hex:
		return "    " + mark + " " + quoteBytes(p) + "\n"
	}
	var b strings.Builder
	for line := range strings.Lines(hex.Dump(p)) {
		b.WriteString("    " + mark + " " + line)
	}
	return b.String()
}

// quoteBytes writes bytes as Go does within quotes, but for the quotes.
func quoteBytes(p []byte) string {
	q := strconv.Quote(string(p))
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
