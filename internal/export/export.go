// Package export writes snapshots: as tables for people, as JSON, JSON lines and CSV for programs.
// One encoder a file; none of them changes the snapshot it is given.
package export

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/stats"
)

// Options say what of a snapshot is shown, and how. The zero value shows every flow, plainly.
type Options struct {
	By    string // "flow" or "service"; "" is "flow"
	Sort  string // as stats.SortFlows takes it
	Limit int    // rows at most; 0: no limit
	Color bool   // ANSI colours, table and wide only
	Width int    // terminal columns, table only; 0: unknown, nothing is cut
}

// Encoder writes one snapshot at a time, whole, and keeps nothing between two. Errors are those of
// the writer.
type Encoder interface {
	Encode(w io.Writer, s *model.Snapshot) error
}

// formats is all there is to know about --output.
var formats = []struct {
	name    string
	limit   int
	encoder func(Options) Encoder
}{
	{"table", 20, func(o Options) Encoder { return tableEncoder{Options: o} }},
	{"wide", 20, func(o Options) Encoder { return tableEncoder{Options: o, wide: true} }},
	{"json", 0, func(o Options) Encoder { return jsonEncoder{o} }},
	{"jsonl", 0, func(o Options) Encoder { return jsonlEncoder{o} }},
	{"csv", 0, func(o Options) Encoder { return csvEncoder{o} }},
	{"markdown", 20, func(o Options) Encoder { return markdownEncoder{o} }},
}

// views are the values of Options.By.
var views = []string{"flow", "service"}

// New returns the encoder of a format. It fails if format, o.By or o.Sort is unknown.
func New(format string, o Options) (Encoder, error) {
	i := slices.Index(Formats(), format)
	if i < 0 {
		return nil, fmt.Errorf("unknown output format %q: need one of %s", format, strings.Join(Formats(), ", "))
	}
	if o.By == "" {
		o.By = "flow"
	}
	if !slices.Contains(views, o.By) {
		return nil, fmt.Errorf("unknown view %q: need one of %s", o.By, strings.Join(views, ", "))
	}
	if err := stats.CheckSort(o.By, o.Sort); err != nil {
		return nil, err
	}
	return formats[i].encoder(o), nil
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

// selection is the rows of one view, sorted and cut to the limit. Only one of the two is set.
type selection struct {
	flows    []model.Flow
	services []model.Service
	hidden   int // rows the limit cut off
}

func (o Options) pick(s *model.Snapshot) (selection, error) {
	var sel selection
	var err error
	if o.By == "service" {
		services := stats.Services(s.Flows)
		sel.services, err = stats.SortServices(services, o.Sort, o.Limit)
		sel.hidden = len(services) - len(sel.services)
	} else {
		sel.flows, err = stats.SortFlows(s.Flows, o.Sort, o.Limit)
		sel.hidden = len(s.Flows) - len(sel.flows)
	}
	return sel, err
}
