package export

import (
	"bufio"
	"fmt"
	"io"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

// pictureEncoder draws how long services took to answer.
type pictureEncoder struct{ Options }

// NewPicture returns an encoder that draws a histogram of turns for each of the o.Limit (0: all)
// services with the most of them, and says where their time went and what went wrong. Of o it takes Limit,
// SlowLimit, Color and Width.
func NewPicture(o Options) Encoder { return pictureEncoder{o} }

func (e pictureEncoder) Encode(w io.Writer, s *model.Window) error {
	roll := view.NewRoll(view.Service)
	roll.Add(s.Flows)
	rows, err := roll.Rows("turns", 0)
	if err != nil {
		return err
	}
	var services, hidden []*view.Row
	for v := range rows.All() {
		if v.Turn.Count > 0 || len(healthLines(v)) > 0 {
			services = append(services, v)
		}
	}
	if e.Limit > 0 && e.Limit < len(services) {
		services, hidden = services[:e.Limit], services[e.Limit:]
	}
	out := bufio.NewWriter(w)
	table := tableEncoder{request: request{Options: e.Options}}
	for _, line := range lines(titleOf(s), func(alarm string) string { return table.paint(red, alarm) }) {
		fmt.Fprintln(out, line)
	}
	for _, v := range services {
		e.draw(out, s, v)
	}
	switch {
	case len(services) == 0:
		fmt.Fprintf(out, "\n%s\n", noAnswers(s))
	case len(hidden) > 0:
		fmt.Fprintf(out, "\n… and %s%s (-n 0 shows all)\n", human.Counted(uint64(len(hidden)), "more service"), e.ailing(hidden))
	}
	if err := table.drawSlow(out, s); err != nil {
		return err
	}
	return out.Flush()
}

// noAnswers says why there is no service to draw.
func noAnswers(s *model.Window) string {
	const none = "no request was answered on "
	switch {
	case s.Flows.Len() > 0 && s.Origin.Filter != "":
		return none + "the flows that match " + human.Plain(s.Origin.Filter) + " in this window"
	case s.Flows.Len() == 0 && (s.Origin.Filter != "" || s.Hidden.Packets > 0):
		return human.NoFlows(s)
	}
	return none + human.Plain(s.Origin.Site().Device) + " in this window"
}

func (e pictureEncoder) draw(w io.Writer, s *model.Window, v *view.Row) {
	fmt.Fprintf(w, "\n%s  %s %s  %s flows  %s turns  %s/s\n", human.Plain(v.Name), v.Proto, human.Address(&v.Server),
		human.Commas(uint64(v.Flows)), human.Commas(v.Turn.Count), human.Frequency(v.Turn.Count, s.Duration))
	for _, kind := range []struct {
		name string
		of   *model.Latency
	}{{"turn", &v.Turn}, {"response", &v.Response}, {"connect", &v.Connect}} {
		if kind.of.Count == 0 {
			continue
		}
		fmt.Fprintf(w, "%-8s  min %s  p50 %s  p90 %s  p99 %s  max %s\n", kind.name, human.Latency(kind.of.Min),
			human.Latency(kind.of.Quantile(.5)), human.Latency(kind.of.Quantile(.9)), human.Latency(kind.of.Quantile(.99)),
			human.Latency(kind.of.Max))
	}
	if v.Turn.Count > 0 {
		for _, line := range human.Bars(&v.Turn, e.room()) {
			fmt.Fprintln(w, line)
		}
	}
	e.parts(w, v)
	e.drawErrors(w, v)
}

// room is how many columns a bar may take.
func (e pictureEncoder) room() int {
	const texts = 38 // of a line without its bar
	if e.Width == 0 {
		return 40
	}
	return max(10, min(60, e.Width-texts))
}
