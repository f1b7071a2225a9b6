package testkit

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// patience bounds every wait for the other end; only a broken kernel or test meets it.
const patience = 30 * time.Second

// Amount is what one side sent.
type Amount struct {
	Payload uint64 // bytes above the transport header, as written
	Packets uint64 // what the device must count; 0 where the stack decides
}

func (a *Amount) add(o Amount) {
	a.Payload += o.Payload
	a.Packets += o.Packets
}

// Sent is one kind of traffic from its senders' view. The receivers have read all of it. Where
// the traffic was many flows, Client has port 0.
type Sent struct {
	Proto    model.Proto
	Client   netip.AddrPort
	Server   netip.AddrPort
	Flows    int
	ToServer Amount
	ToClient Amount
}

// loopback is the loopback address of a family, 4 or 6.
func loopback(family uint8) (netip.Addr, error) {
	switch family {
	case 4:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	case 6:
		return netip.IPv6Loopback(), nil
	}
	return netip.Addr{}, fmt.Errorf("no such address family: %d", family)
}

// devicePackets is how many packets lo counts for one IP payload of so many bytes behind headers
// of extra bytes (options) besides the plain IP header.
func (n *Netns) devicePackets(family uint8, extra, size int) (uint64, error) {
	lo, err := n.lo()
	if err != nil {
		return 0, err
	}
	return fragments(family, lo.MTU-extra, size), nil
}

// fragments is how many pieces an IP payload makes at an MTU.
func fragments(family uint8, mtu, size int) uint64 {
	whole := mtu - 20
	piece := whole &^ 7
	last := whole // IPv4 lets the last piece have any length
	if family == 6 {
		whole = mtu - 40
		piece = whole&^7 - 8
		last = piece
	}
	if size <= whole {
		return 1
	}
	n := uint64(1)
	for ; size > last; size -= piece {
		n++
	}
	return n
}
