package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// csvEncoder writes the fields of JSON's rows as RFC 4180, their paths joined by dots in the
// header line. Unknown is an empty field.
type csvEncoder struct{ request }

// csvColumn is one leaf of a row type.
type csvColumn struct {
	name string
	path []int // as reflect.Value.FieldByIndex takes it
}

// csvColumns flattens a row type, so that CSV has JSON's fields because it cannot have others.
func csvColumns(t reflect.Type, prefix string, path []int) []csvColumn {
	var columns []csvColumn
	for i := range t.NumField() {
		f := t.Field(i)
		name := prefix + f.Tag.Get("json")
		at := append(path[:len(path):len(path)], i)
		if f.Anonymous {
			columns = append(columns, csvColumns(f.Type, prefix, at)...)
			continue
		}
		of := f.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if of.Kind() == reflect.Struct {
			columns = append(columns, csvColumns(of, name+".", at)...)
			continue
		}
		columns = append(columns, csvColumn{name, at})
	}
	return columns
}

func (e csvEncoder) Encode(w io.Writer, s *model.Window) error {
	sel, err := e.pick(s)
	if err != nil {
		return err
	}
	columns := sel.fields()
	out := csv.NewWriter(w)
	record := make([]string, len(columns))
	for i, c := range columns {
		record[i] = c.name
	}
	if err := out.Write(record); err != nil {
		return err
	}
	for row := range sel.rows() {
		v := reflect.ValueOf(row)
		for i, c := range columns {
			record[i] = ""
			if field, err := v.FieldByIndexErr(c.path); err == nil { // else an object above it is null
				record[i] = csvField(field)
			}
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// csvField prints the kinds of leaves that rows have.
func csvField(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Map:
		return fmt.Sprint(v) // drops
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	return csvText(v.String())
}

// csvText keeps what a process calls itself from commanding a terminal, or becoming a spreadsheet's
// formula: what does not print is escaped as in tables, and an apostrophe makes text of what begins like one.
func csvText(s string) string {
	if s = human.Plain(s); s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		return "'" + s
	}
	return s
}
