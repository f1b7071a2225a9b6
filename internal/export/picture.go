package export

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/stats"
)

// pictureEncoder draws how long services took to answer.
type pictureEncoder struct{ Options }

// NewPicture returns an encoder that draws a histogram of turns for each of the o.Limit (0: all)
// services with the most of them, and says where their time went and what went wrong. Of o it takes Limit,
// SlowLimit, Color and Width.
func NewPicture(o Options) Encoder { return pictureEncoder{o} }

func (e pictureEncoder) Encode(w io.Writer, s *model.Snapshot) error {
	services, _, err := stats.ServiceView.Rows(s.Flows, "turns", 0)
	if err != nil {
		return err
	}
	services = slices.DeleteFunc(services, func(v model.Service) bool { return v.Turn.Count == 0 && len(wrongsOf(&v)) == 0 })
	var hidden []model.Service
	if e.Limit > 0 && e.Limit < len(services) {
		services, hidden = services[:e.Limit], services[e.Limit:]
	}
	out := bufio.NewWriter(w)
	table := tableEncoder{request: request{Options: e.Options}}
	for _, line := range lines(titleOf(s), func(alarm string) string { return table.paint(red, alarm) }) {
		fmt.Fprintln(out, line)
	}
	for i := range services {
		e.draw(out, s, &services[i])
	}
	switch {
	case len(services) == 0:
		fmt.Fprintf(out, "\nno request was answered on %s in this window\n", plain(s.Origin.Device))
	case len(hidden) > 0:
		fmt.Fprintf(out, "\n… and %s%s (-n 0 shows all)\n", counted(uint64(len(hidden)), "more service"), e.ailing(hidden))
	}
	if err := table.drawSlow(out, s); err != nil {
		return err
	}
	return out.Flush()
}

func (e pictureEncoder) draw(w io.Writer, s *model.Snapshot, v *model.Service) {
	fmt.Fprintf(w, "\n%s  %s %s  %s flows  %s turns  %s/s\n", plain(v.Name), v.Proto, address(&v.Server),
		commas(uint64(v.Flows)), commas(v.Turn.Count), frequency(v.Turn.Count, s.Duration))
	for _, kind := range []struct {
		name string
		of   *model.Latency
	}{{"turn", &v.Turn}, {"response", &v.Response}, {"connect", &v.Connect}} {
		if kind.of.Count == 0 {
			continue
		}
		fmt.Fprintf(w, "%-8s  min %s  p50 %s  p90 %s  p99 %s  max %s\n", kind.name, latencyText(kind.of.Min),
			latencyText(kind.of.Quantile(.5)), latencyText(kind.of.Quantile(.9)), latencyText(kind.of.Quantile(.99)),
			latencyText(kind.of.Max))
	}
	if v.Turn.Count > 0 {
		e.bars(w, &v.Turn)
	}
	e.parts(w, v)
	e.wrongs(w, v)
}

// room is how many columns a bar may take.
func (e pictureEncoder) room() int {
	const texts = 38 // of a line without its bar
	if e.Width == 0 {
		return 40
	}
	return max(10, min(60, e.Width-texts))
}

// bars draws a line per half octave, from the first with a turn to the last.
func (e pictureEncoder) bars(w io.Writer, l *model.Latency) {
	const step = 4 // buckets
	counts := make([]uint64, len(l.Histogram)/step)
	for bucket, n := range l.Histogram {
		counts[bucket/step] += n
	}
	first := slices.IndexFunc(counts, func(n uint64) bool { return n > 0 })
	last := len(counts) - 1
	for counts[last] == 0 {
		last--
	}
	most := slices.Max(counts)
	room := e.room()
	for i := first; i <= last; i++ {
		if empty := slices.IndexFunc(counts[i:], func(n uint64) bool { return n > 0 }); empty > 2 {
			fmt.Fprintln(w, "        ⋮")
			i += empty
		}
		from, _ := model.BucketBounds(i * step)
		_, to := model.BucketBounds(i*step + step - 1)
		fmt.Fprintf(w, "%8s – %-8s %s %9s %5.1f %%\n", latencyText(from), latencyText(to),
			pad(bar(float64(counts[i])/float64(most)*float64(room)), room), amount(counts[i]),
			100*float64(counts[i])/float64(l.Count))
	}
}

// bar draws length columns, in eighths; what is there at all is visible.
func bar(length float64) string {
	eighths := int(length*8 + 0.5)
	if eighths == 0 && length > 0 {
		eighths = 1
	}
	b := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		b += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return b
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-len([]rune(s))))
}
