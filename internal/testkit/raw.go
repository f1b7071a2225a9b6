package testkit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

const (
	// icmpHeaderLen is the same for both families.
	icmpHeaderLen = 8
	// maxIPv4HeaderLen is what a raw IPv4 socket delivers before the payload, at most.
	maxIPv4HeaderLen = 60
	// echoID is the identifier ICMPEcho pings with; it stands for the client's port.
	echoID = 4242
)

// ICMPEcho pings the loopback address n times with size bytes of payload, each ping after the
// answer to the one before.
func ICMPEcho(ns *Netns, family uint8, n, size int) (Sent, error) {
	proto, request, reply := model.ProtoICMP, byte(8), byte(0)
	if family == 6 {
		proto, request, reply = model.ProtoICMPv6, 128, 129
	}
	conn, to, err := listenRaw(ns, family, proto)
	if err != nil {
		return Sent{}, err
	}
	defer conn.Close()
	sent := Sent{Proto: proto, Client: netip.AddrPortFrom(to, echoID), Server: netip.AddrPortFrom(to, 0), Flows: 1}
	packets, err := ns.devicePackets(family, 0, icmpHeaderLen+size)
	if err != nil {
		return sent, err
	}
	for seq := range n {
		message := echoMessage(request, uint16(seq), size)
		if _, err := conn.WriteTo(message, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return sent, err
		}
		sent.ToServer.add(Amount{uint64(size), packets})
		if err := awaitEcho(conn, reply, message); err != nil {
			return sent, err
		}
		sent.ToClient.add(Amount{uint64(size), packets})
	}
	return sent, nil
}

// echoMessage leaves the checksum of ICMPv6 to the kernel, which insists on it.
func echoMessage(kind byte, seq uint16, size int) []byte {
	b := make([]byte, icmpHeaderLen+size)
	b[0] = kind
	binary.BigEndian.PutUint16(b[4:], echoID)
	binary.BigEndian.PutUint16(b[6:], seq)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// awaitEcho reads until the answer to request is there; the socket sees the request, too.
func awaitEcho(conn *net.IPConn, reply byte, request []byte) error {
	buf := make([]byte, maxIPv4HeaderLen+len(request))
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("await echo reply: %w", err)
		}
		if n == len(request) && buf[0] == reply && bytes.Equal(buf[4:n], request[4:]) {
			return nil
		}
	}
}

// RawProtocol sends n packets of a protocol nobody knows (253 is for experiments) with size bytes
// of payload from a raw socket to itself.
func RawProtocol(ns *Netns, family uint8, proto model.Proto, n, size int) (Sent, error) {
	conn, to, err := listenRaw(ns, family, proto)
	if err != nil {
		return Sent{}, err
	}
	defer conn.Close()
	self := netip.AddrPortFrom(to, 0)
	sent := Sent{Proto: proto, Client: self, Server: self, Flows: 1}
	packets, err := ns.devicePackets(family, 0, size)
	if err != nil {
		return sent, err
	}
	out, in := make([]byte, size), make([]byte, maxIPv4HeaderLen+size)
	for range n {
		if _, err := conn.WriteTo(out, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return sent, err
		}
		sent.ToServer.add(Amount{uint64(size), packets})
		got, _, err := conn.ReadFrom(in)
		if err != nil {
			return sent, fmt.Errorf("read raw packet: %w", err)
		}
		if got != size {
			return sent, fmt.Errorf("read raw packet: %d bytes, %d sent", got, size)
		}
	}
	return sent, nil
}

func listenRaw(ns *Netns, family uint8, proto model.Proto) (conn *net.IPConn, addr netip.Addr, err error) {
	addr, err = loopback(family)
	if err != nil {
		return nil, addr, err
	}
	err = ns.Do(func() error {
		conn, err = net.ListenIP(fmt.Sprintf("ip%d:%d", family, proto), &net.IPAddr{IP: addr.AsSlice()})
		return err
	})
	if err != nil {
		return nil, addr, err
	}
	return conn, addr, conn.SetDeadline(time.Now().Add(patience))
}

// Refused is what ClosedPort sends and gets back.
type Refused struct {
	TCP  Sent // a SYN and a RST
	UDP  Sent // one datagram
	ICMP Sent // the error for it, which comes from the server's address and quotes the datagram
}

// ClosedPort knocks at a port nobody listens on: once with TCP, once with a datagram of size bytes.
func ClosedPort(ns *Netns, family uint8, size int) (Refused, error) {
	addr, err := loopback(family)
	if err != nil {
		return Refused{}, err
	}
	server := netip.AddrPortFrom(addr, closedPort)
	refused := Refused{
		TCP: Sent{Proto: model.ProtoTCP, Client: netip.AddrPortFrom(addr, 0), Server: server, Flows: 1,
			ToServer: Amount{Packets: 1}, ToClient: Amount{Packets: 1}},
	}
	err = ns.Do(func() error {
		if conn, err := dial(server); err == nil {
			conn.Close()
			return fmt.Errorf("connect to closed tcp port %v: somebody listens", server)
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("connect to closed tcp port: %w", err)
		}
		refused.UDP, refused.ICMP, err = closedUDP(server, family, size)
		return err
	})
	return refused, err
}

func closedUDP(server netip.AddrPort, family uint8, size int) (udp, icmp Sent, err error) {
	conn, err := dialUDP(server, nil)
	if err != nil {
		return udp, icmp, err
	}
	defer conn.Close()
	if _, err := conn.Write(make([]byte, size)); err != nil {
		return udp, icmp, err
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		return udp, icmp, fmt.Errorf("send to closed udp port %v: somebody answered", server)
	} else if !errors.Is(err, syscall.ECONNREFUSED) {
		return udp, icmp, fmt.Errorf("send to closed udp port: %w", err)
	}
	client := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	self := netip.AddrPortFrom(server.Addr(), 0)
	proto, ipHeaderLen := model.ProtoICMP, 20
	if family == 6 {
		proto, ipHeaderLen = model.ProtoICMPv6, 40
	}
	udp = Sent{Proto: model.ProtoUDP, Client: client, Server: server, Flows: 1,
		ToServer: Amount{Payload: uint64(size), Packets: 1}}
	icmp = Sent{Proto: proto, Client: self, Server: self, Flows: 1,
		ToServer: Amount{Payload: uint64(ipHeaderLen + udpHeaderLen + size), Packets: 1}}
	return udp, icmp, nil
}
