package testkit

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/lotrace/lotrace/internal/services"
)

// OpenTerminal makes a pseudo-terminal, as services.OpenTerminal does, that is closed with the test. It skips the
// test where there are none.
func OpenTerminal(tb testing.TB, columns, lines uint16) (typist, program *os.File) {
	tb.Helper()
	typist, program, err := services.OpenTerminal(columns, lines)
	if none := new(fs.PathError); errors.As(err, &none) {
		tb.Skipf("no pseudo-terminals here: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { typist.Close() })
	tb.Cleanup(func() { program.Close() })
	return typist, program
}
