package export

import (
	"encoding/json"
	"io"
	"slices"

	"github.com/lotrace/lotrace/internal/model"
)

// jsonEncoder writes one document on one line, so that a file of many is JSON lines too.
type jsonEncoder struct{ request }

func (e jsonEncoder) Encode(w io.Writer, s *model.Snapshot) error {
	sel, err := e.pick(s)
	if err != nil {
		return err
	}
	rows := slices.AppendSeq([]any{}, sel.rows()) // [] where there is none, not null
	return newJSON(w).Encode(document{summarize(s, sel.limited()), rows})
}

// newJSON writes text as it is: nobody puts these documents into a web page unescaped.
func newJSON(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}
