package loader_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// stream puts the samples of one direction of a TCP connection together again.
type stream struct {
	from     uint16 // the sender's port
	next     uint32 // sequence number of the byte to come
	begun    bool
	sum      maphash.Hash
	bytes    atomic.Uint64
	largest  uint32
	segments int    // skbs that the device takes for several packets
	packets  uint64 // on the device, of both directions
	err      error
}

func (s *stream) add(p *reading.Sample) {
	if s.packets++; p.SegmentSize != 0 {
		s.packets += uint64((p.Length - p.HeaderLen - 1) / p.SegmentSize)
	}
	if p.Key.Port[p.From] != s.from || s.err != nil {
		return
	}
	tcp := tcpHeader(p.Data)
	seq, payload := binary.BigEndian.Uint32(tcp[4:]), p.Data[p.HeaderLen:]
	switch {
	case tcp[13]&testkit.SYN != 0:
		s.next, s.begun = seq+1, true
		return
	case len(payload) == 0:
		return
	case !s.begun || seq-s.next < 1<<31 && seq != s.next || len(p.Data) != int(p.Length):
		s.err = fmt.Errorf("%d of %d bytes from sequence number %d on, %d were to come", len(p.Data), p.Length, seq, s.next)
		return
	}
	again := min(s.next-seq, uint32(len(payload))) // a retransmission
	s.sum.Write(payload[again:])
	s.next += uint32(len(payload)) - again
	s.bytes.Add(uint64(len(payload)) - uint64(again))
	s.largest = max(s.largest, p.Length)
	if p.SegmentSize != 0 {
		s.segments++
	}
}

// tcpHeader begins in a frame without options. IPv6 has a hop-by-hop header of 8 bytes in what is over 64 KiB.
func tcpHeader(frame []byte) []byte {
	const ether, ip4, ip6, jumbo = 14, 20, 40, 8
	switch {
	case frame[ether]>>4 == 4:
		return frame[ether+ip4:]
	case frame[ether+6] == testkit.HopByHop:
		return frame[ether+ip6+jumbo:]
	}
	return frame[ether+ip6:]
}

// send writes total bytes and no faster than they are sampled, and returns their hash.
func (s *stream) send(to io.Writer, total int, seed maphash.Seed) (uint64, error) {
	const ahead = 32 << 20
	var sum maphash.Hash
	sum.SetSeed(seed)
	// No multiple of any buffer, so that a piece in another's place does not look like it.
	block := make([]byte, 1<<20-3)
	for i := range block {
		block[i] = byte(rand.Uint32())
	}
	deadline := time.Now().Add(time.Minute)
	for done := 0; done < total; {
		piece := block[:min(len(block), total-done)]
		sum.Write(piece)
		if _, err := to.Write(piece); err != nil {
			return 0, err
		}
		done += len(piece)
		for uint64(done) > s.bytes.Load()+ahead {
			if time.Now().After(deadline) {
				return 0, errors.New("samples do not keep up")
			}
			time.Sleep(time.Millisecond)
		}
	}
	return sum.Sum64(), nil
}

// pairFrom is a connection to port 80 of the namespace's loopback address.
func pairFrom(t *testing.T, ns *testkit.Netns, family uint8, port uint16) (client, server net.Conn) {
	t.Helper()
	ns.Run(t, func() {
		l, err := net.Listen("tcp", loopback(family, 80).String())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(loopback(family, port))}
		if client, err = dialer.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
	})
	return client, server
}

// The samples of bulk traffic, put together, are what was sent, skbs that the device cuts up included.
func TestSampledStreamsAreWhole(t *testing.T) {
	for _, c := range []struct {
		family uint8
		gso    int
		bytes  int
	}{
		{4, 65536, volume(1 << 30)}, {6, 65536, volume(1 << 30)},
		{4, 200_000, volume(32 << 20)}, {6, 200_000, volume(32 << 20)},
	} {
		t.Run(fmt.Sprintf("IPv%d, gso %d", c.family, c.gso), func(t *testing.T) {
			config := sampleAll(hook.Auto)
			config.Sample.Buffer = 128 << 20
			r := newRig(t, config)
			r.ns.SetGSO(c.gso)
			s := &stream{from: 4000}
			seed := maphash.MakeSeed()
			s.sum.SetSeed(seed)
			var sent uint64
			counts := r.sample(s.add, func() (err error) {
				from, to := pairFrom(t, r.ns, c.family, s.from)
				received := make(chan error, 1)
				go func() {
					_, err := io.Copy(io.Discard, to)
					received <- errors.Join(err, to.Close())
				}()
				sent, err = s.send(from, c.bytes, seed)
				return errors.Join(err, from.Close(), <-received)
			})
			if device := r.ns.Device().RxPackets; s.packets != device {
				t.Errorf("%d packets by their segments, the device counted %d", s.packets, device)
			}
			if s.err != nil || counts.Lost() != 0 || counts.Taken != r.skbs() {
				t.Fatalf("%v; %+v of %d", s.err, counts, r.skbs())
			}
			if n := s.bytes.Load(); n != uint64(c.bytes) || s.sum.Sum64() != sent {
				t.Errorf("%d bytes sampled, %d sent; hash %#x, want %#x", n, c.bytes, s.sum.Sum64(), sent)
			}
			if testing.Short() {
				return // too little for large skbs
			}
			if s.largest < 60_000 || (s.segments == 0) != (c.gso > 65536) {
				t.Errorf("skbs of up to %d bytes, %d of which become several packets", s.largest, s.segments)
			}
		})
	}
}
