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
