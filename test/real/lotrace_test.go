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
	"syscall"
	"testing"
)

// What is looked at of lotrace's JSON, named as there.
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
	}
	direction struct {
		Payload uint64 `json:"payload_bytes"`
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

// startLotrace returns when it counts.
func startLotrace(t *testing.T, by string) *lotrace {
	t.Helper()
	l := &lotrace{}
	cmd := exec.Command("lotrace", "flows", "--watch", "1s", "-o", "json", "--by", by)
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
