package refparse_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/refparse"
	. "github.com/lotrace/lotrace/internal/testkit"
)

var (
	client4 = netip.MustParseAddrPort("127.0.0.1:40000")
	server4 = netip.MustParseAddrPort("127.0.0.1:80")
	client6 = netip.MustParseAddrPort("[::1]:40000")
	server6 = netip.MustParseAddrPort("[::1]:80")
)

func portless(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }

// v4 and v6 are what every packet of the family has in common.
func v4(proto uint8, l4Len, payload int) refparse.Result {
	return refparse.Result{Reason: refparse.OK, Family: 4, Proto: proto, Src: client4, Dst: server4,
		L3Len: 20, L4Len: l4Len, Payload: payload}
}

func v6(proto uint8, extensions, l4Len, payload int) refparse.Result {
	return refparse.Result{Reason: refparse.OK, Family: 6, Proto: proto, Src: client6, Dst: server6,
		L3Len: 40 + extensions, L4Len: l4Len, Payload: payload}
}

func with(r refparse.Result, edit func(*refparse.Result)) refparse.Result {
	edit(&r)
	return r
}

func noPorts(r *refparse.Result) { r.Src, r.Dst = portless(r.Src), portless(r.Dst) }

func later(id uint32) func(*refparse.Result) {
	return func(r *refparse.Result) { noPorts(r); r.FragLater, r.FragID = true, id }
}

func first(id uint32) func(*refparse.Result) {
	return func(r *refparse.Result) { r.FragFirst, r.FragID = true, id }
}

func ack(r *refparse.Result) { r.TCPFlags = ACK }

func TestParse(t *testing.T) {
	mapped := netip.MustParseAddrPort("127.0.0.1:40000")
	tests := []struct {
		name  string
		frame []byte
		want  refparse.Result
	}{
		{"tcp", Packet(TCP(SYN|ACK, 1, 1, 1), Seq(9), Payload(7)),
			with(v4(6, 24, 7), func(r *refparse.Result) { r.TCPFlags, r.Seq = SYN|ACK, 9 })},
		{"ip options", Packet(IPv4(1, 1, 1, 1, 0), UDP(), Payload(7)),
			with(v4(17, 8, 7), func(r *refparse.Result) { r.L3Len = 28 })},
		{"sctp", Packet(SCTP(), Payload(16)), v4(132, 12, 16)},
		{"echo request", Packet(EchoRequest(77), Payload(56)), with(v4(1, 8, 56), func(r *refparse.Result) {
			noPorts(r)
			r.Src = netip.AddrPortFrom(client4.Addr(), 77)
		})},
		{"echo reply v6", Packet(IPv6(), EchoReply(77)), with(v6(58, 0, 8, 0), func(r *refparse.Result) {
			noPorts(r)
			r.Dst = netip.AddrPortFrom(server6.Addr(), 77)
		})},
		{"unreachable", Packet(PortUnreachable(), Payload(28)), with(v4(1, 8, 28), noPorts)},
		{"icmp in ipv6 is any protocol", Packet(IPv6(), Proto(1), Payload(40)), with(v6(1, 0, 0, 40), noPorts)},
		{"icmpv6 in ipv4 is any protocol", Packet(Proto(58), Payload(4)), with(v4(58, 0, 4), noPorts)},
		{"auth header in ipv4 is any protocol", Packet(Proto(51), Payload(4)), with(v4(51, 0, 4), noPorts)},
		{"unknown protocol", Packet(IPv6(), Proto(253)), with(v6(253, 0, 0, 0), noPorts)},
		{"length fields are not believed", Packet(UDP(), Payload(5), IPLength(0), UDPLength(999), Trailer(3)), v4(17, 8, 8)},
		{"over 64 KiB", Packet(TCP(ACK), Payload(70000)), with(v4(6, 20, 70000), ack)},
		{"jumbo", Packet(IPv6(), Jumbo(70020), TCP(ACK), Payload(70000)), with(v6(6, 8, 20, 70000), func(r *refparse.Result) {
			r.JumboLen, r.TCPFlags = 8, ACK
		})},
		{"hop-by-hop, no jumbo", Packet(IPv6(), Extension(HopByHop), TCP(ACK)), with(v6(6, 8, 20, 0), ack)},
		{"jumbo option of another length", Packet(IPv6(), Extension(HopByHop, 0xc2, 2), TCP(ACK)), with(v6(6, 8, 20, 0), ack)},
		{"jumbo among options", Packet(IPv6(), Extension(HopByHop, 0xc2, 4, 0, 1, 0, 0, 1, 8), TCP(ACK)), with(v6(6, 16, 20, 0), ack)},
		{"auth header", Packet(IPv6(), Extension(Auth, make([]byte, 22)...), UDP(), Payload(1)), v6(17, 24, 8, 1)},
		{"eight headers", Packet(IPv6(), Extension(HopByHop), Extension(DestOptions), Extension(Routing), Extension(Mobility),
			Extension(HIP), Extension(Shim6), Extension(Routing), Extension(DestOptions), UDP()), v6(17, 64, 8, 0)},
		{"v4-mapped", Packet(IPv6(), From("[::ffff:127.0.0.1]:40000"), UDP()),
			with(v6(17, 0, 8, 0), func(r *refparse.Result) { r.Src = mapped })},
		{"fragment, first", Packet(UDP(), Payload(40), Fragment(0x1234, 0, true)), with(v4(17, 8, 40), first(0x1234))},
		{"fragment, later", Packet(UDP(), Payload(40), Fragment(0x1234, 48, true)), with(v4(17, 0, 40), later(0x1234))},
		{"fragment, last", Packet(UDP(), Payload(3), Fragment(0x1234, 48, false)), with(v4(17, 0, 3), later(0x1234))},
		{"fragment, halfway", Packet(UDP(), Payload(3), Fragment(0x1234, 0x8000, false)), with(v4(17, 0, 3), later(0x1234))},
		{"not a fragment", Packet(UDP(), Fragment(0x1234, 0, false)), v4(17, 8, 0)},
		{"fragment v6, first", Packet(IPv6(), Fragment(0xfedcba98, 0, true), UDP(), Payload(8)), with(v6(17, 8, 8, 8), first(0xfedcba98))},
		{"fragment v6, later", Packet(IPv6(), Fragment(0xfedcba98, 8, false), Extension(DestOptions), UDP(), Payload(8)),
			with(v6(DestOptions, 8, 0, 16), later(0xfedcba98))},
		{"fragment header has no length", Packet(IPv6(), Fragment(7, 0, true), UDP(), ExtensionLength(200)), with(v6(17, 8, 8, 0), first(7))},
		{"not a fragment v6", Packet(IPv6(), Fragment(7, 0, false), UDP()), v6(17, 8, 8, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			same := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
			if diff := cmp.Diff(tt.want, refparse.Parse(tt.frame), same); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	nine := []Option{IPv6()}
	for range 9 {
		nine = append(nine, Extension(DestOptions))
	}
	tests := []struct {
		name  string
		frame []byte
		want  string
	}{
		{"nothing", nil, refparse.Truncated},
		{"half an ethernet header", Packet(Truncate(13)), refparse.Truncated},
		{"ethernet header alone", Packet(Truncate(14)), refparse.Truncated},
		{"arp", Packet(ARP()), refparse.NotIP},
		{"vlan", Packet(VLAN(3), UDP()), refparse.NotIP},
		{"ipv4 cut", Packet(UDP(), Truncate(14+19)), refparse.Truncated},
		{"ipv4 version", Packet(UDP(), Version(5)), refparse.Malformed},
		{"ipv4 header too short", Packet(UDP(), IHL(4)), refparse.Malformed},
		{"ipv4 header beyond the frame", Packet(UDP(), IHL(8)), refparse.Truncated},
		{"ipv6 cut", Packet(IPv6(), UDP(), Truncate(14+39)), refparse.Truncated},
		{"ipv6 version", Packet(IPv6(), UDP(), Version(4)), refparse.Malformed},
		{"extension cut", Packet(IPv6(), Extension(HIP), Proto(59), Truncate(14+47)), refparse.Truncated},
		{"extension beyond the frame", Packet(IPv6(), Extension(HIP), UDP(), ExtensionLength(2)), refparse.Truncated},
		{"ninth extension", Packet(append(nine, UDP())...), refparse.HeaderChain},
		{"ninth extension cut", Packet(append(nine, Truncate(14+40+64))...), refparse.HeaderChain},
		{"tcp cut", Packet(TCP(ACK), Truncate(14+39)), refparse.Truncated},
		{"tcp header too short", Packet(TCP(ACK), DataOffset(4)), refparse.Malformed},
		{"tcp header beyond the frame", Packet(TCP(ACK), DataOffset(6)), refparse.Truncated},
		{"udp cut", Packet(UDP(), Truncate(14+27)), refparse.Truncated},
		{"sctp cut", Packet(SCTP(), Truncate(14+31)), refparse.Truncated},
		{"icmp cut", Packet(PortUnreachable(), Truncate(14+27)), refparse.Truncated},
		{"icmpv6 cut", Packet(IPv6(), PortUnreachable(), Truncate(14+47)), refparse.Truncated},
		{"first fragment without its header", Packet(UDP(), Fragment(1, 0, true), Truncate(14+24)), refparse.Truncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := refparse.Parse(tt.frame); got != (refparse.Result{Reason: tt.want}) {
				t.Errorf("got %+v, want only the reason %s", got, tt.want)
			}
		})
	}
}

func TestKey(t *testing.T) {
	tests := []struct {
		name     string
		from, to string
		smaller  int // which end is A: 0 the sender
	}{
		{"port decides", "127.0.0.1:40000", "127.0.0.1:80", 1},
		{"address first", "127.0.0.1:40000", "127.0.0.2:80", 0},
		{"equal ends", "127.0.0.1:80", "127.0.0.1:80", 0},
		{"v6", "[::1]:80", "[::1]:81", 0},
		{"v4 after ::1, as v4-mapped", "[::ffff:127.0.0.1]:80", "[::1]:81", 1},
		{"v4 before global v6", "[::ffff:127.0.0.1]:80", "[2001:db8::1]:1", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			family := IPv4()
			if tt.from[0] == '[' {
				family = IPv6()
			}
			r := refparse.Parse(Packet(family, From(tt.from), To(tt.to), UDP()))
			ends := [2]netip.AddrPort{r.Src, r.Dst}
			want := model.Key{Netns: 5, Proto: model.ProtoUDP, A: ends[tt.smaller], B: ends[1-tt.smaller]}
			if key, side := r.Key(5); key != want || side != tt.smaller {
				t.Errorf("sent: got %v side %d, want %v side %d", key, side, want, tt.smaller)
			}
			r = refparse.Parse(Packet(family, From(tt.to), To(tt.from), UDP()))
			if key, side := r.Key(5); key != want || side == tt.smaller && r.Src != r.Dst {
				t.Errorf("answered: got %v side %d, want %v and the other side", key, side, want)
			}
		})
	}
}

// check holds what is true of every result, whatever the frame.
func check(t *testing.T, frame []byte) {
	t.Helper()
	r := refparse.Parse(frame)
	if r.Reason != refparse.OK {
		if r != (refparse.Result{Reason: r.Reason}) {
			t.Fatalf("%x: refused, yet says more: %+v", frame, r)
		}
		return
	}
	if r.Payload < 0 || 14+r.L3Len+r.L4Len+r.Payload != len(frame) {
		t.Fatalf("%x: lengths do not add up to %d: %+v", frame, len(frame), r)
	}
	if r.FragFirst && r.FragLater || r.FragLater && r.L4Len != 0 {
		t.Fatalf("%x: fragments that contradict themselves: %+v", frame, r)
	}
	key, side := r.Key(1)
	if sender := [2]netip.AddrPort{key.A, key.B}[side]; sender != r.Src {
		t.Fatalf("%x: side %d of %v is not the sender %v", frame, side, key, r.Src)
	}
}

// TestPrefixes cuts every packet of the corpus everywhere: cutting payload only shortens it, and
// cutting headers is always noticed.
func TestPrefixes(t *testing.T) {
	for _, p := range Corpus() {
		whole := refparse.Parse(p.Frame)
		for n := range len(p.Frame) + 1 {
			check(t, p.Frame[:n])
			if whole.Reason != refparse.OK {
				continue
			}
			want := refparse.Result{Reason: refparse.Truncated}
			if headers := len(p.Frame) - whole.Payload; n >= headers {
				want = whole
				want.Payload = n - headers
			}
			if got := refparse.Parse(p.Frame[:n]); got != want {
				t.Errorf("%s: first %d bytes of %d: got %+v, want %+v", p.Name, n, len(p.Frame), got, want)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range Corpus() {
		f.Add(p.Frame)
	}
	f.Fuzz(check)
}
