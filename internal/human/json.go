package human

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// NewJSON returns an encoder whose documents say exactly what they are given, and can be looked at: what
// does not print is written as \u and its number, which JSON leaves open but for the first 32 characters.
// Nobody puts these documents into a web page unescaped, so < and & stay as they are.
func NewJSON(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(printed{w})
	enc.SetEscapeHTML(false)
	return enc
}

// printed is behind an encoder, which hands it whole documents: outside of their strings all is ASCII.
type printed struct{ io.Writer }

func (w printed) Write(document []byte) (int, error) {
	if bytes.IndexFunc(document, hidden) < 0 {
		return w.Writer.Write(document)
	}
	safe := make([]byte, 0, len(document)+64)
	for i := 0; i < len(document); {
		r, n := utf8.DecodeRune(document[i:])
		switch high, low := utf16.EncodeRune(r); {
		case !hidden(r):
			safe = append(safe, document[i:i+n]...)
		case r > 0xffff:
			safe = fmt.Appendf(safe, `\u%04x\u%04x`, high, low)
		default:
			safe = fmt.Appendf(safe, `\u%04x`, r)
		}
		i += n
	}
	if _, err := w.Writer.Write(safe); err != nil {
		return 0, err
	}
	return len(document), nil
}

// hidden is what may not stand in a document as it is; the encoder has seen to strings below 0x20, and
// puts line breaks between them.
func hidden(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }
