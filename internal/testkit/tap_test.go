package testkit_test

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/refparse"
	"github.com/lotrace/lotrace/internal/testkit"
)

// tap is a packet socket on a namespace's lo, and what it made of the packets: a second opinion
// on what was sent, by the reference parser.
type tap struct {
	fd      int
	before  testkit.Counters
	total   testkit.Counters
	flows   map[model.Key]*[2]testkit.Amount
	next    map[sender]uint32 // TCP: sequence number after the last byte
	ports   map[datagram]refparse.Result
	largest int
	jumbo   int
}

type sender struct {
	key  model.Key
	side int
}

type datagram struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8
}

func openTap(t *testing.T, ns *testkit.Netns) *tap {
	t.Helper()
	all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	fd := -1
	err := ns.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(fd) })
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 512<<20),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: 1}))
	})
	if err != nil {
		t.Fatalf("open tap: %v", err)
	}
	return &tap{
		fd: fd, before: ns.Device(),
		flows: map[model.Key]*[2]testkit.Amount{}, next: map[sender]uint32{}, ports: map[datagram]refparse.Result{},
	}
}

// compare holds the tap, the senders and the device against each other.
func (p *tap) compare(t *testing.T, ns *testkit.Netns, all ...testkit.Sent) {
	t.Helper()
	p.drain(t)
	if device := ns.Device().Sub(p.before); p.total != device {
		t.Errorf("tap saw %+v, device counted %+v", p.total, device)
	}
	flows := 0
	for _, sent := range all {
		flows += sent.Flows
		toServer, toClient := p.between(sent)
		checkAmount(t, sent, "to server", toServer, sent.ToServer)
		checkAmount(t, sent, "to client", toClient, sent.ToClient)
	}
	if len(p.flows) != flows {
		t.Errorf("tap saw %d flows, want %d: %v", len(p.flows), flows, p.flows)
	}
}

func checkAmount(t *testing.T, sent testkit.Sent, direction string, saw, want testkit.Amount) {
	t.Helper()
	if saw.Payload != want.Payload || saw.Packets != want.Packets && want.Packets != 0 {
		t.Errorf("protocol %d %s: tap saw %+v, sender says %+v", sent.Proto, direction, saw, want)
	}
}

// between sums the flows that sent means.
func (p *tap) between(sent testkit.Sent) (toServer, toClient testkit.Amount) {
	for key, sides := range p.flows {
		ends := [2]netip.AddrPort{key.A, key.B}
		for client, end := range ends {
			if key.Proto == sent.Proto && ends[1-client] == sent.Server && end.Addr() == sent.Client.Addr() &&
				(sent.Client.Port() == 0 || sent.Client == end) {
				addAmount(&toServer, sides[client])
				addAmount(&toClient, sides[1-client])
				break // ends may be equal
			}
		}
	}
	return toServer, toClient
}

func addAmount(a *testkit.Amount, o testkit.Amount) {
	a.Payload += o.Payload
	a.Packets += o.Packets
}

func (p *tap) drain(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for {
		n, from, err := unix.Recvfrom(p.fd, buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatalf("read tap: %v", err)
		}
		// Every packet is seen twice, going out and coming in.
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			p.count(t, buf[:n])
		}
	}
	stats, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops != 0 {
		t.Fatalf("tap lost packets: %+v, %v", stats, err)
	}
}

func (p *tap) count(t *testing.T, frame []byte) {
	t.Helper()
	p.total.RxPackets++
	p.total.RxBytes += uint64(len(frame) - 14)
	p.largest = max(p.largest, len(frame))
	r := refparse.Parse(frame)
	if r.Reason != refparse.OK {
		t.Fatalf("%x: %s", frame[:min(len(frame), 100)], r.Reason)
	}
	if r.JumboLen > 0 {
		p.jumbo++
	}
	// Later fragments have the ports of the first.
	whole := datagram{r.Src.Addr(), r.Dst.Addr(), r.FragID, r.Proto}
	if r.FragFirst {
		p.ports[whole] = r
	}
	if r.FragLater {
		r.Src, r.Dst = p.ports[whole].Src, p.ports[whole].Dst
	}
	key, side := r.Key(0)
	if p.flows[key] == nil {
		p.flows[key] = new([2]testkit.Amount)
	}
	amount := &p.flows[key][side]
	amount.Packets++
	amount.Payload += uint64(p.fresh(r, sender{key, side}))
}

// fresh is the payload of r that was not sent before.
func (p *tap) fresh(r refparse.Result, from sender) int {
	if model.Proto(r.Proto) != model.ProtoTCP || r.Payload == 0 {
		return r.Payload
	}
	end := r.Seq + uint32(r.Payload)
	next, known := p.next[from]
	if !known {
		next = r.Seq
	}
	if int32(end-next) < 0 {
		return 0
	}
	p.next[from] = end
	return int(end - next)
}
