package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/testkit"
)

// stuffing is more than a small socket takes.
const stuffing = 128 << 10

// stuff sends more than the server takes, and returns when its window is closed.
func stuff(t *testing.T, ns *testkit.Netns) (server *net.TCPConn, sent chan error, closed time.Time) {
	t.Helper()
	client, server := connect(t, ns, 80)
	if err := server.SetReadBuffer(stuffing / 2); err != nil {
		t.Fatal(err)
	}
	sent = make(chan error, 1)
	go func() {
		_, err := client.Write(make([]byte, stuffing))
		sent <- err
	}()
	await(t, ns, "TcpExtTCPToZeroWindowAdv", 1)
	return server, sent, time.Now()
}

// checkWindow says how far off the time is for which the server's window was closed, and fails the test if
// anything else is.
func checkWindow(t *testing.T, row *signRow, times uint64, want time.Duration) (off string) {
	t.Helper()
	if row.Health == nil {
		t.Fatal("no health")
	}
	got, whole := row.Health.Server, *row.Health
	whole.Server.ZeroWindow, whole.Server.ZeroWindows = 0, 0
	whole.Server.ReceiveQueueBytes, whole.Client.SendQueueBytes = 0, 0
	if row.Errors != 0 || whole != (healthShown{}) || got.ZeroWindows != times || times == 0 {
		t.Errorf("%d errors, %+v, want %d closed windows at the server alone", row.Errors, *row.Health, times)
	}
	if wrong := (got.ZeroWindow - want).Abs(); wrong > want/10 && wrong > 5*time.Millisecond {
		return fmt.Sprintf("closed for %v, the test says %v", got.ZeroWindow, want)
	}
	return ""
}

// A server that does not read closes its window for as long.
func TestClosedWindowShows(t *testing.T) {
	eventually(t, func() string {
		ns := newLiveNetns(t, "auto")
		rows, lat := startHealth(t, ns, "flow", "--breakdown")
		server, sent, closed := stuff(t, ns)
		time.Sleep(200 * time.Millisecond) // what a slow reader does
		lasted := time.Since(closed)
		_, err := io.ReadFull(server, make([]byte, stuffing))
		if err := errors.Join(err, <-sent); err != nil {
			t.Fatal(err)
		}
		testkit.Quiesce(ns)
		times := ns.Counter("TcpExtTCPToZeroWindowAdv")
		off := checkWindow(t, rows.signs().row(t, 80), times, lasted)
		lat.says(fmt.Sprintf("receive window of %s closed %d time", ownComm(t), times))
		return off
	})
}

// A window that is still closed as the time is up was closed until then.
func TestStillClosedWindowShows(t *testing.T) {
	eventually(t, func() string {
		ns := newLiveNetns(t, "auto")
		rows, lat := startHealth(t, ns, "flow", "--breakdown")
		_, sent, closed := stuff(t, ns)
		_ = sent // it never is
		time.Sleep(200 * time.Millisecond)
		doc := rows.signs()
		row := doc.row(t, 80)
		lat.says(fmt.Sprintf("receive window of %s closed 1 time", ownComm(t)))
		if row.Health == nil || row.Health.Server.ReceiveQueueBytes == 0 || row.Health.Client.SendQueueBytes == 0 {
			t.Errorf("nothing waits: %+v", row.Health)
		}
		return checkWindow(t, row, 1, doc.End.Sub(closed))
	})
}

// Where --watch cuts a closed window into pieces, they make the whole.
func TestClosedWindowInPiecesShows(t *testing.T) {
	eventually(t, func() string {
		ns := newLiveNetns(t, "auto")
		l := startCounting(t, ns, "flows", "--watch", "60ms", "-o", "json")
		server, sent, closed := stuff(t, ns)
		time.Sleep(200 * time.Millisecond)
		lasted := time.Since(closed)
		_, err := io.ReadFull(server, make([]byte, stuffing))
		if err := errors.Join(err, <-sent); err != nil {
			t.Fatal(err)
		}
		testkit.Quiesce(ns)
		l.interrupt()
		whole := signRow{Health: new(healthShown)}
		pieces := 0
		for line := range bytes.Lines(l.stdout.Bytes()) {
			var doc signDoc
			if err := json.Unmarshal(line, &doc); err != nil {
				t.Fatal(err)
			}
			for _, row := range doc.Rows {
				if row.Health == nil || row.Health.Server.ZeroWindow == 0 {
					continue
				}
				pieces++
				if row.Health.Server.ZeroWindow > doc.Duration {
					t.Errorf("closed for %v of %v", row.Health.Server.ZeroWindow, doc.Duration)
				}
				whole.Health.Server.ZeroWindow += row.Health.Server.ZeroWindow
				whole.Health.Server.ZeroWindows += row.Health.Server.ZeroWindows
			}
		}
		if pieces < 3 {
			t.Errorf("in %d windows, want three at least", pieces)
		}
		return checkWindow(t, &whole, ns.Counter("TcpExtTCPToZeroWindowAdv"), lasted)
	})
}
