package main

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/outfile"
	"github.com/lotrace/lotrace/internal/tui"
)

// keeper writes what is on a screen into new files, as the user who asked sudo for the program.
type keeper struct{ user *outfile.User }

// write makes a file in the working directory and says which.
func (k keeper) write(e tui.Export) (where string, err error) {
	encode, err := encoderOf(e)
	if err != nil {
		return "", err
	}
	name := "lotrace-" + time.Now().Format("20060102-150405")
	where, err = k.user.Write(name, "."+e.Format, encode)
	if full, absErr := filepath.Abs(where); err == nil && absErr == nil {
		where = full
	}
	return where, err
}

func encoderOf(e tui.Export) (func(io.Writer) error, error) {
	if e.Format == "filter" {
		return func(w io.Writer) error {
			_, err := fmt.Fprintln(w, e.Filter)
			return err
		}, nil
	}
	encoder, err := export.New(e.Format, export.Options{By: e.By, Sort: e.Sort})
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error { return encoder.Encode(w, e.Window) }, nil
}
