package export

import (
	"bufio"
	"io"

	"github.com/lotrace/lotrace/internal/model"
)

// jsonlEncoder writes one object a line: the rows, then a summary. Each names its kind first.
type jsonlEncoder struct{ Options }

type flowLine struct {
	Kind string `json:"kind"`
	flowRow
}

type serviceLine struct {
	Kind string `json:"kind"`
	serviceRow
}

// summaryLine hides the summary's own kind, which stands further down.
type summaryLine struct {
	Kind string `json:"kind"`
	summary
}

func (e jsonlEncoder) Encode(w io.Writer, s *model.Snapshot) error {
	sel, err := e.pick(s)
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(w)
	enc := newJSON(buf)
	for i := range sel.flows {
		if err := enc.Encode(flowLine{"flow", newFlowRow(&sel.flows[i])}); err != nil {
			return err
		}
	}
	for i := range sel.services {
		if err := enc.Encode(serviceLine{"service", newServiceRow(&sel.services[i])}); err != nil {
			return err
		}
	}
	if err := enc.Encode(summaryLine{"summary", summarize(s, sel.hidden)}); err != nil {
		return err
	}
	return buf.Flush()
}
