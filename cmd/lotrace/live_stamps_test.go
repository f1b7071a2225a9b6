package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// sentAt is when a datagram was sent: two moments of CLOCK_MONOTONIC, between which the hook saw it.
type sentAt struct{ before, after int64 }

func monotonic(tb testing.TB) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		tb.Error(err)
	}
	return ts.Nano()
}

// datagramPair is two sockets inside the namespace, the client connected to the server.
func datagramPair(t *testing.T, ns *testkit.Netns) (client, server *net.UDPConn) {
	t.Helper()
	ns.Run(t, func() {
		var err error
		if server, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			t.Fatal(err)
		}
		if client, err = net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// again calls act a few thousand times a second until stop is called, which returns when the last call has. An error ends it, too.
func again(t *testing.T, act func() error) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		pace := time.NewTicker(200 * time.Microsecond)
		defer pace.Stop()
		for {
			select {
			case <-over:
				return
			case <-pace.C:
				if err := act(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	return func() { close(over); <-done }
}

// checkStamps holds that the packets with these times of day are the last that were sent, each with a time of its
// own between the two moments of its sending. The two clocks differ by a constant; resolution is what is cut off times.
func checkStamps(t *testing.T, stamps []time.Time, sent []sentAt, counting int64, resolution time.Duration) {
	t.Helper()
	if len(stamps) < 2 || len(stamps) > len(sent) {
		t.Fatalf("%d packets of %d", len(stamps), len(sent))
	}
	sent = sent[len(sent)-len(stamps):]
	if sent[1].after > counting {
		t.Errorf("no packets from before it said that it counts")
	}
	least, most := int64(-1<<62), int64(1<<62)
	for i, stamp := range stamps {
		ns := stamp.UnixNano()
		least, most = max(least, sent[i].before-ns-int64(resolution)), min(most, sent[i].after-ns)
		if i > 0 && !stamp.After(stamps[i-1]) {
			t.Errorf("packet %d of %d: %v, and the one before it %v", i, len(stamps), stamp, stamps[i-1])
			break
		}
	}
	if least > most {
		t.Errorf("times are up to %v off", time.Duration(least-most))
	}
}

// Packets keep the times at which they were counted, those included that were counted while lotrace began.
func TestPacketsKeepTheirTimes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.pcapng")
	for _, run := range []struct {
		name   string
		args   []string
		stamps func(t *testing.T, l *program) []time.Time
		cut    time.Duration
	}{
		{"file", []string{"capture", "-w", file}, func(t *testing.T, _ *program) []time.Time {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return stampsIn(t, text)
		}, 0},
		{"pipe", []string{"capture", "-w", "-"}, func(t *testing.T, l *program) []time.Time {
			return stampsIn(t, l.stdout.Bytes())
		}, 0},
		{"lines", []string{"capture"}, stampsOfLines, time.Microsecond},
		{"trace", []string{"trace", "--packets", "-n", "0"}, stampsOfLines, time.Microsecond},
	} {
		t.Run(run.name, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			client, _ := datagramPair(t, ns)
			var sent []sentAt
			stop := again(t, func() error {
				before := monotonic(t)
				_, err := client.Write([]byte("datagram"))
				sent = append(sent, sentAt{before, monotonic(t)})
				return err
			})
			l := startCounting(t, ns, run.args...)
			counting := monotonic(t)
			stop()
			l.interrupt()
			checkStamps(t, run.stamps(t, l), sent, counting, run.cut)
		})
	}
}

func stampsIn(t *testing.T, text []byte) (stamps []time.Time) {
	t.Helper()
	var last time.Time
	r, err := pcapgo.NewNgReader(bytes.NewReader(text), pcapgo.NgReaderOptions{
		StatisticsCallback: func(_ int, s pcapgo.NgInterfaceStatistics) {
			if s.StartTime.After(stamps[0]) || s.EndTime.Before(last) {
				t.Errorf("from %v to %v, the file says, with packets from %v to %v", s.StartTime, s.EndTime, stamps[0], last)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, info, err := r.ReadPacketData()
		if err != nil {
			return stamps
		}
		last = info.Timestamp
		stamps = append(stamps, last)
	}
}

func stampsOfLines(t *testing.T, l *program) (stamps []time.Time) {
	t.Helper()
	for line := range strings.Lines(l.stdout.String()) {
		clock, _, _ := strings.Cut(line, " ")
		at, err := time.Parse("2006 15:04:05.000000", "2000 "+clock)
		if err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if n := len(stamps); n > 0 && stamps[n-1].Sub(at) > time.Hour { // midnight
			at = at.AddDate(0, 0, 1)
		}
		stamps = append(stamps, at)
	}
	return stamps
}

// A request that was sent while trace began is told as of then, and no line is older than the start that the summary gives.
func TestTraceStartsBeforeItsLines(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	client, server := datagramPair(t, ns)
	buf := make([]byte, 10)
	stop := again(t, func() error {
		if _, err := client.Write([]byte("ask")); err != nil {
			return err
		}
		_, from, err := server.ReadFromUDP(buf)
		if err != nil {
			return err
		}
		if _, err := server.WriteToUDP([]byte("answer"), from); err != nil {
			return err
		}
		_, err = client.Read(buf)
		return err
	})
	trace := startCounting(t, ns, "trace", "-o", "jsonl")
	stop()
	trace.interrupt()
	var first, start time.Time
	for line := range strings.Lines(trace.stdout.String()) {
		var at struct{ Time, Start time.Time }
		if err := json.Unmarshal([]byte(line), &at); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if first.IsZero() {
			first = at.Time
		}
		start = at.Start
	}
	if first.IsZero() || start.IsZero() || first.Before(start) {
		t.Errorf("the first line is of %v, the start %v", first, start)
	}
}
