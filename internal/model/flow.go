// Package model holds the nouns every other package speaks in: endpoints, flows, readings and
// windows. It imports the standard library only.
package model

import (
	"net/netip"
	"strconv"
	"time"
)

// Proto is an IP protocol number (IANA "Protocol Numbers").
type Proto uint8

// Protocols that lotrace knows by name.
const (
	ProtoICMP   Proto = 1
	ProtoTCP    Proto = 6
	ProtoUDP    Proto = 17
	ProtoICMPv6 Proto = 58
	ProtoSCTP   Proto = 132
)

// HasPorts reports whether the protocol's endpoints carry port numbers that lotrace reads.
func (p Proto) HasPorts() bool { return p == ProtoTCP || p == ProtoUDP || p == ProtoSCTP }

// String returns the protocol's name, or its number where lotrace knows no name.
func (p Proto) String() string {
	switch p {
	case ProtoICMP:
		return "icmp"
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	case ProtoICMPv6:
		return "icmpv6"
	case ProtoSCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// Key names a flow in canonical form: the smaller (address, port) first, IPv4 unmapped.
type Key struct {
	Netns uint32 // inode number of the network namespace
	Proto Proto
	A, B  netip.AddrPort
}

// Counters is what one sender sent. Packets and Bytes are the device's (ip -s link show lo), SKBs
// what the stack handed down, PayloadBytes what lies above the transport header without
// retransmissions. All cumulative or all of one window; never mixed.
type Counters struct {
	Packets      uint64
	Bytes        uint64
	SKBs         uint64
	PayloadBytes uint64
	Retransmits  uint64 // TCP segments sent again
	RetransBytes uint64 // TCP payload bytes sent again
}

// Add adds o to c.
func (c *Counters) Add(o Counters) {
	c.Packets += o.Packets
	c.Bytes += o.Bytes
	c.SKBs += o.SKBs
	c.PayloadBytes += o.PayloadBytes
	c.Retransmits += o.Retransmits
	c.RetransBytes += o.RetransBytes
}

// Sub returns c less o; both cumulative, o the older.
func (c Counters) Sub(o Counters) Counters {
	return Counters{
		Packets:      c.Packets - o.Packets,
		Bytes:        c.Bytes - o.Bytes,
		SKBs:         c.SKBs - o.SKBs,
		PayloadBytes: c.PayloadBytes - o.PayloadBytes,
		Retransmits:  c.Retransmits - o.Retransmits,
		RetransBytes: c.RetransBytes - o.RetransBytes,
	}
}

// RoleSource says how the client of a flow is known.
type RoleSource string

// The sources, best first.
const (
	RoleSYN      RoleSource = "syn"      // the handshake was seen
	RoleListener RoleSource = "listener" // one end is a listening socket
	RoleFirst    RoleSource = "first"    // no handshake in this protocol; the client sent first
	RolePort     RoleSource = "port"     // a guess by port numbers
)

// Endpoint is one end of a flow.
type Endpoint struct {
	Addr  netip.Addr
	Port  uint16
	Owner *Owner // nil: unknown
}

// AddrPort returns the endpoint's address and port.
func (e Endpoint) AddrPort() netip.AddrPort { return netip.AddrPortFrom(e.Addr, e.Port) }

// Kind is what carries a flow.
type Kind uint8

// KindLo is a flow over a loopback device.
const KindLo Kind = 0

// FlowID names a flow for as long as it lasts, over all windows, and never another one: neither a later
// connection on the same ports nor one at another site. Roles are no part of it, for they may become known
// later. It holds no pointer.
type FlowID struct {
	FlowKey
	BeganNS uint64 // CLOCK_MONOTONIC of its first packet that was counted
}

// FlowKey is the part of a FlowID that packets carry: the smaller (address, port) first, IPv4 as v4-mapped
// IPv6.
type FlowKey struct {
	Addr  [2][16]byte
	Port  [2]uint16
	Site  uint32
	Kind  Kind
	Proto Proto
}

// Flow is one row: one connection or conversation, both directions, over one window.
type Flow struct {
	Site       uint32 // Site.Number
	Netns      uint32 // Site.Netns
	Kind       Kind
	Proto      Proto
	TCPFlags   [2]uint8 // all header flags that the client and the server have sent so far
	State      string   // one of TCPStates, as TCPFlags and LastNS show; "" for other protocols
	Closed     bool
	RoleSource RoleSource
	Client     Endpoint
	Server     Endpoint
	BeganNS    uint64    // CLOCK_MONOTONIC of the first packet that was counted
	LastNS     [2]uint64 // the same of the newest packet of the client and of the server; 0: nothing was sent
	FirstSeen  time.Time // BeganNS by the wall clock, as it was set when the flow was noticed
	LastSeen   time.Time // the newest LastNS by the wall clock, as it was set at the window's end
	Tally

	// The state at the window's end; 0 and nil are unknown.
	ClientSRTT  time.Duration // the client socket's smoothed round trip
	ServerSRTT  time.Duration
	ClientCwnd  uint32 // segments
	ServerCwnd  uint32
	Handshake   time.Duration // TCP, from the SYN, as are the two that follow: to the end of the handshake
	Accept      time.Duration // to the first sign of a process at the server's socket
	FirstByte   time.Duration // to the server's first payload
	AcceptQueue *AcceptQueue  // of the sockets that listen for the server, one of Window.Listening
}

// ID returns the flow's identity.
func (f *Flow) ID() FlowID { return FlowID{f.Key(), f.BeganNS} }

// Key returns what the flow's packets carry.
func (f *Flow) Key() FlowKey {
	k := FlowKey{Site: f.Site, Kind: f.Kind, Proto: f.Proto}
	first, second := &f.Client, &f.Server
	if second.AddrPort().Compare(first.AddrPort()) < 0 {
		first, second = second, first
	}
	k.Addr = [2][16]byte{first.Addr.As16(), second.Addr.As16()}
	k.Port = [2]uint16{first.Port, second.Port}
	return k
}

// Clone returns a Flow that shares nothing with f but owners, which never change, and the queue that it
// waited in.
func (f *Flow) Clone() Flow {
	c := *f
	c.Tally = f.Tally.Clone()
	return c
}

// Judge sets State and Closed to what TCPFlags and LastNS show; of other protocols they stay as they are.
func (f *Flow) Judge() {
	if f.Proto == ProtoTCP {
		f.State, f.Closed = TCPState(f.TCPFlags[0], f.TCPFlags[1], f.LastNS[0], f.LastNS[1])
	}
}

// IPv6 reports whether the flow runs over IPv6.
func (f *Flow) IPv6() bool { return f.Client.Addr.Is6() || f.Server.Addr.Is6() }
