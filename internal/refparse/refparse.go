// Package refparse is the reference for the packet parser in the kernel: the same rules, written
// the obvious slow way. The two must agree on every frame.
package refparse

import (
	"encoding/binary"
	"net/netip"

	"github.com/lotrace/lotrace/internal/model"
)

// The reasons a parse can end with, named as in the exported overflow causes.
const (
	OK          = "ok"
	NotIP       = "not_ip"       // neither IPv4 nor IPv6 by its Ethernet type
	Truncated   = "truncated"    // ends before its own headers do
	Malformed   = "malformed"    // header fields that contradict themselves
	HeaderChain = "header_chain" // more IPv6 extension headers than maxIPv6Headers
)

const (
	ethernetLen    = 14
	jumboLen       = 8
	maxIPv6Headers = 8
)

// Next-header values of IPv6 extension headers.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAuth        = 51
	extDestOptions = 60
	extMobility    = 135
	extHIP         = 139
	extShim6       = 140
)

// Result is what a frame's headers say. Unless Reason is OK, nothing else in it is set. Lengths
// are in bytes and follow from the frame's length alone: the length fields of IP and UDP are not
// believed, since the stack leaves them 0 in packets over 64 KiB.
type Result struct {
	Reason    string
	Family    uint8 // 4 or 6, as on the wire
	Proto     uint8
	Src, Dst  netip.AddrPort // v4-mapped addresses unmapped
	L3Len     int            // IP header with options or extension headers
	JumboLen  int            // of that, the jumbo hop-by-hop header, which segmentation removes
	L4Len     int            // 0 for later fragments and unknown protocols
	Payload   int            // all that follows
	TCPFlags  uint8
	Seq       uint32
	FragFirst bool
	FragLater bool
	FragID    uint32 // 0 unless FragFirst or FragLater
}

// Parse reads an Ethernet frame.
func Parse(frame []byte) Result {
	if len(frame) < ethernetLen {
		return Result{Reason: Truncated}
	}
	var r Result
	packet := frame[ethernetLen:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		r.Reason = r.parseIPv4(packet)
	case 0x86dd:
		r.Reason = r.parseIPv6(packet)
	default:
		r.Reason = NotIP
	}
	if r.Reason == OK && !r.FragLater {
		r.Reason = r.parseTransport(packet[r.L3Len:])
	}
	if r.Reason != OK {
		return Result{Reason: r.Reason}
	}
	r.Payload = len(packet) - r.L3Len - r.L4Len
	return r
}

func (r *Result) parseIPv4(b []byte) string {
	if len(b) < 20 {
		return Truncated
	}
	headerLen := int(b[0]&0x0f) * 4
	if b[0]>>4 != 4 || headerLen < 20 {
		return Malformed
	}
	if headerLen > len(b) {
		return Truncated
	}
	r.Family = 4
	r.Proto = b[9]
	r.L3Len = headerLen
	r.setAddrs(b[12:16], b[16:20])
	flags := binary.BigEndian.Uint16(b[6:])
	r.setFragment(uint32(binary.BigEndian.Uint16(b[4:])), flags&0x1fff, flags&0x2000 != 0)
	return OK
}

func (r *Result) parseIPv6(b []byte) string {
	if len(b) < 40 {
		return Truncated
	}
	if b[0]>>4 != 6 {
		return Malformed
	}
	r.Family = 6
	r.Proto = b[6]
	r.L3Len = 40
	r.setAddrs(b[8:24], b[24:40])
	for n := 0; isExtension(r.Proto) && !r.FragLater; n++ {
		if n == maxIPv6Headers {
			return HeaderChain
		}
		if reason := r.parseExtension(b[r.L3Len:]); reason != OK {
			return reason
		}
	}
	return OK
}

func isExtension(next uint8) bool {
	switch next {
	case extHopByHop, extRouting, extFragment, extAuth, extDestOptions, extMobility, extHIP, extShim6:
		return true
	}
	return false
}

// parseExtension reads the extension header of kind r.Proto at the start of b.
func (r *Result) parseExtension(b []byte) string {
	if len(b) < 8 {
		return Truncated
	}
	size := (int(b[1]) + 1) * 8
	switch r.Proto {
	case extFragment:
		size = 8
		offset := binary.BigEndian.Uint16(b[2:])
		r.setFragment(binary.BigEndian.Uint32(b[4:]), offset>>3, offset&1 != 0)
	case extAuth:
		size = (int(b[1]) + 2) * 4
	case extHopByHop:
		if size == jumboLen && b[2] == 0xc2 && b[3] == 4 {
			r.JumboLen = jumboLen
		}
	}
	if size > len(b) {
		return Truncated
	}
	r.L3Len += size
	r.Proto = b[0]
	return OK
}

func (r *Result) setAddrs(src, dst []byte) {
	from, _ := netip.AddrFromSlice(src)
	to, _ := netip.AddrFromSlice(dst)
	r.Src = netip.AddrPortFrom(from.Unmap(), 0)
	r.Dst = netip.AddrPortFrom(to.Unmap(), 0)
}

func (r *Result) setPorts(src, dst uint16) {
	r.Src = netip.AddrPortFrom(r.Src.Addr(), src)
	r.Dst = netip.AddrPortFrom(r.Dst.Addr(), dst)
}

// setFragment records a piece of a datagram; offset 0 with nothing to follow is a whole one. Of
// several fragment headers the last counts.
func (r *Result) setFragment(id uint32, offset uint16, more bool) {
	r.FragLater = offset != 0
	r.FragFirst = more && !r.FragLater
	r.FragID = 0
	if r.FragFirst || r.FragLater {
		r.FragID = id
	}
}

func (r *Result) parseTransport(b []byte) string {
	switch {
	case r.Proto == uint8(model.ProtoTCP):
		return r.parseTCP(b)
	case r.Proto == uint8(model.ProtoUDP):
		return r.parsePorts(b, 8)
	case r.Proto == uint8(model.ProtoSCTP):
		return r.parsePorts(b, 12)
	case r.Family == 4 && r.Proto == uint8(model.ProtoICMP):
		return r.parseICMP(b, 8, 0)
	case r.Family == 6 && r.Proto == uint8(model.ProtoICMPv6):
		return r.parseICMP(b, 128, 129)
	}
	return OK
}

func (r *Result) parseTCP(b []byte) string {
	if reason := r.parsePorts(b, 20); reason != OK {
		return reason
	}
	headerLen := int(b[12]>>4) * 4
	if headerLen < 20 {
		return Malformed
	}
	if headerLen > len(b) {
		return Truncated
	}
	r.L4Len = headerLen
	r.Seq = binary.BigEndian.Uint32(b[4:])
	r.TCPFlags = b[13]
	return OK
}

// parsePorts reads a header of headerLen bytes that begins with the two ports.
func (r *Result) parsePorts(b []byte, headerLen int) string {
	if len(b) < headerLen {
		return Truncated
	}
	r.L4Len = headerLen
	r.setPorts(binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]))
	return OK
}

// parseICMP gives the pinging side the echo identifier as its port.
func (r *Result) parseICMP(b []byte, echoRequest, echoReply uint8) string {
	if len(b) < 8 {
		return Truncated
	}
	r.L4Len = 8
	id := binary.BigEndian.Uint16(b[4:])
	switch b[0] {
	case echoRequest:
		r.setPorts(id, 0)
	case echoReply:
		r.setPorts(0, id)
	}
	return OK
}

// Key names the frame's flow, and says which of its two ends sent the frame: 0 for A, 1 for B.
// The smaller end, by its address in v4-mapped form and then by its port, is A. The frame must
// have parsed.
func (r Result) Key(netns uint32) (key model.Key, side int) {
	key = model.Key{Netns: netns, Proto: model.Proto(r.Proto), A: r.Src, B: r.Dst}
	if less(r.Dst, r.Src) {
		key.A, key.B, side = r.Dst, r.Src, 1
	}
	return key, side
}

func less(a, b netip.AddrPort) bool {
	x, y := a.Addr().As16(), b.Addr().As16()
	if x != y {
		return string(x[:]) < string(y[:])
	}
	return a.Port() < b.Port()
}
