package testkit

import (
	"encoding/binary"
	"net/netip"

	"github.com/lotrace/lotrace/internal/model"
)

// The kinds of IPv6 extension headers, as next-header values.
const (
	HopByHop    = 0
	Routing     = 43
	fragmentExt = 44
	Auth        = 51
	DestOptions = 60
	Mobility    = 135
	HIP         = 139
	Shim6       = 140
)

// TCP flags.
const (
	FIN = 0x01
	SYN = 0x02
	RST = 0x04
	PSH = 0x08
	ACK = 0x10
)

const (
	etherLen     = 14
	etherTypeIP4 = 0x0800
	etherTypeARP = 0x0806
	etherTypeTag = 0x8100
	etherTypeIP6 = 0x86dd
)

// Option makes one part of a packet.
type Option func(*draft)

// draft is a packet before its lengths and checksums are known.
type draft struct {
	etherType  uint16
	tags       []byte // VLAN tags, each with the EtherType in front of it
	src, dst   netip.AddrPort
	ipOptions  []byte
	extensions []extension
	fragment   struct {
		id     uint32
		offset int
		more   bool
	}
	proto     model.Proto
	transport []byte // header with ports and checksum 0
	payload   int
	edits     []func(*frame)
}

type extension struct {
	kind uint8
	body []byte // the whole header; byte 0, the next header, is filled in later
}

// frame is a finished packet, with where its headers begin.
type frame struct {
	bytes  []byte
	l3, l4 int
}

// Packet makes one Ethernet frame, from 127.0.0.1:40000 to 127.0.0.1:80 (or ::1) unless told
// otherwise, valid in all its lengths and checksums, and then applies the mutations. The options
// work in order: the family comes before what it carries.
func Packet(options ...Option) []byte {
	d := &draft{proto: 253}
	IPv4()(d)
	for _, option := range options {
		option(d)
	}
	f := d.build()
	for _, edit := range d.edits {
		edit(f)
	}
	return f.bytes
}

func (d *draft) build() *frame {
	f := &frame{bytes: make([]byte, etherLen-2, 256)} // MAC addresses are zero on lo
	f.bytes = append(f.bytes, d.tags...)
	f.bytes = binary.BigEndian.AppendUint16(f.bytes, d.etherType)
	f.l3 = len(f.bytes)
	if d.etherType == etherTypeARP {
		f.bytes = append(f.bytes, arpRequest...)
		f.l4 = len(f.bytes)
		return f
	}
	body := d.body()
	if d.etherType == etherTypeIP6 {
		f.bytes = append(f.bytes, d.ip6Header(len(body))...)
	} else {
		f.bytes = append(f.bytes, d.ip4Header(len(body))...)
	}
	f.l4 = len(f.bytes)
	f.bytes = append(f.bytes, body...)
	return f
}

// body is the transport header, which later fragments lack, and the payload.
func (d *draft) body() []byte {
	var b []byte
	if d.fragment.offset == 0 {
		b = append(b, d.transport...)
	}
	header := len(b)
	b = append(b, make([]byte, d.payload)...)
	for i := range b[header:] {
		b[header+i] = byte(i)
	}
	if header > 0 {
		d.finishTransport(b)
	}
	return b
}

// finishTransport fills in what depends on the addresses, the ports and the length. A fragment's
// checksum covers the fragment alone.
func (d *draft) finishTransport(b []byte) {
	if d.proto.HasPorts() {
		binary.BigEndian.PutUint16(b, d.src.Port())
		binary.BigEndian.PutUint16(b[2:], d.dst.Port())
	}
	switch d.proto {
	case model.ProtoTCP:
		binary.BigEndian.PutUint16(b[16:], checksum(d.pseudoHeader(len(b)), b))
	case model.ProtoUDP:
		binary.BigEndian.PutUint16(b[4:], lengthField(len(b)))
		binary.BigEndian.PutUint16(b[6:], checksum(d.pseudoHeader(len(b)), b))
	case model.ProtoSCTP:
		binary.LittleEndian.PutUint32(b[8:], crc32c(b))
	case model.ProtoICMP:
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	case model.ProtoICMPv6:
		binary.BigEndian.PutUint16(b[2:], checksum(d.pseudoHeader(len(b)), b))
	}
}

func (d *draft) ip4Header(bodyLen int) []byte {
	src, dst := d.src.Addr().As4(), d.dst.Addr().As4()
	size := 20 + len(d.ipOptions)
	b := make([]byte, 20, size)
	b[0] = 4<<4 | byte(size/4)
	binary.BigEndian.PutUint16(b[2:], lengthField(size+bodyLen))
	binary.BigEndian.PutUint16(b[4:], uint16(d.fragment.id))
	binary.BigEndian.PutUint16(b[6:], uint16(d.fragment.offset/8))
	if d.fragment.more {
		b[6] |= 0x20
	}
	b[8] = 64
	b[9] = byte(d.proto)
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	b = append(b, d.ipOptions...)
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return b
}

func (d *draft) ip6Header(bodyLen int) []byte {
	src, dst := d.src.Addr().As16(), d.dst.Addr().As16()
	b := make([]byte, 40)
	b[0] = 6 << 4
	b[7] = 64
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	next := 6 // where the kind of the header to come is written
	for _, x := range d.extensions {
		b[next] = x.kind
		next = len(b)
		b = append(b, x.body...)
	}
	b[next] = byte(d.proto)
	binary.BigEndian.PutUint16(b[4:], lengthField(len(b)-40+bodyLen))
	return b
}

// lengthField is 0 for what 16 bits cannot say, as the stack writes it.
func lengthField(n int) uint16 {
	if n > 0xffff {
		return 0
	}
	return uint16(n)
}

// pseudoHeader is what TCP, UDP and ICMPv6 checksums cover besides the packet.
func (d *draft) pseudoHeader(bodyLen int) []byte {
	b := append(d.src.Addr().AsSlice(), d.dst.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(d.proto))
	return binary.BigEndian.AppendUint32(b, uint32(bodyLen))
}

var arpRequest = []byte{
	0, 1, 0x08, 0, 6, 4, 0, 1, // who has, Ethernet, IPv4
	0, 0, 0, 0, 0, 0, 127, 0, 0, 1,
	0, 0, 0, 0, 0, 0, 127, 0, 0, 2,
}
