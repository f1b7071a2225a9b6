// Package export writes windows: as tables for people, as JSON, JSON lines and CSV for programs.
// One encoder a file; none of them changes the window it is given.
package export

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

// Options say what of a window is shown, and how. The zero value shows everything, plainly.
type Options struct {
	By    string // one of Views; "": what suits the format: pairs for people, flows for programs
	Sort  string // one of SortFields that the view has, reversed behind a "-"; "": by bytes
	Limit int    // rows at most; 0: no limit
	Color bool   // ANSI colours, table and wide only
	Width int    // terminal columns, table only; 0: unknown, nothing is cut or left out

	SlowLimit int // slow turns at most, for people; 0: no limit
}

// Encoder writes one window at a time, whole, and keeps nothing between two. Errors are those of
// the writer.
type Encoder interface {
	Encode(w io.Writer, s *model.Window) error
}

// request is Options with the layout of the view they name.
type request struct {
	Options
	layout *layout
	roll   *view.Roll // keeps its memory from one window to the next
}

// formats is all there is to know about --output. People want to know who talks to whom, programs
// add up for themselves.
var formats = []struct {
	name    string
	by      string
	limit   int
	encoder func(request) Encoder
}{
	{"table", "pair", 20, func(r request) Encoder { return tableEncoder{request: r} }},
	{"wide", "pair", 20, func(r request) Encoder { return tableEncoder{request: r, wide: true} }},
	{"json", "flow", 0, func(r request) Encoder { return jsonEncoder{r} }},
	{"jsonl", "flow", 0, func(r request) Encoder { return jsonlEncoder{r} }},
	{"csv", "flow", 0, func(r request) Encoder { return csvEncoder{r} }},
	{"markdown", "pair", 20, func(r request) Encoder { return markdownEncoder{r} }},
}

// New returns the encoder of a format. It fails if format, o.By or o.Sort is unknown.
func New(format string, o Options) (Encoder, error) {
	i := slices.Index(Formats(), format)
	if i < 0 {
		return nil, fmt.Errorf("unknown output format %q: need one of %s", format, strings.Join(Formats(), ", "))
	}
	by := cmp.Or(o.By, formats[i].by)
	j := slices.Index(Views(), by)
	if j < 0 {
		return nil, fmt.Errorf("unknown view %q: need one of %s", by, strings.Join(Views(), ", "))
	}
	if err := layouts[j].CheckSort(o.Sort); err != nil {
		return nil, err
	}
	return formats[i].encoder(request{o, &layouts[j], view.NewRoll(layouts[j].By)}), nil
}

// Formats lists the names New takes.
func Formats() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return names
}

// DefaultLimit is how many rows a format shows when nobody says otherwise; 0 is all of them.
func DefaultLimit(format string) int {
	for _, f := range formats {
		if f.name == format {
			return f.limit
		}
	}
	return 0
}
