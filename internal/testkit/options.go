package testkit

import (
	"encoding/binary"
	"net/netip"

	"github.com/lotrace/lotrace/internal/model"
)

// IPv4 makes the packet IPv4, with the given bytes of IP options, padded to whole words.
func IPv4(options ...byte) Option {
	return func(d *draft) {
		d.etherType = etherTypeIP4
		d.src = netip.MustParseAddrPort("127.0.0.1:40000")
		d.dst = netip.MustParseAddrPort("127.0.0.1:80")
		d.ipOptions = padded(options, 4)
	}
}

// IPv6 makes the packet IPv6.
func IPv6() Option {
	return func(d *draft) {
		d.etherType = etherTypeIP6
		d.src = netip.MustParseAddrPort("[::1]:40000")
		d.dst = netip.MustParseAddrPort("[::1]:80")
	}
}

// EtherType overrides what the Ethernet header says the frame carries.
func EtherType(t uint16) Option { return func(d *draft) { d.etherType = t } }

// ARP makes the frame an ARP request.
func ARP() Option { return EtherType(etherTypeARP) }

// VLAN puts an 802.1Q tag between the Ethernet header and the IP header.
func VLAN(id uint16) Option {
	return func(d *draft) {
		d.tags = binary.BigEndian.AppendUint16(d.tags, etherTypeTag)
		d.tags = binary.BigEndian.AppendUint16(d.tags, id)
	}
}

// From sets the sender, as "127.0.0.1:80" or "[::1]:80".
func From(addrPort string) Option {
	return func(d *draft) { d.src = netip.MustParseAddrPort(addrPort) }
}

// To sets the receiver.
func To(addrPort string) Option {
	return func(d *draft) { d.dst = netip.MustParseAddrPort(addrPort) }
}

// Extension appends an IPv6 extension header of the given kind that carries body, padded to the
// kind's unit. IPv4 packets ignore it.
func Extension(kind uint8, body ...byte) Option {
	header := append([]byte{0, 0}, body...)
	if kind == Auth {
		header = padded(header, 4)
		header = append(header, make([]byte, max(0, 12-len(header)))...)
		header[1] = byte(len(header)/4 - 2)
	} else {
		header = padded(header, 8)
		header[1] = byte(len(header)/8 - 1)
	}
	return func(d *draft) { d.extensions = append(d.extensions, extension{kind, header}) }
}

// Jumbo appends the hop-by-hop header that the stack puts into packets over 64 KiB.
func Jumbo(length uint32) Option {
	return Extension(HopByHop, binary.BigEndian.AppendUint32([]byte{0xc2, 4}, length)...)
}

// Fragment makes the packet a piece of a datagram, of which it holds the bytes from offset, a
// multiple of 8. Only the piece at offset 0 has a transport header.
func Fragment(id uint32, offset int, more bool) Option {
	return func(d *draft) {
		d.fragment.id, d.fragment.offset, d.fragment.more = id, offset, more
		header := make([]byte, 8)
		binary.BigEndian.PutUint16(header[2:], uint16(offset))
		if more {
			header[3] |= 1
		}
		binary.BigEndian.PutUint32(header[4:], id)
		d.extensions = append(d.extensions, extension{fragmentExt, header})
	}
}

// TCP adds a TCP header with the given bytes of options, padded to whole words.
func TCP(flags uint8, options ...byte) Option {
	return func(d *draft) {
		d.proto = model.ProtoTCP
		d.transport = append(make([]byte, 20), padded(options, 4)...)
		d.transport[12] = byte(len(d.transport) / 4 << 4)
		d.transport[13] = flags
		binary.BigEndian.PutUint16(d.transport[14:], 0xffff)
	}
}

// Seq sets the sequence number of the TCP header before it.
func Seq(n uint32) Option {
	return func(d *draft) { binary.BigEndian.PutUint32(d.transport[4:], n) }
}

// UDP adds a UDP header.
func UDP() Option {
	return func(d *draft) { d.proto, d.transport = model.ProtoUDP, make([]byte, 8) }
}

// SCTP adds an SCTP common header; the payload is taken for its chunks.
func SCTP() Option {
	return func(d *draft) { d.proto, d.transport = model.ProtoSCTP, make([]byte, 12) }
}

// EchoRequest adds the family's ICMP echo request.
func EchoRequest(id uint16) Option { return echo(8, 128, id) }

// EchoReply adds the family's ICMP echo reply.
func EchoReply(id uint16) Option { return echo(0, 129, id) }

// PortUnreachable adds the family's ICMP error for a closed port.
func PortUnreachable() Option {
	return func(d *draft) {
		d.icmp(3, 1, 0)
		if d.proto == model.ProtoICMP {
			d.transport[1] = 3
		} else {
			d.transport[1] = 4
		}
	}
}

func echo(type4, type6 uint8, id uint16) Option {
	return func(d *draft) { d.icmp(type4, type6, id) }
}

func (d *draft) icmp(type4, type6 uint8, id uint16) {
	d.transport = make([]byte, 8)
	d.proto, d.transport[0] = model.ProtoICMP, type4
	if d.etherType == etherTypeIP6 {
		d.proto, d.transport[0] = model.ProtoICMPv6, type6
	}
	binary.BigEndian.PutUint16(d.transport[4:], id)
}

// Proto makes the payload that of an arbitrary protocol, with no header known to us.
func Proto(number model.Proto) Option {
	return func(d *draft) { d.proto, d.transport = number, nil }
}

// Payload sets how many bytes follow the last header.
func Payload(n int) Option { return func(d *draft) { d.payload = n } }

// padded returns b with zeros up to a multiple of unit.
func padded(b []byte, unit int) []byte {
	return append(b[:len(b):len(b)], make([]byte, (unit-len(b)%unit)%unit)...)
}
