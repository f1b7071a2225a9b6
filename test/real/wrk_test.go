//go:build real

package real

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// wrkScript has wrk print how long it ran and, for every time that a request took, how many took it.
const wrkScript = `
function done(summary, latency)
	print("ran", summary.duration)
	for i = 1, #latency do print("took", latency(i)) end
end
`

// wrk takes the difference of two times in whole microseconds.
const wrkResolution = time.Microsecond

var (
	wrkErrors   = regexp.MustCompile(`Socket errors|Non-2xx`)
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkRan      = regexp.MustCompile(`(?m)^ran\t(\d+)$`)
	wrkTook     = regexp.MustCompile(`(?m)^took\t(\d+)\t(\d+)$`)
)

// startWrk has wrk ask for a second.
func startWrk(t *testing.T, conns uint64, url string) *process {
	t.Helper()
	script := filepath.Join(t.TempDir(), "done.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, exec.Command("wrk", "-t", "1", "-c", fmt.Sprint(conns), "-d", "1s", "-s", script,
		"-H", "Accept-Encoding: gzip", "http://"+url))
}

// saidWrk is what wrk measured: requests that were answered, and how long they took at most.
func saidWrk(t *testing.T, p *process, conns uint64) (requests uint64, took percentiles) {
	t.Helper()
	text := p.end(t)
	if wrkErrors.MatchString(text) {
		t.Fatal(text)
	}
	requests = number(t, wrkRequests, text)
	counts := map[uint64]uint64{}
	for _, match := range wrkTook.FindAllStringSubmatch(text, -1) {
		counts[parseCount(t, match[1])] = parseCount(t, match[2])
	}
	uncorrect(counts, number(t, wrkRan, text)/(requests/conns))
	took = percentiles{}
	var n uint64
	for _, us := range slices.Sorted(maps.Keys(counts)) {
		n += counts[us]
		for _, percent := range compared {
			if _, ok := took[percent]; !ok && n*100 >= requests*uint64(percent) {
				took[percent] = time.Duration(us)*time.Microsecond + wrkResolution
			}
		}
	}
	if n != requests {
		t.Fatalf("wrk measured %d of %d requests: %s", n, requests, text)
	}
	return requests, took
}

// uncorrect takes back what wrk did to its numbers. A request that took more than twice the mean interval
// has kept others from being sent, it thinks, and so it adds those, each an interval shorter than the one
// before.
func uncorrect(counts map[uint64]uint64, interval uint64) {
	for _, us := range slices.Backward(slices.Sorted(maps.Keys(counts))) {
		if us < 2*interval {
			break
		}
		for other := us - interval; other > interval; other -= interval {
			counts[other] -= counts[us]
		}
	}
}

// wrkTurn are the turns of a server that wrk asked: exactly what the server served, which is what wrk says,
// and on each connection perhaps one request that was under way when wrk ended.
func wrkTurn(t *testing.T, rows []row, requests, conns, served uint64) latency {
	t.Helper()
	if len(rows) != 1 || rows[0].Turn.Count != served || served < requests || served > requests+conns {
		t.Fatalf("wrk had %d answers over %d connections, %d requests were served; lotrace: %+v", requests, conns, served, rows)
	}
	return rows[0].Turn
}
