// Package model holds the nouns every other package speaks in: endpoints, flows, readings and
// snapshots. It imports the standard library only.
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

// Flow is one row: one connection or conversation, both directions, over one window.
type Flow struct {
	Netns      uint32
	Proto      Proto
	State      string // TCP state as ss names it ("established"); "" for other protocols
	RoleSource RoleSource
	Client     Endpoint
	Server     Endpoint
	ToServer   Counters
	ToClient   Counters
	ClientSRTT time.Duration // the client socket's smoothed round trip; 0 unknown
	ServerSRTT time.Duration
	ClientCwnd uint32 // segments; 0 unknown
	ServerCwnd uint32
	Turn       Latency // a request's last payload to its answer's first
	Response   Latency // a request's last payload to its answer's last
	Crossed    uint64  // requests that did not wait for the whole answer before them
	FirstSeen  time.Time
	LastSeen   time.Time
	Closed     bool

	Connect     time.Duration // TCP, from the SYN, as are the two that follow: to the end of the handshake; 0 unknown
	Accept      time.Duration // to the first sign of a process at the server's socket
	FirstByte   time.Duration // to the server's first payload
	Connected   bool          // the handshake ended in this window
	Health      *Health       // nil: nothing went wrong, and nothing waits
	Breakdown   Breakdown     // of the turns
	AcceptQueue *AcceptQueue  // of the socket that listens for the server; nil: unknown
}

// IPv6 reports whether the flow runs over IPv6.
func (f *Flow) IPv6() bool { return f.Client.Addr.Is6() || f.Server.Addr.Is6() }
