package export

import (
	"encoding/json"
	"io"

	"github.com/lotrace/lotrace/internal/model"
)

// jsonEncoder writes one document on one line, so that a file of many is JSON lines too.
type jsonEncoder struct{ Options }

func (e jsonEncoder) Encode(w io.Writer, s *model.Snapshot) error {
	sel, err := e.pick(s)
	if err != nil {
		return err
	}
	doc := document{summary: summarize(s, sel.hidden), Rows: flowRows(sel.flows)}
	if e.By == "service" {
		doc.Rows = serviceRows(sel.services)
	}
	return newJSON(w).Encode(doc)
}

// newJSON writes text as it is: nobody puts these documents into a web page unescaped.
func newJSON(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}
