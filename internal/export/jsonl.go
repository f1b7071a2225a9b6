package export

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// jsonlEncoder writes one object a line: the rows, then a summary. Each names its kind first.
type jsonlEncoder struct{ request }

// summaryLine hides the summary's own kind, which stands further down.
type summaryLine struct {
	Kind string `json:"kind"`
	summary
}

func (e jsonlEncoder) Encode(w io.Writer, s *model.Window) error {
	sel, err := e.pick(s)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	var object bytes.Buffer
	enc := human.NewJSON(&object)
	for row := range sel.rows() {
		object.Reset()
		if err := enc.Encode(row); err != nil {
			return err
		}
		// Every row has fields, so behind its brace there is room for one more.
		fmt.Fprintf(out, `{"kind":"%s",`, e.layout.Name)
		if _, err := out.Write(object.Bytes()[1:]); err != nil {
			return err
		}
	}
	if err := human.NewJSON(out).Encode(summaryLine{"summary", summarize(s, sel.limited())}); err != nil {
		return err
	}
	return out.Flush()
}
