package export

import (
	"encoding/csv"
	"strings"
	"testing"
)

// Each CSV row must say what the JSON row says, under the same names.
func TestCSVIsFlattenedJSON(t *testing.T) {
	for _, by := range Views() {
		records, err := csv.NewReader(strings.NewReader(encode(t, "csv", Options{By: by}, crowd()))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		text := encode(t, "json", Options{By: by}, crowd())
		rows := decode(t, text)["rows"].([]any)
		if len(records) != len(rows)+1 {
			t.Fatalf("by %s: got %d records for %d rows", by, len(records), len(rows))
		}
		var names []string
		for _, p := range paths(t, text) {
			if name, ok := strings.CutPrefix(p, "rows."); ok {
				names = append(names, name)
			}
		}
		if got, want := strings.Join(records[0], " "), strings.Join(names, " "); got != want {
			t.Errorf("by %s: got header\n%s\nwant\n%s", by, got, want)
		}
		for i, row := range rows {
			for j, name := range names {
				want := ""
				switch v := at(t, row, name).(type) {
				case string:
					want = v
				case bool:
					want = map[bool]string{true: "true", false: "false"}[v]
				}
				if got := records[i+1][j]; got != want {
					t.Errorf("by %s, row %d, %s: got %q, want %q", by, i, name, got, want)
				}
			}
		}
	}
}
