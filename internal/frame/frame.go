// Package frame reads and rewrites Ethernet frames: where their headers are, their checksums, and the
// packets that a device makes of one skb.
package frame

import (
	"encoding/binary"

	"github.com/lotrace/lotrace/internal/model"
)

const (
	etherLen  = 14
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd

	ipv4Len  = 20
	ipv6Len  = 40
	jumboLen = 8
	tcpLen   = 20
	udpLen   = 8

	maxExtensions = 8 // as many as the kernel side reads
)

// Offsets of fields in their headers.
const (
	ipv4TotalLen = 2
	ipv4ID       = 4
	ipv4Fragment = 6
	ipv4Checksum = 10
	ipv4Source   = 12

	ipv6PayloadLen = 4
	ipv6Next       = 6
	ipv6Source     = 8

	tcpSeq      = 4
	tcpAck      = 8
	tcpOffset   = 12
	tcpFlags    = 13
	tcpWindow   = 14
	tcpChecksum = 16

	udpLength   = 4
	udpChecksum = 6
)

// TCP flags.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Headers says where the headers of a frame are.
type Headers struct {
	L3, L4, Payload int // where each begins; without a transport header that is known, L4 is Payload
	IPv6            bool
	Proto           model.Proto // behind extension headers
	Fragment        bool        // of a datagram: the first or a later one
	jumbo           int         // where the hop-by-hop header of a packet over 64 KiB is; 0: none
}

// Parse finds the headers at the beginning of b, which may be cut short behind them. It returns false for
// other frames than IPv4 and IPv6, and where headers are cut or contradict themselves.
func Parse(b []byte) (h Headers, ok bool) {
	if len(b) < etherLen {
		return h, false
	}
	return parseIP(b, etherLen, binary.BigEndian.Uint16(b[12:]))
}

func parseIP(b []byte, at int, etherType uint16) (h Headers, ok bool) {
	h.L3 = at
	switch etherType {
	case etherIPv4:
		ok = h.parseIPv4(b)
	case etherIPv6:
		ok = h.parseIPv6(b)
	}
	return h, ok && h.parseTransport(b)
}

func (h *Headers) parseIPv4(b []byte) bool {
	ip := b[h.L3:]
	if len(ip) < ipv4Len || ip[0]>>4 != 4 {
		return false
	}
	h.L4 = h.L3 + int(ip[0]&15)*4
	h.Proto = model.Proto(ip[9])
	const moreOrOffset = 0x3fff
	h.Fragment = binary.BigEndian.Uint16(ip[ipv4Fragment:])&moreOrOffset != 0
	return h.L4 >= h.L3+ipv4Len && h.L4 <= len(b)
}

// Next-header values of IPv6 extension headers.
const (
	nextHopByHop    = 0
	nextRouting     = 43
	nextFragment    = 44
	nextAuth        = 51
	nextDestOptions = 60
	nextMobility    = 135
	nextHIP         = 139
	nextShim6       = 140
)

func (h *Headers) parseIPv6(b []byte) bool {
	if len(b) < h.L3+ipv6Len || b[h.L3]>>4 != 6 {
		return false
	}
	h.IPv6 = true
	h.L4 = h.L3 + ipv6Len
	next := b[h.L3+ipv6Next]
	for range maxExtensions {
		size := 0
		switch next {
		case nextHopByHop, nextRouting, nextDestOptions, nextMobility, nextHIP, nextShim6:
			size = 8
		case nextFragment, nextAuth:
			size = 4
		default:
			h.Proto = model.Proto(next)
			return true
		}
		if len(b) < h.L4+8 {
			return false
		}
		extension := b[h.L4:]
		switch next {
		case nextFragment:
			h.Fragment = h.Fragment || binary.BigEndian.Uint16(extension[2:])&^6 != 0
			size = 8
		case nextAuth:
			size = (int(extension[1]) + 2) * 4
		default:
			size += int(extension[1]) * 8
		}
		const jumboOption = 0xc2
		first := h.L4 == h.L3+ipv6Len // a hop-by-hop header elsewhere is none (RFC 8200, section 4.1)
		if next == nextHopByHop && first && size == jumboLen && extension[2] == jumboOption {
			h.jumbo = h.L4
		}
		next = extension[0]
		if h.L4 += size; h.L4 > len(b) {
			return false
		}
	}
	return false
}

// parseTransport leaves fragments alone, of which all but the first have no such header.
func (h *Headers) parseTransport(b []byte) bool {
	h.Payload = h.L4
	if h.Fragment {
		return true
	}
	switch h.Proto {
	case model.ProtoTCP:
		if len(b) < h.L4+tcpLen {
			return false
		}
		size := int(b[h.L4+tcpOffset]>>4) * 4
		h.Payload += size
		return size >= tcpLen && h.Payload <= len(b)
	case model.ProtoUDP:
		h.Payload += udpLen
		return h.Payload <= len(b)
	default:
		return true
	}
}

// TCP is what a TCP header says of its segment.
type TCP struct {
	Seq, Ack uint32
	Flags    uint8
	Window   uint16 // not scaled
}

// TCP reads the header of a frame that Parse found to be TCP and no fragment.
func (h *Headers) TCP(b []byte) TCP {
	tcp := b[h.L4:h.Payload]
	return TCP{
		Seq:    binary.BigEndian.Uint32(tcp[tcpSeq:]),
		Ack:    binary.BigEndian.Uint32(tcp[tcpAck:]),
		Flags:  tcp[tcpFlags],
		Window: binary.BigEndian.Uint16(tcp[tcpWindow:]),
	}
}
