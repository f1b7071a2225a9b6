package export

import (
	"io"
	"slices"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// jsonEncoder writes one document on one line, so that a file of many is JSON lines too.
type jsonEncoder struct{ request }

func (e jsonEncoder) Encode(w io.Writer, s *model.Window) error {
	sel, err := e.pick(s)
	if err != nil {
		return err
	}
	rows := slices.AppendSeq([]any{}, sel.rows()) // [] where there is none, not null
	return human.NewJSON(w).Encode(document{summarize(s, sel.limited()), rows})
}
