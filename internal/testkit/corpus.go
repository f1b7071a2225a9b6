package testkit

import (
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
)

// NamedPacket is a frame with a name that says what is special about it.
type NamedPacket struct {
	Name  string
	Frame []byte
}

// Corpus is a packet of each kind a parser must tell apart, sound and broken. No frame is larger
// than 2 KiB, so that all of them fit a BPF test run.
func Corpus() []NamedPacket {
	var corpus []NamedPacket
	for _, part := range []map[string][]byte{link(), ip4(), ip6(), transports("ipv4", IPv4()), transports("ipv6", IPv6()), broken()} {
		for name, frame := range part {
			corpus = append(corpus, NamedPacket{name, frame})
		}
	}
	slices.SortFunc(corpus, func(a, b NamedPacket) int { return strings.Compare(a.Name, b.Name) })
	return corpus
}

func link() map[string][]byte {
	return map[string][]byte{
		"link/arp":        Packet(ARP()),
		"link/vlan-ipv4":  Packet(VLAN(7), UDP(), Payload(9)),
		"link/vlan-ipv6":  Packet(IPv6(), VLAN(7), UDP(), Payload(9)),
		"link/experiment": Packet(UDP(), EtherType(0x88b5)),
	}
}

// transports is every protocol over one family, which the IP header given makes.
func transports(family string, ip Option) map[string][]byte {
	return map[string][]byte{
		family + "/tcp-syn":         Packet(ip, TCP(SYN, 2, 4, 0xff, 0xd7, 4, 2, 1, 3, 3, 7), Seq(0xfffffffe)),
		family + "/tcp-data":        Packet(ip, TCP(ACK|PSH), Seq(7), Payload(100)),
		family + "/tcp-fin":         Packet(ip, TCP(ACK|FIN)),
		family + "/tcp-rst":         Packet(ip, TCP(RST)),
		family + "/tcp-max-options": Packet(ip, TCP(ACK, make([]byte, 40)...), Payload(1)),
		family + "/udp":             Packet(ip, UDP(), Payload(11)),
		family + "/udp-empty":       Packet(ip, UDP()),
		family + "/udp-length-0":    Packet(ip, UDP(), Payload(11), UDPLength(0)),
		family + "/udp-length-lies": Packet(ip, UDP(), Payload(11), UDPLength(0xffff)),
		family + "/sctp":            Packet(ip, SCTP(), Payload(16)),
		family + "/echo-request":    Packet(ip, EchoRequest(4242), Payload(56)),
		family + "/echo-reply":      Packet(ip, EchoReply(4242), Payload(56)),
		family + "/unreachable":     Packet(ip, PortUnreachable(), Payload(28)),
		family + "/proto-253":       Packet(ip, Proto(253), Payload(30)),
		family + "/proto-empty":     Packet(ip, Proto(253)),
		family + "/esp":             Packet(ip, Proto(50), Payload(30)),
		family + "/same-ports":      Packet(ip, TCP(ACK), samePorts),
		family + "/other-way":       Packet(ip, UDP(), swapped, Payload(3)),
		family + "/length-0":        Packet(ip, TCP(ACK), Payload(5), IPLength(0)),
		family + "/length-lies":     Packet(ip, TCP(ACK), Payload(5), IPLength(0xffff)),
		family + "/trailer":         Packet(ip, UDP(), Payload(5), Trailer(6)),
		family + "/frag-first-udp":  Packet(ip, UDP(), Payload(40), Fragment(0x1234, 0, true)),
		family + "/frag-first-tcp":  Packet(ip, TCP(ACK), Payload(44), Fragment(0x1234, 0, true)),
		family + "/frag-middle":     Packet(ip, UDP(), Payload(48), Fragment(0x1234, 48, true)),
		family + "/frag-last":       Packet(ip, UDP(), Payload(5), Fragment(0x1234, 96, false)),
		family + "/frag-last-tiny":  Packet(ip, TCP(0), Payload(1), Fragment(0x1234, 8, false)),
		family + "/frag-far":        Packet(ip, UDP(), Payload(5), Fragment(0x1234, 0x8000, false)),
		family + "/frag-farthest":   Packet(ip, UDP(), Payload(5), Fragment(0x1234, 0xfff8, false)),
		family + "/frag-echo":       Packet(ip, EchoRequest(4242), Payload(40), Fragment(0x1234, 0, true)),
		family + "/frag-none":       Packet(ip, UDP(), Payload(40), Fragment(0x1234, 0, false)),
	}
}

func ip4() map[string][]byte {
	return map[string][]byte{
		"ipv4/options":       Packet(IPv4(1, 1, 1, 0), UDP(), Payload(9)),
		"ipv4/max-options":   Packet(IPv4(make([]byte, 40)...), TCP(ACK), Payload(9)),
		"ipv4/own-address":   Packet(From("192.0.2.7:5000"), To("192.0.2.7:6000"), TCP(ACK)),
		"ipv4/other-address": Packet(From("127.0.0.2:80"), To("127.0.0.1:80"), TCP(ACK)),
		"ipv4/auth-is-proto": Packet(Proto(Auth), Payload(40)),
		"ipv4/icmpv6":        Packet(Proto(model.ProtoICMPv6), Payload(40)),
		"ipv4/hop-by-hop":    Packet(Proto(HopByHop), Payload(40)),
	}
}

func ip6() map[string][]byte {
	packets := map[string][]byte{
		"ipv6/jumbo":            Packet(IPv6(), Jumbo(70000), TCP(ACK), Payload(100)),
		"ipv6/jumbo-and-more":   Packet(IPv6(), Extension(HopByHop, 0xc2, 4, 0, 1, 0, 0, 1, 8), TCP(ACK)),
		"ipv6/jumbo-not-first":  Packet(IPv6(), Extension(HopByHop, 1, 0, 0xc2, 4), TCP(ACK)),
		"ipv6/jumbo-bad-length": Packet(IPv6(), Extension(HopByHop, 0xc2, 2, 0, 0, 0, 0), TCP(ACK)),
		"ipv6/jumbo-misplaced":  Packet(IPv6(), Extension(DestOptions, 0xc2, 4, 0, 0, 0, 0), TCP(ACK)),
		"ipv6/icmp":             Packet(IPv6(), Proto(model.ProtoICMP), Payload(40)),
		"ipv6/no-next-header":   Packet(IPv6(), Proto(59), Payload(40)),
		"ipv6/v4-mapped":        Packet(IPv6(), From("[::ffff:127.0.0.1]:40000"), To("[::ffff:127.0.0.1]:80"), UDP()),
		"ipv6/v4-mapped-half":   Packet(IPv6(), From("[::ffff:127.0.0.1]:40000"), UDP()),
		"ipv6/frag-twice":       Packet(IPv6(), Fragment(1, 0, true), Fragment(2, 0, false), UDP(), Payload(8)),
		"ipv6/frag-twice-later": Packet(IPv6(), Fragment(1, 0, true), Fragment(2, 8, false), UDP(), Payload(8)),
		"ipv6/frag-reserved":    Packet(IPv6(), Fragment(1, 0, true), UDP(), Payload(8), ExtensionLength(200)),
		"ipv6/frag-then-dest":   Packet(IPv6(), Fragment(1, 16, false), Extension(DestOptions), UDP(), Payload(8)),
		"ipv6/auth-then-udp":    Packet(IPv6(), Extension(Auth, make([]byte, 22)...), UDP(), Payload(8)),
		"ipv6/headers-8":        Packet(IPv6(), repeat(8, Extension(DestOptions)), UDP(), Payload(8)),
		"ipv6/headers-9":        Packet(IPv6(), repeat(9, Extension(DestOptions)), UDP(), Payload(8)),
		"ipv6/headers-8-frag":   Packet(IPv6(), repeat(7, Extension(DestOptions)), Fragment(3, 8, true), UDP(), Payload(8)),
		"ipv6/headers-9-frag":   Packet(IPv6(), repeat(8, Extension(DestOptions)), Fragment(3, 8, true), UDP(), Payload(8)),
		"ipv6/header-2-units":   Packet(IPv6(), Extension(Routing, make([]byte, 20)...), UDP(), Payload(8)),
	}
	for name, kind := range map[string]uint8{
		"hop-by-hop": HopByHop, "routing": Routing, "auth": Auth, "dest-options": DestOptions,
		"mobility": Mobility, "hip": HIP, "shim6": Shim6,
	} {
		packets["ipv6/"+name] = Packet(IPv6(), Extension(kind), TCP(ACK), Payload(5))
		packets["ipv6/"+name+"-too-long"] = Packet(IPv6(), Extension(kind), TCP(ACK), Payload(5), ExtensionLength(200))
		packets["ipv6/"+name+"-alone"] = Packet(IPv6(), Extension(kind), Proto(59))
	}
	return packets
}

func broken() map[string][]byte {
	return map[string][]byte{
		"broken/ipv4-version-6":    Packet(UDP(), Version(6)),
		"broken/ipv4-version-0":    Packet(UDP(), Version(0)),
		"broken/ipv6-version-4":    Packet(IPv6(), UDP(), Version(4)),
		"broken/ipv4-ihl-4":        Packet(UDP(), IHL(4)),
		"broken/ipv4-ihl-0":        Packet(UDP(), IHL(0)),
		"broken/ipv4-ihl-15":       Packet(UDP(), IHL(15)),
		"broken/tcp-doff-4":        Packet(TCP(ACK), Payload(9), DataOffset(4)),
		"broken/tcp-doff-0":        Packet(IPv6(), TCP(ACK), Payload(9), DataOffset(0)),
		"broken/tcp-doff-15":       Packet(TCP(ACK), Payload(9), DataOffset(15)),
		"broken/tcp-cut":           Packet(TCP(ACK), Truncate(14+20+19)),
		"broken/udp-cut":           Packet(UDP(), Truncate(14+20+7)),
		"broken/sctp-cut":          Packet(SCTP(), Truncate(14+20+11)),
		"broken/icmp-cut":          Packet(EchoRequest(1), Truncate(14+20+7)),
		"broken/frag-first-cut":    Packet(UDP(), Fragment(5, 0, true), Truncate(14+20+4)),
		"broken/ipv4-cut":          Packet(UDP(), Truncate(14+19)),
		"broken/ipv6-cut":          Packet(IPv6(), UDP(), Truncate(14+39)),
		"broken/extension-cut":     Packet(IPv6(), Extension(HopByHop), Proto(59), Truncate(14+40+7)),
		"broken/ethernet-only":     Packet(UDP(), Truncate(14)),
		"broken/icmp-header-short": Packet(IPv6(), EchoReply(1), Truncate(14+40+7)),
	}
}

func samePorts(d *draft) { d.dst = d.src }

func swapped(d *draft) { d.src, d.dst = d.dst, d.src }

func repeat(n int, option Option) Option {
	return func(d *draft) {
		for range n {
			option(d)
		}
	}
}
