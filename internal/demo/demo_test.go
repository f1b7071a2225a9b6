package demo

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lotrace/lotrace/internal/testkit"
)

// config is for a short run of the kinds; notices go to the test's log.
func config(t *testing.T, kinds ...string) Config {
	return Config{Duration: 300 * time.Millisecond, Rate: 600, Kinds: kinds, Notice: func(msg string) { t.Log(msg) }}
}

// checkNothingLeft fails the test if goroutines of this package or of net/http outlast it.
// Those of net/http's client are told to end but not waited for, so it gives them time.
func checkNothingLeft(t *testing.T) {
	testkit.CheckFDs(t)
	t.Cleanup(func() {
		var left []string
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
			if left = otherGoroutines(); len(left) == 0 {
				return
			}
		}
		t.Errorf("still running:\n%s", strings.Join(left, "\n\n"))
	})
}

func otherGoroutines() []string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	_, others, _ := strings.Cut(string(stacks), "\n\n") // the first one is the caller
	return slices.DeleteFunc(strings.Split(others, "\n\n"), func(s string) bool {
		ours := strings.Contains(s, "internal/demo.") || strings.Contains(s, "net/http.")
		return !ours || strings.Contains(s, "testing.tRunner")
	})
}

func TestEveryKind(t *testing.T) {
	checkNothingLeft(t)
	cfg := config(t, Kinds()...)
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if report.Duration < cfg.Duration || report.Duration > cfg.Duration+patience {
		t.Errorf("ran for %s", report.Duration)
	}
	// Bytes of a request and of its answer, where they are always the same.
	sizes := map[string][2]uint64{
		"echo":    {messageSize, messageSize},
		"bulk":    {chunkSize, 0},
		"connect": {messageSize, messageSize},
		"udp":     {messageSize, messageSize},
		"ipv6":    {messageSize, messageSize},
	}
	want := Kinds()
	if !haveIPv6() {
		want = slices.DeleteFunc(want, func(k string) bool { return k == "ipv6" })
	}
	var got []string
	for _, tr := range report.Traffic {
		got = append(got, tr.Kind)
		if tr.Requests == 0 || tr.Failed > 0 {
			t.Errorf("%s: %d requests, %d failed", tr.Kind, tr.Requests, tr.Failed)
		}
		// 100 a second each; clients may be late, never early.
		if most := uint64(report.Duration.Seconds()*100) + 2; tr.Requests > most {
			t.Errorf("%s: %d requests, want at most %d", tr.Kind, tr.Requests, most)
		}
		if size, ok := sizes[tr.Kind]; ok && (tr.Sent != tr.Requests*size[0] || tr.Received != tr.Requests*size[1]) {
			t.Errorf("%s: %d bytes sent, %d received in %d requests", tr.Kind, tr.Sent, tr.Received, tr.Requests)
		}
		if tr.Kind == "http" && (tr.Sent <= tr.Requests*50 || tr.Received <= tr.Requests*100) {
			t.Errorf("http: %d bytes sent, %d received in %d requests", tr.Sent, tr.Received, tr.Requests)
		}
		checkGone(t, tr)
	}
	if !slices.Equal(got, want) {
		t.Errorf("made %q, want %q", got, want)
	}
}

// checkGone checks that the server was on loopback and has left its port.
func checkGone(t *testing.T, tr Traffic) {
	t.Helper()
	addr := tr.Server.Addr()
	if addr != netip.MustParseAddr("127.0.0.1") && addr != netip.IPv6Loopback() {
		t.Errorf("%s: server on %s", tr.Kind, addr)
	}
	if tr.Kind == "udp" {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(tr.Server))
		if err != nil {
			t.Errorf("udp: port still taken: %v", err)
			return
		}
		conn.Close()
		return
	}
	if conn, err := net.Dial("tcp", tr.Server.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s: dial after the end: %v, %v", tr.Kind, conn, err)
	}
}

func haveIPv6() bool {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		ln.Close()
	}
	return err == nil
}

func TestRunEndsWithItsContext(t *testing.T) {
	checkNothingLeft(t)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := config(t, "udp", "http")
	cfg.Duration = time.Hour
	cfg.Notice = func(string) { cancel() }
	report, err := Run(ctx, cfg)
	if err != nil || report.Duration > time.Minute || len(report.Traffic) != 2 {
		t.Errorf("error %v, report %+v", err, report)
	}
}

// TestStrangers holds that a connection from elsewhere is served but not waited for.
func TestStrangers(t *testing.T) {
	checkNothingLeft(t)
	var strangers []net.Conn
	cfg := config(t, "http", "echo", "bulk")
	cfg.Notice = func(msg string) {
		_, rest, _ := strings.Cut(msg, " on ")
		addr, _, _ := strings.Cut(rest, ",")
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		strangers = append(strangers, conn)
		// Half of a request of any kind: the server waits for the rest.
		io.WriteString(conn, "POST /items HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234")
	}
	began := time.Now()
	if _, err := Run(t.Context(), cfg); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > cfg.Duration+2*patience {
		t.Errorf("took %s", took)
	}
	for _, conn := range strangers {
		conn.Close()
	}
	if len(strangers) != 3 {
		t.Errorf("%d strangers", len(strangers))
	}
}

// The addresses for documentation (RFC 3849, RFC 5737) are no machine's own.
func TestAddressesMissing(t *testing.T) {
	checkNothingLeft(t)
	udp := kind{name: "udp", addr: "127.0.0.1:0", start: startUDP}
	no6 := kind{name: "ipv6", addr: "[2001:db8::1]:0", start: startEcho}
	no4 := kind{name: "echo", addr: "192.0.2.1:0", start: startEcho}
	var notices []string
	cfg := config(t)
	cfg.Notice = func(msg string) { notices = append(notices, msg) }

	report, err := runKinds(t.Context(), cfg, []kind{no6, udp})
	if err != nil || len(report.Traffic) != 1 || report.Traffic[0].Kind != "udp" {
		t.Errorf("without IPv6: %v, %+v", err, report)
	}
	if len(notices) == 0 || notices[0] != "ipv6 skipped: this network namespace has no ::1" {
		t.Errorf("without IPv6: said %q", notices)
	}
	if _, err := runKinds(t.Context(), cfg, []kind{no6}); err == nil {
		t.Error("nothing to do, yet no error")
	}
	_, err = runKinds(t.Context(), cfg, []kind{udp, no4})
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "is lo up?") {
		t.Errorf("without IPv4: %v", err)
	}
}

// deaf is a server whose clients get no answer.
type deaf struct{ server }

func (d deaf) client(*meter) client { return unanswered{} }

type unanswered struct{}

func (unanswered) exchange() error { return syscall.ECONNRESET }
func (unanswered) close()          {}

func TestEveryRequestFails(t *testing.T) {
	checkNothingLeft(t)
	start := func(addr string) (server, error) {
		s, err := startUDP(addr)
		return deaf{s}, err
	}
	cfg := config(t)
	cfg.Duration = 50 * time.Millisecond
	_, err := runKinds(t.Context(), cfg, []kind{{name: "deaf", addr: "127.0.0.1:0", start: start}})
	if !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix(err.Error(), "deaf: ") {
		t.Errorf("error %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"no time":      func(c *Config) { c.Duration = 0 },
		"no rate":      func(c *Config) { c.Rate = 0 },
		"too fast":     func(c *Config) { c.Rate = MaxRate + 1 },
		"no kind":      func(c *Config) { c.Kinds = nil },
		"unknown kind": func(c *Config) { c.Kinds = []string{"udp", "sctp"} },
	} {
		cfg := Config{Duration: time.Millisecond, Rate: 1, Kinds: []string{"udp"}}
		spoil(&cfg)
		if _, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPace(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stall time.Duration // how long the first do takes; the others take no time
		want  int           // calls within a second, one each 10 ms from 5 ms on
	}{
		{"even", 0, 100},
		{"late and caught up", 55 * time.Millisecond, 100},
		{"too late to catch up", 505 * time.Millisecond, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				calls := 0
				pace(ctx, 5*time.Millisecond, 10*time.Millisecond, func() {
					if calls++; calls == 1 {
						time.Sleep(tt.stall)
					}
				})
				// A step either way: the catching up need not fall on whole intervals.
				if calls < tt.want-1 || calls > tt.want+1 {
					t.Errorf("%d calls, want %d", calls, tt.want)
				}
			})
		})
	}
}

func TestClientCount(t *testing.T) {
	for perSecond, want := range map[float64]int{0.1: 2, 100: 2, 200: 4, 16666: 64} {
		if got := clientCount(perSecond); got != want {
			t.Errorf("%g/s: %d clients, want %d", perSecond, got, want)
		}
	}
}
