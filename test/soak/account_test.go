//go:build soak

package soak

import (
	"bufio"
	"encoding/json"
	"io"
	"testing"

	"github.com/lotrace/lotrace/internal/testkit"
)

type (
	// window is what is looked at of a JSON document.
	window struct {
		Totals struct {
			amount
			Flows    int    `json:"flows"`
			Overflow amount `json:"overflow"`
			Hidden   amount `json:"hidden"`
		} `json:"totals"`
		Device *struct {
			Agrees bool `json:"agrees"`
		} `json:"device"`
		Limited int   `json:"limited"`
		Rows    []row `json:"rows"`
	}
	row struct {
		ToServer amount `json:"to_server"`
		ToClient amount `json:"to_client"`
		Sent     amount `json:"sent"`
	}
	amount struct {
		Packets uint64 `json:"packets"`
		Bytes   uint64 `json:"bytes"`
	}
)

func (a *amount) add(o amount) { a.Packets, a.Bytes = a.Packets+o.Packets, a.Bytes+o.Bytes }

// check: the rows, with what is in none, are the totals, and those are what the device counted.
func (w *window) check(tb testing.TB) {
	sum := w.Totals.Overflow
	for _, r := range w.Rows {
		sum.add(r.ToServer)
		sum.add(r.ToClient)
		sum.add(r.Sent)
	}
	if sum != w.Totals.amount {
		tb.Errorf("rows and overflow make %+v, totals %+v", sum, w.Totals)
	}
	if w.Device == nil || !w.Device.Agrees {
		tb.Errorf("the device does not agree: totals %+v, device %+v", w.Totals, w.Device)
	}
}

// account adds up windows as they come. It fails the test at the first that does not add up itself.
type account struct {
	sum      amount
	overflow uint64
	flows    int
	windows  int
	done     chan struct{}
}

// keep reads documents, one a line, until there are no more.
func (a *account) keep(tb testing.TB, documents io.Reader) {
	defer close(a.done)
	for decoder := json.NewDecoder(bufio.NewReader(documents)); !tb.Failed(); {
		var w window
		err := decoder.Decode(&w)
		if err == io.EOF {
			return
		}
		if err != nil {
			tb.Error(err)
			return
		}
		w.check(tb)
		a.sum.add(w.Totals.amount)
		a.sum.add(w.Totals.Hidden)
		a.overflow += w.Totals.Overflow.Packets
		a.flows += w.Totals.Flows
		a.windows++
	}
	_, _ = io.Copy(io.Discard, documents) // or the program would wait for a reader
}

// close holds the sum against the device's own count. What its backlog dropped is in no counter of bytes.
func (a *account) close(tb testing.TB, device testkit.Counters) {
	tb.Helper()
	if a.sum.Packets != device.RxPackets+device.Dropped || device.Dropped == 0 && a.sum.Bytes != device.RxBytes || device.RxPackets == 0 {
		tb.Errorf("%d windows make %+v, the device counted %+v", a.windows, a.sum, device)
	}
}
