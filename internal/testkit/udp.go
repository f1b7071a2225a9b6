package testkit

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

const (
	udpHeaderLen = 8
	// closedPort is one nobody listens on: a private namespace has no services.
	closedPort = 9
)

// UDPCount sends n datagrams of size bytes from a connected socket to one that reads them all.
func UDPCount(ns *Netns, family uint8, n, size int) (Sent, error) {
	return datagrams{family: family, writes: n, size: size}.send(ns)
}

// UDPLarge sends n datagrams too large for most MTUs (65000 is usual); at MTU 1500 they leave in
// fragments.
func UDPLarge(ns *Netns, family uint8, n, size int) (Sent, error) {
	return UDPCount(ns, family, n, size)
}

// UDPSegment makes n writes, each of which the kernel splits into so many datagrams of size bytes
// (UDP_SEGMENT). On lo each write is one packet.
func UDPSegment(ns *Netns, family uint8, n, segments, size int) (Sent, error) {
	return datagrams{
		family: family, writes: n, size: segments * size, gso: true,
		setup: func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, size) },
	}.send(ns)
}

// IPv4Options sends n UDP datagrams of size bytes with 8 bytes of IP options.
func IPv4Options(ns *Netns, n, size int) (Sent, error) {
	options := string([]byte{1, 1, 1, 1, 1, 1, 1, 0})
	return datagrams{
		family: 4, writes: n, size: size, ipOptions: len(options),
		setup: func(fd int) error { return unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, options) },
	}.send(ns)
}

// IPv6HopByHop sends n UDP datagrams of size bytes with an 8-byte hop-by-hop header.
func IPv6HopByHop(ns *Netns, n, size int) (Sent, error) {
	header := string([]byte{0, 0, 1, 4, 0, 0, 0, 0})
	return datagrams{
		family: 6, writes: n, size: size, ipOptions: len(header),
		setup: func(fd int) error {
			return unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_HOPOPTS, header)
		},
	}.send(ns)
}

// datagrams describes UDP traffic in one direction.
type datagrams struct {
	family    uint8
	writes    int
	size      int  // of a write
	gso       bool // a write leaves as one packet, whatever the MTU
	ipOptions int  // bytes of IP options or extension headers
	setup     func(senderFD int) error
}

// send makes the traffic in lockstep: each write is read before the next, so that no receive
// buffer is ever too small.
func (d datagrams) send(ns *Netns) (Sent, error) {
	client, server, err := d.open(ns)
	if err != nil {
		return Sent{}, err
	}
	defer client.Close()
	defer server.Close()
	sent := Sent{
		Proto:  model.ProtoUDP,
		Client: client.LocalAddr().(*net.UDPAddr).AddrPort(),
		Server: client.RemoteAddr().(*net.UDPAddr).AddrPort(),
		Flows:  1,
	}
	packets := uint64(1)
	if !d.gso {
		if packets, err = ns.devicePackets(d.family, d.ipOptions, udpHeaderLen+d.size); err != nil {
			return sent, err
		}
	}
	out, in := make([]byte, d.size), make([]byte, d.size+1)
	for range d.writes {
		n, err := client.Write(out)
		if err != nil {
			return sent, err
		}
		sent.ToServer.add(Amount{uint64(n), packets})
		if err := readDatagrams(server, in, n); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (d datagrams) open(ns *Netns) (client, server *net.UDPConn, err error) {
	addr, err := loopback(d.family)
	if err != nil {
		return nil, nil, err
	}
	err = ns.Do(func() error {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		if err != nil {
			return err
		}
		client, err = dialUDP(server.LocalAddr().(*net.UDPAddr).AddrPort(), d.setup)
		if err != nil {
			server.Close()
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return client, server, server.SetDeadline(time.Now().Add(patience))
}

// dialUDP connects from the namespace the thread is in.
func dialUDP(to netip.AddrPort, setup func(fd int) error) (*net.UDPConn, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	if setup == nil {
		return conn, nil
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Control(func(fd uintptr) { failed = setup(int(fd)) })
		if err == nil {
			err = failed
		}
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("set up udp sender: %w", err)
	}
	return conn, nil
}

// readDatagrams reads datagrams until they make total bytes.
func readDatagrams(conn *net.UDPConn, buf []byte, total int) error {
	for first := true; first || total > 0; first = false {
		n, err := conn.Read(buf)
		if err != nil {
			return fmt.Errorf("read datagram, %d bytes missing: %w", total, err)
		}
		total -= n
	}
	if total < 0 {
		return fmt.Errorf("read datagram: %d bytes more than sent", -total)
	}
	return nil
}
