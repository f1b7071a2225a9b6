package export

import (
	"encoding/csv"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Each CSV row must say what the JSON row says, under the same names; an object that is null leaves all its
// fields empty, and drops are one field.
func TestCSVIsFlattenedJSON(t *testing.T) {
	for _, by := range Views() {
		records, err := csv.NewReader(strings.NewReader(encode(t, "csv", Options{By: by}, ailing()))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		text := encode(t, "json", Options{By: by}, ailing())
		rows := decode(t, text)["rows"].([]any)
		if len(records) != len(rows)+1 {
			t.Fatalf("by %s: got %d records for %d rows", by, len(records), len(rows))
		}
		var names []string
		for _, p := range paths(t, text) {
			name, ok := strings.CutPrefix(p, "rows.")
			if strings.HasPrefix(name, "drops.") {
				name = "drops"
			}
			// Below what is null in one row are the fields of another.
			if ok && !slices.Contains(names, name) && !slices.Contains(objects, name) {
				names = append(names, name)
			}
		}
		if got, want := strings.Join(records[0], " "), strings.Join(names, " "); got != want {
			t.Errorf("by %s: got header\n%s\nwant\n%s", by, got, want)
		}
		for i, row := range rows {
			for j, name := range names {
				if got, want := records[i+1][j], csvFieldOf(t, row, name); got != want {
					t.Errorf("by %s, row %d, %s: got %q, want %q", by, i, name, got, want)
				}
			}
		}
	}
}

// objects are those that may be null as a whole.
var objects = []string{"health", "breakdown", "accept_queue"}

// Text that begins like a formula is made none, and text that would command a terminal is escaped.
func TestCSVIsHarmless(t *testing.T) {
	for comm, want := range map[string]string{
		"=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0", "+1": "'+1", "-bash": "'-bash", "@SUM(A1)": "'@SUM(A1)",
		"a=b": "a=b", "\t=1": `\t=1`, "\x1b[2J": `\x1b[2J`, "\u202eevil": `\u202eevil`,
	} {
		s := owned()
		s.Flows[0].Client.Owner.Comm = comm
		records, err := csv.NewReader(strings.NewReader(encode(t, "csv", Options{Sort: "-bytes"}, s))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		column := slices.Index(records[0], "client.comm")
		if got := records[len(records)-1][column]; got != want {
			t.Errorf("%q: got %q, want %q", comm, got, want)
		}
	}
}

// csvFieldOf is how a field of a JSON row looks in CSV.
func csvFieldOf(t *testing.T, row any, name string) string {
	t.Helper()
	if object, _, _ := strings.Cut(name, "."); slices.Contains(objects, object) && at(t, row, object) == nil {
		return ""
	}
	switch v := at(t, row, name).(type) {
	case string:
		return csvText(v)
	case bool:
		return strconv.FormatBool(v)
	case map[string]any:
		var drops []string
		for _, reason := range slices.Sorted(maps.Keys(v)) {
			drops = append(drops, reason+"="+v[reason].(json.Number).String())
		}
		return strings.Join(drops, ";")
	}
	return ""
}
