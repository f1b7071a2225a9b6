package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/testkit"
)

// signDoc is what the tests read of a JSON document about how flows are doing.
type signDoc struct {
	End       time.Time
	Duration  time.Duration `json:"duration_ns"`
	Uncounted uint64        `json:"untold"`
	Rows      []signRow
	Slow      []slowTurn
}

type signRow struct {
	Client, Server liveEnd
	Flows          uint64
	Errors         uint64
	Health         *healthShown
	Drops          map[string]uint64
	AcceptQueue    *queuesShown `json:"accept_queue"`
	Turn           struct {
		Count uint64
		Sum   time.Duration `json:"sum_ns"`
	}
	Breakdown *partsShown
}

type liveEnd struct {
	Port uint16
	PID  *int
}

type healthShown struct {
	Refused       uint64
	SYNRetries    uint64 `json:"syn_retries"`
	SYNACKRetries uint64 `json:"synack_retries"`
	Client        endShown
	Server        endShown
}

type endShown struct {
	Resets, Timeouts  uint64
	OutOfOrder        uint64        `json:"out_of_order"`
	SocketDrops       uint64        `json:"socket_drops"`
	ZeroWindows       uint64        `json:"zero_windows"`
	ZeroWindow        time.Duration `json:"zero_window_ns"`
	Stalls            uint64
	Stalled           time.Duration `json:"stalled_ns"`
	ReceiveQueueBytes uint64        `json:"receive_queue_bytes"`
	SendQueueBytes    uint64        `json:"send_queue_bytes"`
}

type queuesShown struct{ Length, Limit, Overflows uint64 }

// startHealth counts for JSON with rows of one kind, and draws for people at the same time.
func startHealth(tb testing.TB, ns *testkit.Netns, by string, args ...string) (rows, lat *program) {
	tb.Helper()
	rows = startCounting(tb, ns, append([]string{"flows", "-d", "60", "-o", "json", "--by", by}, args...)...)
	lat = startCounting(tb, ns, append([]string{"lat", "-d", "60", "-n", "0"}, args...)...)
	return rows, lat
}

// signs ends the run and returns its document.
func (l *program) signs() *signDoc {
	l.Helper()
	l.interrupt()
	var doc signDoc
	if err := json.Unmarshal(l.stdout.Bytes(), &doc); err != nil {
		l.Fatalf("%v in %q", err, &l.stdout)
	}
	if doc.Uncounted != 0 {
		l.Errorf("%d flows without a place for their troubles", doc.Uncounted)
	}
	return &doc
}

// row is the one to the server's port.
func (d *signDoc) row(tb testing.TB, port uint16) *signRow {
	tb.Helper()
	var found *signRow
	for i := range d.Rows {
		if row := &d.Rows[i]; row.Server.Port == port {
			if found != nil {
				tb.Fatalf("two rows to port %d in %+v", port, d.Rows)
			}
			found = row
		}
	}
	if found == nil {
		tb.Fatalf("no row to port %d in %+v", port, d.Rows)
	}
	return found
}

// check compares all that is told about a row's health.
func (r *signRow) check(tb testing.TB, errors uint64, health healthShown, drops map[string]uint64) {
	tb.Helper()
	if r.Health == nil {
		tb.Fatalf("no health in %+v", r)
	}
	if r.Errors != errors || *r.Health != health || fmt.Sprint(r.Drops) != fmt.Sprint(drops) {
		tb.Errorf("%d errors, %+v, drops %v; want %d, %+v, %v", r.Errors, *r.Health, r.Drops, errors, health, drops)
	}
}

// says ends the run and holds what it drew against the words that must be in there.
func (l *program) says(words ...string) {
	l.Helper()
	l.interrupt()
	for _, w := range words {
		if !strings.Contains(l.stdout.String(), w) {
			l.Errorf("no %q in:\n%s", w, &l.stdout)
		}
	}
}

// ownComm is how lotrace calls this process.
func ownComm(tb testing.TB) string {
	tb.Helper()
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(string(comm))
}

// eventually does again what a busy machine spoilt; attempt says what was off.
func eventually(t *testing.T, attempt func() (off string)) {
	t.Helper()
	if testing.Short() {
		t.Skip("an emulated machine keeps no time")
	}
	off := "not tried"
	for try := 0; off != "" && try < 8 && !t.Failed(); try++ {
		off = attempt()
	}
	if off != "" {
		t.Error(off)
	}
}

// connect is a connection inside the namespace, to a port that nobody takes for a client's.
func connect(tb testing.TB, ns *testkit.Netns, port int) (client, server *net.TCPConn) {
	tb.Helper()
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	ns.Run(tb, func() {
		l, err := net.ListenTCP("tcp4", at)
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()
		if client, err = net.DialTCP("tcp4", nil, at); err != nil {
			tb.Fatal(err)
		}
		if server, err = l.AcceptTCP(); err != nil {
			tb.Fatal(err)
		}
	})
	tb.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// await polls until the namespace's counter has come so far.
func await(tb testing.TB, ns *testkit.Netns, counter string, least uint64) {
	tb.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); ns.Counter(counter) < least; <-poll.C {
		if time.Now().After(deadline) {
			tb.Fatalf("%s stays below %d", counter, least)
		}
	}
}
