package frame

import (
	"encoding/binary"
	"iter"

	"github.com/lotrace/lotrace/internal/model"
)

// SKB is what the stack handed to a device, or as much of it as was captured.
type SKB struct {
	Data        []byte // from the MAC header on
	Length      int    // of the whole skb; at least that of Data
	SegmentSize int    // payload bytes in each packet that the device makes of it; 0: it is one packet
	Altered     bool   // its payload is not what was sent any more
}

// Splitter makes packets of skbs, as the device does.
type Splitter struct {
	Whole        bool // leave skbs whole
	RawChecksums bool // do not finish the checksums that the stack left to the device

	packet []byte
}

// Packets yields the packets of an skb, each with its length on the wire: where the capture cut the skb,
// that is more than there is. A packet is valid until the next one. The checksums of skb.Data change.
func (s *Splitter) Packets(skb *SKB) iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		h, ok := Parse(skb.Data)
		finish := ok && !s.RawChecksums && (skb.Altered && h.has(skb.Data) || h.unfinished(skb.Data, skb.Length))
		if ok && !s.Whole && skb.SegmentSize > 0 && h.isSegmented() && skb.Length > h.Payload {
			s.segments(skb, &h, finish, yield)
			return
		}
		if finish && len(skb.Data) == skb.Length {
			h.fill(skb.Data)
		}
		if ok && !s.RawChecksums && len(skb.Data) == skb.Length {
			h.fillICMP(skb.Data, skb.Altered)
		}
		yield(skb.Data, skb.Length)
	}
}

// isSegmented reports whether the device makes segments of such a packet by copying its headers.
func (h *Headers) isSegmented() bool {
	return !h.Fragment && (h.Proto == model.ProtoTCP || h.Proto == model.ProtoUDP)
}

func (s *Splitter) segments(skb *SKB, h *Headers, finish bool, yield func([]byte, int) bool) {
	template, shrunk := h.withoutJumbo(skb.Data[:h.Payload])
	payload, total := skb.Data[h.Payload:], skb.Length-h.Payload
	for at, n := 0, 0; at < total; at, n = at+skb.SegmentSize, n+1 {
		size := min(skb.SegmentSize, total-at)
		from, to := min(at, len(payload)), min(at+size, len(payload))
		s.packet = append(append(s.packet[:0], template...), payload[from:to]...)
		g := segment{index: n, offset: at, size: size, last: at+size == total}
		g.patch(&shrunk, s.packet)
		if finish && to-from == size {
			shrunk.fill(s.packet)
		}
		if !yield(s.packet, len(template)+size) {
			return
		}
	}
}

// withoutJumbo returns the headers less the hop-by-hop header that says how long an IPv6 packet over
// 64 KiB is: segments have none.
func (h *Headers) withoutJumbo(b []byte) ([]byte, Headers) {
	if h.jumbo == 0 {
		return b, *h
	}
	short := append([]byte(nil), b[:h.jumbo]...)
	short = append(short, b[h.jumbo+jumboLen:]...)
	short[h.L3+ipv6Next] = b[h.jumbo]
	shrunk := *h
	shrunk.jumbo = 0
	shrunk.L4 -= jumboLen
	shrunk.Payload -= jumboLen
	return short, shrunk
}

// segment is one of those that a device makes of an skb.
type segment struct {
	index  int
	offset int // of its payload in the skb's
	size   int // of its payload
	last   bool
}

// patch makes the skb's headers, copied to b, those of the segment.
func (g *segment) patch(h *Headers, b []byte) {
	ip, transport := b[h.L3:], b[h.L4:]
	if h.IPv6 {
		binary.BigEndian.PutUint16(ip[ipv6PayloadLen:], uint16(h.Payload-h.L3-ipv6Len+g.size))
	} else {
		binary.BigEndian.PutUint16(ip[ipv4TotalLen:], uint16(h.Payload-h.L3+g.size))
		id := binary.BigEndian.Uint16(ip[ipv4ID:])
		binary.BigEndian.PutUint16(ip[ipv4ID:], id+uint16(g.index))
		h.fillIPv4(b)
	}
	if h.Proto == model.ProtoUDP {
		binary.BigEndian.PutUint16(transport[udpLength:], uint16(udpLen+g.size))
		return
	}
	seq := binary.BigEndian.Uint32(transport[tcpSeq:])
	binary.BigEndian.PutUint32(transport[tcpSeq:], seq+uint32(g.offset))
	if !g.last {
		transport[tcpFlags] &^= FIN | PSH
	}
	if g.index > 0 {
		transport[tcpFlags] &^= CWR
	}
}
