package owner

import (
	"testing"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Sockets of two sites may have equal addresses and ports.
func TestHoldersOfSites(t *testing.T) {
	const client, server = "127.0.0.1:40000", "127.0.0.1:80"
	connected := func(pid, site uint32) reading.Holder {
		h := held(pid, model.ProtoTCP, server, client)
		h.Site = site
		return h
	}
	listening := func(pid, site uint32) reading.Holder {
		h := held(pid, model.ProtoTCP, "[::]:80", "")
		h.Site = site
		return h
	}
	for _, test := range []struct {
		name string
		held []reading.Holder
		pid  uint32 // of site 1; 0: nobody
	}{
		{"connected at another site", []reading.Holder{connected(1, 2)}, 0},
		{"connected at two sites", []reading.Holder{connected(1, 1), connected(2, 2)}, 1},
		{"listening at another site", []reading.Holder{listening(1, 2)}, 0},
		{"listening at two sites", []reading.Holder{listening(2, 2), listening(1, 1)}, 1},
	} {
		pid := uint32(0)
		if p := index(test.held).holder(flowKey(model.ProtoTCP, server, client), 0, process(99).StartNS, true); p != nil {
			pid = p.PID
		}
		if pid != test.pid {
			t.Errorf("%s: held by %d, want %d", test.name, pid, test.pid)
		}
	}
}
