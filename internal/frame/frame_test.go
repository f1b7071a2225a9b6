package frame

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/refparse"
	"github.com/lotrace/lotrace/internal/testkit"
)

// offload undoes the sender's checksum as a stack does that leaves it to the device.
func offload(b []byte) []byte {
	h, ok := Parse(b)
	if !ok {
		panic("no packet")
	}
	binary.BigEndian.PutUint16(b[h.checksumAt():], h.pseudo(b, len(b)-h.L4))
	return b
}

func options(o ...testkit.Option) []testkit.Option { return o }

// kinds are packets of each kind whose checksum a stack leaves to the device.
var kinds = map[string][]testkit.Option{
	"tcp4":             options(testkit.IPv4(), testkit.TCP(testkit.ACK)),
	"tcp4 options":     options(testkit.IPv4(7, 3, 4), testkit.TCP(testkit.ACK, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2)),
	"tcp6":             options(testkit.IPv6(), testkit.TCP(testkit.ACK)),
	"tcp6 destination": options(testkit.IPv6(), testkit.Extension(testkit.DestOptions), testkit.TCP(testkit.ACK)),
	"udp4":             options(testkit.IPv4(), testkit.UDP()),
	"udp6":             options(testkit.IPv6(), testkit.UDP()),
}

func packetsOf(s *Splitter, skb *SKB) (packets [][]byte, lengths []int) {
	for packet, length := range s.Packets(skb) {
		packets = append(packets, slices.Clone(packet))
		lengths = append(lengths, length)
	}
	return packets, lengths
}

func TestChecksumIsFinished(t *testing.T) {
	for name, options := range kinds {
		for _, payload := range []int{0, 1, 2, 7, 8, 9, 1400, 60001} {
			t.Run(fmt.Sprint(name, payload), func(t *testing.T) {
				want := testkit.Packet(append(options, testkit.Payload(payload))...)
				skb := &SKB{Data: offload(slices.Clone(want)), Length: len(want)}
				if bytes.Equal(skb.Data, want) {
					t.Fatal("there is nothing to finish")
				}
				got, _ := packetsOf(&Splitter{}, skb)
				if diff := cmp.Diff([][]byte{want}, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// A checksum that the sender filled in, rightly or not, is left alone, and so is one that cannot be finished.
func TestChecksumIsLeftAlone(t *testing.T) {
	unfinished := offload(testkit.Packet(testkit.TCP(testkit.ACK), testkit.Payload(100)))
	for _, test := range []struct {
		name string
		raw  bool
		data []byte
		more int // bytes that were not captured
	}{
		{name: "wrong", data: testkit.Packet(testkit.TCP(testkit.ACK), testkit.SetByte(50, 0xbe), testkit.SetByte(51, 0xef))},
		{name: "none", data: testkit.Packet(testkit.UDP(), testkit.SetByte(40, 0), testkit.SetByte(41, 0))},
		{name: "fragment", data: testkit.Packet(testkit.UDP(), testkit.Fragment(1, 0, true), testkit.Payload(64))},
		{name: "raw", raw: true, data: unfinished},
		{name: "cut", data: unfinished, more: 1},
		{name: "echo", data: testkit.Packet(testkit.EchoRequest(1))},
		{name: "arp", data: testkit.Packet(testkit.ARP())},
		{name: "malformed", data: testkit.Packet(testkit.TCP(testkit.ACK), testkit.DataOffset(2))},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := slices.Clone(test.data)
			skb := &SKB{Data: slices.Clone(test.data), Length: len(test.data) + test.more}
			got, lengths := packetsOf(&Splitter{RawChecksums: test.raw}, skb)
			if diff := cmp.Diff([][]byte{want}, got); diff != "" || lengths[0] != skb.Length {
				t.Error(lengths, diff)
			}
		})
	}
}

// The checksum of the packet that an ICMP error quotes was left to the device, too.
func TestQuotedChecksumIsFinished(t *testing.T) {
	for name, ip := range map[string]testkit.Option{"ipv4": testkit.IPv4(), "ipv6": testkit.IPv6()} {
		inner := testkit.Packet(ip, testkit.UDP(), testkit.Payload(33))
		build := func(quoted []byte) []byte {
			b := testkit.Packet(ip, testkit.PortUnreachable(), testkit.Payload(len(quoted)-etherLen))
			h, _ := Parse(b)
			copy(b[h.L4+icmpLen:], quoted[etherLen:])
			check := uint16(0)
			if h.IPv6 {
				check = h.pseudo(b, len(b)-h.L4)
			}
			binary.BigEndian.PutUint16(b[h.L4+2:], 0)
			binary.BigEndian.PutUint16(b[h.L4+2:], ^sum(check, b[h.L4:]))
			return b
		}
		want := build(inner)
		got := build(offload(slices.Clone(inner)))
		cut := slices.Clone(got[:len(got)-1])
		if packets, _ := packetsOf(&Splitter{}, &SKB{Data: got, Length: len(got)}); !bytes.Equal(packets[0], want) {
			t.Errorf("%s:\n got %x\nwant %x", name, packets[0], want)
		}
		before := slices.Clone(cut)
		if packets, _ := packetsOf(&Splitter{}, &SKB{Data: cut, Length: len(cut)}); !bytes.Equal(packets[0], before) {
			t.Errorf("%s, a part is quoted: changed", name)
		}
	}
}

// A change of the payload makes the checksum anew, but makes none where there was none.
func TestAlteredPayload(t *testing.T) {
	for name, options := range kinds {
		want := testkit.Packet(append(options, testkit.Payload(100))...)
		other := append(options, testkit.Payload(100), testkit.SetByte(len(want)-1, 0))
		skb := &SKB{Data: testkit.Packet(other...), Length: len(want), Altered: true}
		skb.Data[len(want)-1] = want[len(want)-1]
		h, _ := Parse(skb.Data)
		skb.Data[h.checksumAt()] ^= 0x5a
		if got, _ := packetsOf(&Splitter{}, skb); !bytes.Equal(got[0], want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got[0], want)
		}
	}
	for _, ip := range []testkit.Option{testkit.IPv4(), testkit.IPv6()} {
		want := testkit.Packet(ip, testkit.EchoRequest(1), testkit.Payload(100))
		skb := &SKB{Data: slices.Clone(want), Length: len(want), Altered: true}
		h, _ := Parse(skb.Data)
		skb.Data[h.L4+2] ^= 0x5a
		if got, _ := packetsOf(&Splitter{}, skb); !bytes.Equal(got[0], want) {
			t.Errorf("echo:\n got %x\nwant %x", got[0], want)
		}
	}
	none := testkit.Packet(testkit.UDP(), testkit.SetByte(40, 0), testkit.SetByte(41, 0))
	if got, _ := packetsOf(&Splitter{}, &SKB{Data: none, Length: len(none), Altered: true}); got[0][40]|got[0][41] != 0 {
		t.Error("a checksum where there was none")
	}
}

// headerChecksum computes an IPv4 header's the obvious way.
func headerChecksum(b []byte) uint16 {
	var total uint32
	for i := 0; i < len(b); i += 2 {
		if i != ipv4Checksum {
			total += uint32(b[i])<<8 | uint32(b[i+1])
		}
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}

// numbered gives an IPv4 packet the id of the n-th segment.
func numbered(b []byte, n int) []byte {
	if h, _ := Parse(b); !h.IPv6 {
		ip := b[h.L3:h.L4]
		binary.BigEndian.PutUint16(ip[ipv4ID:], uint16(n))
		binary.BigEndian.PutUint16(ip[ipv4Checksum:], headerChecksum(ip))
	}
	return b
}

// Segments are what the sender would have sent, had it made them itself.
func TestSegments(t *testing.T) {
	const size, payload = 512, 3*512 + 100 // of the kit's payload, 256 bytes come again and again
	flags := []uint8{testkit.ACK | CWR, testkit.ACK, testkit.ACK, testkit.ACK | testkit.PSH | testkit.FIN}
	tcp := func(ip ...testkit.Option) func(int) []testkit.Option {
		return func(n int) []testkit.Option {
			all := uint8(testkit.ACK | testkit.PSH | testkit.FIN | CWR)
			if n >= 0 {
				all = flags[n]
			}
			return append(slices.Clone(ip), testkit.TCP(all, 1, 1), testkit.Seq(uint32(0xfffffe00+max(n, 0)*size)))
		}
	}
	udp := func(ip ...testkit.Option) func(int) []testkit.Option {
		return func(int) []testkit.Option { return append(slices.Clone(ip), testkit.UDP()) }
	}
	for name, with := range map[string]func(int) []testkit.Option{
		"tcp4": tcp(testkit.IPv4(7, 3, 4)), "tcp6": tcp(testkit.IPv6()), "udp4": udp(testkit.IPv4()), "udp6": udp(testkit.IPv6()),
	} {
		t.Run(name, func(t *testing.T) {
			data := offload(testkit.Packet(append(with(-1), testkit.Payload(payload))...))
			skb := &SKB{Data: data, Length: len(data), SegmentSize: size}
			got, lengths := packetsOf(&Splitter{}, skb)
			if len(got) != 4 {
				t.Fatalf("%d packets", len(got))
			}
			for n := range got {
				want := numbered(testkit.Packet(append(with(n), testkit.Payload(min(size, payload-n*size)))...), n)
				if !bytes.Equal(got[n], want) || lengths[n] != len(want) {
					t.Errorf("packet %d of %d bytes:\n got %x\nwant %x", n, lengths[n], got[n], want)
				}
			}
			if got, _ := packetsOf(&Splitter{Whole: true}, skb); len(got) != 1 || len(got[0]) != skb.Length {
				t.Errorf("kept whole: %d packets", len(got))
			}
		})
	}
}

// Over 64 KiB the lengths do not fit their fields, and IPv6 has a header more.
func TestBigSegments(t *testing.T) {
	const size, payload = 32768, 100000
	for name, ip := range map[string][2][]testkit.Option{
		"ipv4": {options(testkit.IPv4()), options(testkit.IPv4())},
		"ipv6": {options(testkit.IPv6(), testkit.Jumbo(payload+20)), options(testkit.IPv6())},
	} {
		t.Run(name, func(t *testing.T) {
			data := offload(testkit.Packet(append(ip[0], testkit.TCP(testkit.ACK), testkit.Payload(payload))...))
			got, lengths := packetsOf(&Splitter{}, &SKB{Data: data, Length: len(data), SegmentSize: size})
			for n := range got {
				want := numbered(testkit.Packet(append(ip[1], testkit.TCP(testkit.ACK), testkit.Seq(uint32(n*size)),
					testkit.Payload(min(size, payload-n*size)))...), n)
				if !bytes.Equal(got[n], want) || lengths[n] != len(want) {
					t.Errorf("packet %d of %d bytes differs from %d bytes", n, lengths[n], len(want))
				}
			}
			if len(got) != 4 {
				t.Errorf("%d packets", len(got))
			}
		})
	}
}

// Of a cut skb the segments are as long as they were, and hold what there is.
func TestCutSegments(t *testing.T) {
	whole := offload(testkit.Packet(testkit.TCP(testkit.ACK), testkit.Payload(1024)))
	const headers, size = 54, 256
	for captured := headers; captured <= len(whole); captured += 100 {
		skb := &SKB{Data: slices.Clone(whole[:captured]), Length: len(whole), SegmentSize: size}
		got, lengths := packetsOf(&Splitter{}, skb)
		var payload []byte
		for n, packet := range got {
			payload = append(payload, packet[headers:]...)
			if lengths[n] != headers+size {
				t.Errorf("%d captured: packet %d has %d bytes", captured, n, lengths[n])
			}
			raw := slices.Equal(packet[50:52], whole[50:52])
			if finished := len(packet) == lengths[n]; finished == raw {
				t.Errorf("%d captured: packet %d of %d bytes, checksum left alone: %v", captured, n, len(packet), raw)
			}
		}
		if len(got) != 4 || !bytes.Equal(payload, whole[headers:captured]) {
			t.Errorf("%d captured: %d packets with %d bytes", captured, len(got), len(payload))
		}
	}
}

// The parser agrees with the reference on every frame that both can read.
func FuzzParse(f *testing.F) {
	for _, options := range kinds {
		f.Add(testkit.Packet(append(options, testkit.Payload(30))...))
	}
	f.Add(testkit.Packet(testkit.UDP(), testkit.Fragment(1, 8, false), testkit.Payload(30)))
	f.Add(testkit.Packet(testkit.IPv6(), testkit.UDP(), testkit.Fragment(1, 0, true), testkit.Payload(30)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := Parse(b)
		r := refparse.Parse(b)
		known := r.Proto == uint8(model.ProtoTCP) || r.Proto == uint8(model.ProtoUDP)
		if r.Reason != refparse.OK || !known || r.FragFirst || r.FragLater {
			return
		}
		want := [3]int{etherLen, etherLen + r.L3Len, etherLen + r.L3Len + r.L4Len}
		if got := [3]int{h.L3, h.L4, h.Payload}; !ok || got != want || h.Proto != model.Proto(r.Proto) {
			t.Errorf("got %+v %v, want %v", h, ok, r)
		}
	})
}

// Whatever is split, its payload comes out, and a segment can be read as the packet that it is.
func FuzzPackets(f *testing.F) {
	for _, options := range kinds {
		f.Add(offload(testkit.Packet(append(options, testkit.Payload(300))...)), uint16(0), uint16(100), false)
	}
	f.Add(testkit.Packet(testkit.PortUnreachable(), testkit.Payload(40)), uint16(0), uint16(0), true)
	f.Add(testkit.Packet(testkit.IPv6(), testkit.Jumbo(70000), testkit.TCP(testkit.ACK), testkit.Payload(300)), uint16(60000), uint16(32768), true)
	f.Fuzz(func(t *testing.T, data []byte, cut, size uint16, altered bool) {
		size = max(size, 64) // or there are many
		skb := &SKB{Data: slices.Clone(data), Length: len(data) + int(cut), SegmentSize: int(size), Altered: altered}
		h, ok := Parse(data)
		packets, lengths := packetsOf(&Splitter{}, skb)
		if len(packets) == 1 && lengths[0] == skb.Length && len(packets[0]) == len(data) {
			return
		}
		if !ok {
			t.Fatalf("%d packets of what is none", len(packets))
		}
		var payload []byte
		length := 0
		for n, packet := range packets {
			of, ok := Parse(packet)
			if !ok || of.Proto != h.Proto || len(packet) > lengths[n] {
				t.Fatalf("packet %d: %+v %v", n, of, ok)
			}
			payload = append(payload, packet[of.Payload:]...)
			length += lengths[n] - of.Payload
		}
		if !bytes.Equal(payload, data[h.Payload:]) || length != skb.Length-h.Payload {
			t.Errorf("%d of %d bytes of payload, %d of them captured", length, skb.Length-h.Payload, len(payload))
		}
	})
}
