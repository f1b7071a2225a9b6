package export

import (
	"fmt"
	"io"
	"strings"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/view"
)

// margin is what stands before the lines about a service that have no name of their own.
const margin = "          "

// parts draws where the time of a service's turns went.
func (e pictureEncoder) parts(w io.Writer, v *view.Row) {
	if lines := human.Parts(&v.Breakdown, v.Turn.Count, e.room()); len(lines) > 0 {
		fmt.Fprintf(w, "%-8s  %s\n", "parts", strings.Join(lines, "\n"+margin))
	}
}

// drawErrors names and counts what went wrong at a service.
func (e pictureEncoder) drawErrors(w io.Writer, v *view.Row) {
	label := "wrong"
	for _, wrong := range healthLines(v) {
		if e.Width > 0 {
			wrong = cut(wrong, e.Width-len(margin))
		}
		fmt.Fprintf(w, "%-8s  %s\n", label, tableEncoder{request: request{Options: e.Options}}.paint(red, wrong))
		label = ""
	}
}

// ailing says at how many of the services that a limit hid something went wrong; "" for none.
func (e pictureEncoder) ailing(hidden []*view.Row) string {
	n := uint64(0)
	for _, v := range hidden {
		if len(healthLines(v)) > 0 {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return tableEncoder{request: request{Options: e.Options}}.paint(red, ", something wrong at "+human.Commas(n))
}

func healthLines(v *view.Row) []string {
	return human.HealthLines(human.Plain(v.Name), v.Health, v.AcceptQueue)
}
