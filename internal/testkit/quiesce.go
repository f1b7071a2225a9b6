package testkit

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	quietPoll   = 4 * time.Millisecond
	quietReads  = 4 // how often in a row nothing may have changed
	quietWithin = 10 * time.Second
)

// Quiesce waits until traffic in the namespace rests, so that counters read afterwards are final:
// no TCP socket is opening, closing or has unacknowledged data, and the device counts nothing.
// Since both ends of a connection are here, an acknowledgement that is held back shows as
// unacknowledged data. It fails the test when traffic does not come to rest.
func Quiesce(ns *Netns) {
	ns.tb.Helper()
	poll := time.NewTicker(quietPoll)
	defer poll.Stop()
	var last Counters
	var busy string
	quiet := 0
	for deadline := time.Now().Add(quietWithin); time.Now().Before(deadline); <-poll.C {
		var err error
		if busy, err = ns.busySocket(); err != nil {
			ns.tb.Fatalf("list tcp sockets: %v", err)
		}
		now := ns.Device()
		if busy == "" && now == last {
			quiet++
		} else {
			quiet = 0
		}
		if quiet == quietReads {
			return
		}
		last = now
	}
	if busy == "" {
		busy = "the device goes on counting"
	}
	ns.tb.Fatalf("traffic did not rest within %v: %s", quietWithin, busy)
}

// busySocket says what a TCP socket of the namespace is waiting for; "" when none is.
func (n *Netns) busySocket() (busy string, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := n.handle.SocketDiagTCP(family)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			return "the list of sockets changed while it was read", nil
		}
		if err != nil {
			return "", err
		}
		for _, s := range sockets {
			switch s.State {
			case netlink.TCP_LISTEN, netlink.TCP_TIME_WAIT, netlink.TCP_CLOSE:
			case netlink.TCP_ESTABLISHED:
				if s.WQueue > 0 {
					busy = fmt.Sprintf("%+v has %d unacknowledged bytes", s.ID, s.WQueue)
				}
			default:
				busy = fmt.Sprintf("%+v is in state %d", s.ID, s.State)
			}
		}
	}
	return busy, nil
}
