package export

import (
	"fmt"
	"io"
	"slices"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

func slowTitle(s *model.Window) string {
	return "turns of " + human.Latency(s.SlowFrom) + " and more, newest first"
}

// slowSheet lays out a window's slow turns, newest first; limit 0 is all of them.
func slowSheet(s *model.Window, limit int) sheet {
	shown := s.Slow
	if limit > 0 {
		shown = shown[:min(limit, len(shown))]
	}
	var sh sheet
	columns := slowColumns(slices.ContainsFunc(shown, func(t model.SlowTurnRow) bool { return t.Parts != nil }))
	putHeads(&sh, columns)
	for i := range shown {
		putRow(&sh, columns, &shown[i])
	}
	sh.dim = make([]bool, len(sh.rows))
	sh.more = slowRest(s, s.Slow[len(shown):])
	return sh
}

func slowColumns(parts bool) []column[model.SlowTurnRow] {
	columns := []column[model.SlowTurnRow]{
		number("TIME", func(t *model.SlowTurnRow) string { return t.Time.Format("15:04:05.000") }), // never cut
		text("CLIENT", func(t *model.SlowTurnRow) string { return human.End(&t.Client) }),
		text("SERVER", func(t *model.SlowTurnRow) string { return human.End(&t.Server) }),
		number("TURN", func(t *model.SlowTurnRow) string { return human.Latency(t.Turn) }),
	}
	if !parts {
		return columns
	}
	part := func(head string, of func(*model.SlowParts) string) {
		c := number(head, func(t *model.SlowTurnRow) string {
			if t.Parts == nil {
				return "-"
			}
			return of(t.Parts)
		})
		c.optional = true
		columns = append(columns, c)
	}
	part("DELIVERY", func(p *model.SlowParts) string { return unlessZero(p.Delivery, human.Latency) })
	part("WAIT", func(p *model.SlowParts) string { return human.Latency(p.Wait) })
	part("THINK", func(p *model.SlowParts) string { return human.Latency(p.Think) })
	return columns
}

// slowRest says what the limit hid and what was lost, of which none is longer than the longest told; "" for
// neither.
func slowRest(s *model.Window, hidden []model.SlowTurnRow) string {
	rest := ""
	if len(hidden) > 0 {
		longest := slices.MaxFunc(hidden, func(a, b model.SlowTurnRow) int { return int(a.Turn - b.Turn) })
		rest = fmt.Sprintf("… and %s more, the longest %s (-n 0 shows all)", human.Commas(uint64(len(hidden))), human.Latency(longest.Turn))
	}
	if s.SlowLost > 0 {
		if rest != "" {
			rest += "\n"
		}
		rest += "too many at once to tell each: " + human.Counted(s.SlowLost, "more turn") + ", none longer than the longest here"
	}
	if rest == "" && len(s.Slow) == 0 {
		rest = "none in this window"
	}
	return rest
}

// drawSlow adds the slow turns below what is there already, if they were asked for.
func (e tableEncoder) drawSlow(w io.Writer, s *model.Window) error {
	if s.SlowFrom == 0 {
		return nil
	}
	sh := slowSheet(s, e.SlowLimit)
	fmt.Fprintf(w, "\n%s\n", slowTitle(s))
	if len(sh.rows) > 0 {
		if e.Width > 0 {
			narrow(&sh, e.Width)
		}
		if err := e.draw(w, &sh); err != nil {
			return err
		}
	}
	if sh.more != "" {
		fmt.Fprintln(w, sh.more)
	}
	return nil
}
