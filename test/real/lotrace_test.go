//go:build real

package real

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These are the fields of lotrace's JSON that are looked at, named as there.
type (
	window struct {
		Totals struct {
			Packets  uint64 `json:"packets"`
			Overflow struct {
				Packets uint64 `json:"packets"`
			} `json:"overflow"`
		} `json:"totals"`
		Device struct {
			Agrees bool `json:"agrees"`
		} `json:"device"`
		Rows []row `json:"rows"`
	}
	row struct {
		Pair   string   `json:"pair"`
		Proto  string   `json:"proto"`
		Client endpoint `json:"client"`
		Server endpoint `json:"server"`

		ToServer direction `json:"to_server"`
		ToClient direction `json:"to_client"`

		Turn      latency `json:"turn"`
		Crossed   uint64  `json:"crossed"`
		FirstSeen string  `json:"first_seen"`
	}
	direction struct {
		Payload uint64 `json:"payload_bytes"`
	}
	latency struct {
		Count uint64        `json:"count"`
		P50   time.Duration `json:"p50_ns"`
		P90   time.Duration `json:"p90_ns"`
		P99   time.Duration `json:"p99_ns"`
	}
	endpoint struct {
		Addr   netip.Addr `json:"addr"`
		Port   uint16     `json:"port"`
		PID    *int       `json:"pid"`
		Comm   *string    `json:"comm"`
		Source *string    `json:"owner_source"`
	}
)

func (r *row) conn() conn {
	return conn{netip.AddrPortFrom(r.Client.Addr, r.Client.Port), netip.AddrPortFrom(r.Server.Addr, r.Server.Port)}
}

// known reports whether lotrace named an owner, right or wrong.
func (e *endpoint) known() bool { return e.Source != nil }

func (e *endpoint) named(name string) bool { return e.Comm != nil && *e.Comm == name }

func (e *endpoint) String() string {
	text, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// lotrace is the program, as users run it.
type lotrace struct {
	*process
	stdout bytes.Buffer
}

// startLotrace returns when it counts. When it prints is what the flags say.
func startLotrace(t *testing.T, by string, when ...string) *lotrace {
	t.Helper()
	l := &lotrace{}
	cmd := exec.Command("lotrace", append([]string{"flows", "-o", "json", "--by", by}, when...)...)
	cmd.Stdout = &l.stdout
	l.process = start(t, cmd)
	l.await(t, regexp.MustCompile(`(?m)^lotrace: counting`), 1)
	return l
}

// windows ends the run and returns what it printed.
func (l *lotrace) windows(t *testing.T) []window {
	t.Helper()
	// Not SIGINT: a shell starts its background jobs deaf to it, and this descends from one.
	if err := l.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	l.end(t)
	var all []window
	decoder := json.NewDecoder(&l.stdout)
	for {
		var w window
		err := decoder.Decode(&w)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	for i, w := range all {
		if !w.Device.Agrees || w.Totals.Overflow.Packets != 0 {
			t.Errorf("window %d: device agrees: %v, overflow: %d packets", i, w.Device.Agrees, w.Totals.Overflow.Packets)
		}
	}
	return all
}

// asked are the rows with turns of the one window that was printed, the oldest first.
func (l *lotrace) asked(t *testing.T) []row {
	t.Helper()
	windows := l.windows(t)
	if len(windows) != 1 {
		t.Fatalf("%d windows, want 1", len(windows))
	}
	rows := slices.DeleteFunc(windows[0].Rows, func(r row) bool { return r.Turn.Count == 0 })
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.FirstSeen, b.FirstSeen) })
	return rows
}
