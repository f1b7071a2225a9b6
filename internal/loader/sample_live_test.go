package loader_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

func sampleAll(kind hook.Kind) loader.Config {
	return loader.Config{Hook: kind, Sample: reading.SampleConfig{Policies: reading.SampleAll}}
}

// sample makes traffic, hands every sample of it to into, and returns what was counted of it.
func (r *rig) sample(into func(*reading.Sample), traffic func() error) model.SampleCounts {
	r.Helper()
	before := r.sampleCounts()
	stop, read := make(chan struct{}), make(chan error, 1)
	each := func(s *reading.Sample) error { into(s); return nil }
	go func() {
		for {
			select {
			case <-stop:
				read <- r.loader.ReadSamples(time.Time{}, each)
				return
			default:
				if err := r.loader.ReadSamples(time.Now().Add(5*time.Millisecond), each); err != nil {
					read <- err
					return
				}
			}
		}
	}()
	err := traffic()
	testkit.Quiesce(r.ns)
	close(stop)
	if err := errors.Join(err, <-read); err != nil {
		r.Fatal(err)
	}
	return r.sampleCounts().Sub(before)
}

func (r *rig) sampleCounts() model.SampleCounts {
	r.Helper()
	counts, err := r.loader.SampleCounts()
	if err != nil {
		r.Fatal(err)
	}
	return counts
}

// skbs is how many there were at the hook.
func (r *rig) skbs() uint64 {
	r.Helper()
	var now reading.Reading
	if err := r.loader.Read(&now); err != nil {
		r.Fatal(err)
	}
	var n uint64
	for _, c := range now.Reasons {
		n += c.SKBs
	}
	return n
}

// packetSocket sees every packet of a namespace's lo.
func packetSocket(t *testing.T, ns *testkit.Netns) int {
	t.Helper()
	all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	fd := -1
	ns.Run(t, func() {
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 512<<20),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: 1}))
		if err != nil {
			t.Fatal(err)
		}
	})
	return fd
}

// outgoing counts the packets that a packet socket saw leave, by what was in them.
func outgoing(t *testing.T, fd int) map[string]int {
	t.Helper()
	seen := make(map[string]int)
	buf := make([]byte, 1<<20)
	for {
		n, from, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			seen[string(buf[:n])]++
		}
	}
	stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops != 0 {
		t.Fatalf("the packet socket lost some: %+v, %v", stats, err)
	}
	return seen
}

// mixed is traffic of many kinds at once, of skbs that the device takes whole.
func mixed(ns *testkit.Netns) error {
	kinds := []func() (testkit.Sent, error){
		func() (testkit.Sent, error) { return testkit.PingPong(ns, 4, volume(10_007), 64) },
		func() (testkit.Sent, error) { return testkit.PingPong(ns, 6, volume(5003), 700) },
		func() (testkit.Sent, error) { return testkit.UDPCount(ns, 4, volume(7919), 100) },
		func() (testkit.Sent, error) { return testkit.UDPLarge(ns, 6, volume(1009), 65_000) },
		func() (testkit.Sent, error) { return testkit.ShortConnections(ns, 4, volume(1500), 4) },
		func() (testkit.Sent, error) { return testkit.ICMPEcho(ns, 6, 101, 56) },
	}
	failed := make([]error, len(kinds))
	var senders sync.WaitGroup
	for i, send := range kinds {
		senders.Go(func() { _, failed[i] = send() })
	}
	senders.Wait()
	return errors.Join(failed...)
}

// At several ten thousand packets a second: every packet is a sample, and every byte of it is what a packet
// socket saw.
func TestSamplesAreThePackets(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			c := sampleAll(kind)
			c.Sample.Buffer = 128 << 20
			r := newRig(t, c)
			tap := packetSocket(t, r.ns)
			device, skbs := r.ns.Device(), r.skbs()
			sampled := make(map[string]int)
			began := time.Now()
			counts := r.sample(func(s *reading.Sample) { sampled[string(s.Data)]++ }, func() error { return mixed(r.ns) })
			took := time.Since(began)
			packets := r.ns.Device().Sub(device).RxPackets
			if counts.Seen != packets || counts.Seen != r.skbs()-skbs || counts.Taken != packets {
				t.Errorf("%+v of %d packets, %d skbs", counts, packets, r.skbs()-skbs)
			}
			wrong := 0
			for data, n := range outgoing(t, tap) {
				if sampled[data] != n {
					wrong++
				}
				delete(sampled, data)
			}
			if wrong != 0 || len(sampled) != 0 {
				t.Errorf("%d packets were not sampled as often as seen, %d samples are none of them", wrong, len(sampled))
			}
			t.Logf("%d packets, %.0f a second", packets, float64(packets)/took.Seconds())
		})
	}
}

// The same into a buffer that is too small: what it refuses is counted to the one.
func TestRefusedSamplesAreCounted(t *testing.T) {
	c := sampleAll(hook.Auto)
	c.Sample.Buffer, c.Sample.Snaplen = loader.MinSampleBuffer, 1000
	r := newRig(t, c)
	var taken uint64
	packets := r.ns.Device().RxPackets
	counts := r.sample(func(*reading.Sample) { taken++; time.Sleep(50 * time.Microsecond) }, func() error { return mixed(r.ns) })
	packets = r.ns.Device().RxPackets - packets
	want := model.SampleCounts{Seen: packets, Taken: taken, Full: packets - taken}
	if counts != want || counts.Full == 0 {
		t.Errorf("%+v, want %+v and some refused", counts, want)
	}
}

// Every message has one head, with its first bytes, and their times add up to those that are counted.
func TestSampledHeads(t *testing.T) {
	for _, kind := range allHooks {
		for name, send := range map[string]func(*testkit.Netns, int) (testkit.Sent, error){
			"tcp":      func(ns *testkit.Netns, n int) (testkit.Sent, error) { return testkit.PingPong(ns, 4, n, 200_001) },
			"tcp, ip6": func(ns *testkit.Netns, n int) (testkit.Sent, error) { return testkit.PingPong(ns, 6, n, 10) },
		} {
			t.Run(fmt.Sprintf("%s, %s", kind, name), func(t *testing.T) {
				r := newRig(t, loader.Config{Hook: kind, Sample: reading.SampleConfig{Policies: reading.SampleHeads, Snaplen: 200}})
				const n = 300
				var sent testkit.Sent
				var heads []reading.Sample
				counts := r.sample(func(s *reading.Sample) { heads = append(heads, *s) }, func() (err error) {
					sent, err = send(r.ns, n)
					return err
				})
				if counts != (model.SampleCounts{Seen: 2 * n, Taken: 2 * n}) {
					t.Errorf("%+v, want %d", counts, 2*n)
				}
				f := r.flow(r.window(), sent.Client, sent.Server)
				checkHeads(t, f, heads, sent.ToServer.Payload/n)
			})
		}
	}
}

func checkHeads(t *testing.T, f *model.Flow, heads []reading.Sample, size uint64) {
	t.Helper()
	var turns, responses time.Duration
	var asked uint64
	for i, s := range heads {
		number, answer := i/2, i%2 == 1
		sent := [2]uint64{uint64(number) * size, uint64(number) * size}
		from := f.Client.AddrPort()
		if answer {
			from = f.Server.AddrPort()
			sent[s.Client&1] += size
			turns += time.Duration(s.Message.TookNS)
			if s.MonoNS-s.Message.AskedNS != s.Message.TookNS || s.Message.AskedNS < asked {
				t.Fatalf("head %d: turn %+v at %d, asked at %d", i, s.Message, s.MonoNS, asked)
			}
		} else {
			asked = s.MonoNS
			responses += time.Duration(s.Message.TookNS)
		}
		if m := s.Message; m.Number != uint32(number+1) || m.Answer != answer || m.Sent != sent {
			t.Fatalf("head %d: %+v, want %d sent before", i, m, sent)
		}
		if s.Key.Endpoint(int(s.From)) != from || s.Why != reading.SampleHeads || s.HeaderLen >= s.Length {
			t.Fatalf("head %d: %+v, want it from %v", i, s, from)
		}
	}
	// The last answer is part of no request's head.
	if turns != f.Turn.Sum || responses > f.Response.Sum || responses == 0 {
		t.Errorf("turns of %v and responses of %v in all, counted are %v and %v", turns, responses, f.Turn.Sum, f.Response.Sum)
	}
}

// Datagrams have heads as well, the first request included.
func TestSampledHeadsOfDatagrams(t *testing.T) {
	r := newRig(t, loader.Config{Sample: reading.SampleConfig{Policies: reading.SampleHeads, Snaplen: 200}})
	at := loopback(4, 80)
	server := listenUDP(t, r.ns, at)
	client := dialUDP(t, r.ns, netip.AddrPortFrom(at.Addr(), 0), at)
	const n = 50
	var heads []string
	r.sample(func(s *reading.Sample) {
		heads = append(heads, fmt.Sprintf("%d %v %s", s.Message.Number, s.Message.Answer, s.Data[s.HeaderLen:]))
	}, func() error {
		buf := make([]byte, 10)
		for range n {
			if _, err := client.Write([]byte("ask")); err != nil {
				return err
			}
			_, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return err
			}
			for _, piece := range []string{"answer", "more"} {
				if _, err := server.WriteToUDPAddrPort([]byte(piece), from); err != nil {
					return err
				}
				if _, err := client.Read(buf); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for i, head := range heads {
		want := fmt.Sprintf("%d false ask", i/2+1)
		if i%2 == 1 {
			want = fmt.Sprintf("%d true answer", i/2+1)
		}
		if head != want {
			t.Fatalf("head %d is %q, want %q", i, head, want)
		}
	}
	if len(heads) != 2*n {
		t.Errorf("%d heads, want %d", len(heads), 2*n)
	}
}

// Of real connections too, all packets are sampled or none.
func TestSampledFlowsAreWhole(t *testing.T) {
	const n, oneIn = 600, 4
	r := newRig(t, loader.Config{Sample: reading.SampleConfig{Policies: reading.SampleFlows, OneIn: oneIn}})
	packets := make(map[netip.AddrPort]uint64)
	r.sample(func(s *reading.Sample) { packets[s.Key.Endpoint(int(s.Client))]++ }, func() error {
		_, err := testkit.ShortConnections(r.ns, 4, n, 4)
		return err
	})
	flows := make(map[netip.AddrPort]uint64) // a port may be used again
	for _, f := range r.window().Flows.Slice() {
		flows[f.Client.AddrPort()] += f.ToServer.SKBs + f.ToClient.SKBs
	}
	for client, got := range packets {
		if got != flows[client] {
			t.Errorf("%d of %d packets of %v", got, flows[client], client)
		}
	}
	mean := float64(len(flows)) / oneIn
	if off := math.Abs(float64(len(packets)) - mean); off > 4*math.Sqrt(mean*(1-1./oneIn)) {
		t.Errorf("%d of %d flows, one in %d was asked for", len(packets), len(flows), oneIn)
	}
}

// A packet that the kernel drops is told of with its reason, and is the one that was sent.
func TestSampledDrops(t *testing.T) {
	for _, kind := range tcHooks {
		t.Run(string(kind), func(t *testing.T) {
			c := sampleAll(kind)
			c.Sample.Policies |= reading.SampleErrors
			r := newRig(t, c)
			var sent, dropped []reading.Sample
			r.sample(func(s *reading.Sample) {
				kept := *s
				kept.Data = bytes.Clone(s.Data)
				if s.Drop != 0 {
					dropped = append(dropped, kept)
				} else if s.Key.Proto == model.ProtoUDP {
					sent = append(sent, kept)
				}
			}, func() error {
				_, err := testkit.ClosedPort(r.ns, 6, 333)
				return err
			})
			if len(sent) != 1 || len(dropped) == 0 {
				t.Fatalf("%d datagrams, %d dropped", len(sent), len(dropped))
			}
			var of *reading.Sample
			for i := range dropped {
				if dropped[i].Key == sent[0].Key {
					of = &dropped[i]
				}
			}
			if of == nil {
				t.Fatalf("dropped %+v", dropped)
			}
			if loader.DropReason(of.Drop) != "no_socket" || of.Why != reading.SampleErrors || of.From != sent[0].From ||
				of.Slot != sent[0].Slot || of.Length != sent[0].Length || of.HeaderLen != sent[0].HeaderLen || of.OneIn != 1 {
				t.Errorf("dropped %+v, sent %+v", of, sent[0])
			}
			// Its checksum is filled in on the way.
			const checksum = 14 + 40 + 6
			head := func(s *reading.Sample) []byte { return append(s.Data[:checksum:checksum], s.Data[checksum+2:100]...) }
			if !bytes.Equal(head(of), head(&sent[0])) {
				t.Errorf("dropped % x, sent % x", of.Data, sent[0].Data)
			}
		})
	}
}
