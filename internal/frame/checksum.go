package frame

import (
	"encoding/binary"
	"math/bits"

	"github.com/lotrace/lotrace/internal/model"
)

// sum adds the 16-bit words of b to a ones' complement sum; only the last part of a sum may have an odd
// length.
func sum(to uint16, b []byte) uint16 {
	total, carry := uint64(to), uint64(0)
	for ; len(b) >= 8; b = b[8:] {
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b), carry)
	}
	var rest [8]byte
	copy(rest[:], b)
	total, carry = bits.Add64(total, binary.BigEndian.Uint64(rest[:]), carry)
	total, carry = bits.Add64(total, 0, carry)
	total += carry
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}

// checksumAt is where the transport's checksum is; 0: it has none that is filled in here.
func (h *Headers) checksumAt() int {
	switch {
	case h.Fragment:
		return 0
	case h.Proto == model.ProtoTCP:
		return h.L4 + tcpChecksum
	case h.Proto == model.ProtoUDP:
		return h.L4 + udpChecksum
	}
	return 0
}

// pseudo is the sum of what transport checksums cover besides the packet, of length bytes from L4 on. It
// is what the stack leaves in the field for the device to finish.
func (h *Headers) pseudo(b []byte, length int) uint16 {
	addrs := b[h.L3+ipv4Source : h.L3+ipv4Source+8]
	if h.IPv6 {
		addrs = b[h.L3+ipv6Source : h.L3+ipv6Source+32]
	}
	var tail [8]byte
	binary.BigEndian.PutUint32(tail[:], uint32(length))
	tail[7] = byte(h.Proto)
	return sum(sum(0, addrs), tail[:])
}

// unfinished reports whether the stack left the checksum of a packet of length bytes to the device.
func (h *Headers) unfinished(b []byte, length int) bool {
	at := h.checksumAt()
	return at > 0 && binary.BigEndian.Uint16(b[at:]) == h.pseudo(b, length-h.L4)
}

// fill computes the transport's checksum of a packet that b holds whole.
func (h *Headers) fill(b []byte) {
	at := h.checksumAt()
	if at == 0 {
		return
	}
	binary.BigEndian.PutUint16(b[at:], 0)
	check := ^sum(h.pseudo(b, len(b)-h.L4), b[h.L4:])
	if check == 0 && h.Proto == model.ProtoUDP { // which would say that there is none
		check = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], check)
}

// has reports whether the packet carries a checksum at all: UDP over IPv4 need not.
func (h *Headers) has(b []byte) bool {
	at := h.checksumAt()
	return at > 0 && (h.Proto != model.ProtoUDP || binary.BigEndian.Uint16(b[at:]) != 0)
}

// fillIPv4 computes the header's own checksum.
func (h *Headers) fillIPv4(b []byte) {
	ip := b[h.L3:h.L4]
	binary.BigEndian.PutUint16(ip[ipv4Checksum:], 0)
	binary.BigEndian.PutUint16(ip[ipv4Checksum:], ^sum(0, ip))
}

// icmpLen is that of an ICMP header; behind that of an error stands the packet that it is about.
const icmpLen = 8

// fillICMP finishes the checksum of the packet that an error quotes, if it quotes all of it, and makes the
// message's own fit, also to a payload that was altered.
func (h *Headers) fillICMP(b []byte, altered bool) {
	if h.Fragment || len(b) < h.L4+icmpLen || h.Proto != model.ProtoICMP && h.Proto != model.ProtoICMPv6 {
		return
	}
	quoted, ok := parseIP(b, h.L4+icmpLen, h.quotedType(b))
	if ok && quoted.length(b) == len(b)-quoted.L3 && (altered && quoted.has(b) || quoted.unfinished(b, len(b))) {
		quoted.fill(b)
		altered = true
	}
	if !altered {
		return
	}
	icmp := b[h.L4:]
	binary.BigEndian.PutUint16(icmp[2:], 0)
	check := uint16(0)
	if h.IPv6 {
		check = h.pseudo(b, len(icmp))
	}
	binary.BigEndian.PutUint16(icmp[2:], ^sum(check, icmp))
}

// quotedType is the EtherType of what an ICMP message quotes; 0: nothing.
func (h *Headers) quotedType(b []byte) uint16 {
	const unreachable, exceeded, badParameter = 3, 11, 12
	kind := b[h.L4]
	switch {
	case h.IPv6 && kind > 0 && kind < 128:
		return etherIPv6
	case !h.IPv6 && (kind == unreachable || kind == exceeded || kind == badParameter):
		return etherIPv4
	}
	return 0
}

// length is that of the IP packet, as its header says.
func (h *Headers) length(b []byte) int {
	if h.IPv6 {
		return ipv6Len + int(binary.BigEndian.Uint16(b[h.L3+ipv6PayloadLen:]))
	}
	return int(binary.BigEndian.Uint16(b[h.L3+ipv4TotalLen:]))
}
