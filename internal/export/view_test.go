package export

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The rows of each view have the documented fields, and begin with what they are about.
func TestJSONRows(t *testing.T) {
	const owner = "pid host_pid comm exe cmdline uid cgroup unit container container_name owner_source"
	tests := map[string]string{
		"pair":    "pair netns proto client server flows to_server to_client turn response connect errors health drops breakdown",
		"service": "service netns proto server flows clients to_server to_client turn response connect errors health drops breakdown accept_queue",
		"flow": "netns family proto state role_source client server to_server to_client turn response crossed connect_ns srtt_ns cwnd" +
			" first_seen last_seen closed errors health drops breakdown accept_ns first_byte_ns",
		"process": "process flows sent received turn response errors health drops breakdown",
		"cgroup":  "cgroup unit container container_name flows sent received turn response errors health drops breakdown",
	}
	for _, by := range Views() {
		var fields, ofProcess []string
		for _, path := range paths(t, encode(t, "json", Options{By: by}, ailing())) {
			path, ok := strings.CutPrefix(path, "rows.")
			field, of, _ := strings.Cut(path, ".")
			if ok && !slices.Contains(fields, field) {
				fields = append(fields, field)
			}
			if ok && field == "process" {
				ofProcess = append(ofProcess, of)
			}
		}
		if got := strings.Join(fields, " "); got != tests[by] {
			t.Errorf("by %s: got %s, want %s", by, got, tests[by])
		}
		if got := strings.Join(ofProcess, " "); by == "process" && got != owner {
			t.Errorf("a process: got %s, want %s", got, owner)
		}
	}
}

// The rows of any view add up to the totals.
func TestJSONSums(t *testing.T) {
	for _, s := range []*window{usual(), crowd(), ailing(), lossy()} {
		for _, by := range Views() {
			doc := decode(t, encode(t, "json", Options{By: by}, s))
			for _, unit := range []string{"packets", "bytes"} {
				total, sum := amountAt(t, doc, "totals."+unit), amountAt(t, doc, "totals.overflow."+unit)
				received := sum
				for _, row := range doc["rows"].([]any) {
					if by == "process" || by == "cgroup" {
						sum += amountAt(t, row, "sent."+unit)
						received += amountAt(t, row, "received."+unit)
						continue
					}
					sum += amountAt(t, row, "to_server."+unit) + amountAt(t, row, "to_client."+unit)
					received = sum
				}
				if sum != total || received != total {
					t.Errorf("by %s: %d %s in rows and overflow, %d received, totals %d", by, sum, unit, received, total)
				}
			}
		}
	}
}

func amountAt(t *testing.T, doc any, path string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(at(t, doc, path).(string), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
