package loader_test

import (
	"cmp"
	"errors"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// volume is how much to send: a two-hundredth with -short, for machines that emulate their processor. What
// was odd stays odd, so that no buffer divides it.
func volume(n int) int {
	if testing.Short() {
		return n/200 | 1
	}
	return n
}

var allHooks = []hook.Kind{hook.TCX, hook.Clsact, hook.XDP}

// traffic is every kind that is counted exactly by every hook.
var traffic = []struct {
	name string
	mtu  int // 0: as it is
	send func(ns *testkit.Netns) (testkit.Sent, error)
}{
	{"bulk tcp", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.TCPBulk(ns, 4, volume(256<<20)) }},
	{"bulk tcp over ipv6", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.TCPBulk(ns, 6, volume(256<<20)) }},
	{"bulk tcp at mtu 1500", 1500, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.TCPBulk(ns, 4, volume(64<<20)) }},
	{"bulk tcp over ipv6 at mtu 1500", 1500, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.TCPBulk(ns, 6, volume(64<<20)) }},
	{"200-byte writes", 0, func(ns *testkit.Netns) (testkit.Sent, error) {
		return testkit.TCPSmallWrites(ns, 4, volume(50_000), 200)
	}},
	{"ping-pong", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.PingPong(ns, 4, volume(10_007), 64) }},
	{"ping-pong over ipv6", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.PingPong(ns, 6, volume(10_007), 64) }},
	{"7919 datagrams", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.UDPCount(ns, 4, volume(7919), 100) }},
	{"7919 datagrams over ipv6", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.UDPCount(ns, 6, volume(7919), 100) }},
	{"65000-byte datagrams", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.UDPLarge(ns, 4, volume(1009), 65000) }},
	{"fragments", 1500, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.UDPLarge(ns, 4, volume(211), 65000) }},
	{"fragments over ipv6", 1500, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.UDPLarge(ns, 6, volume(211), 65000) }},
	{"udp segments", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.UDPSegment(ns, 4, 101, 20, 1400) }},
	{"ipv4 options", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.IPv4Options(ns, 101, 333) }},
	{"ipv6 hop-by-hop", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.IPv6HopByHop(ns, 101, 333) }},
	{"icmp echo", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.ICMPEcho(ns, 4, 101, 56) }},
	{"icmpv6 echo", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.ICMPEcho(ns, 6, 101, 56) }},
	{"icmp echo in fragments", 1500, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.ICMPEcho(ns, 4, 101, 9000) }},
	{"protocol 253", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.RawProtocol(ns, 4, 253, 101, 77) }},
	{"sctp", 0, func(ns *testkit.Netns) (testkit.Sent, error) { return testkit.SCTPExchange(ns, 101, 500) }},
	{"short connections", 0, func(ns *testkit.Netns) (testkit.Sent, error) {
		return testkit.ShortConnections(ns, 4, volume(20_000), 16)
	}},
}

// One loader a hook serves all kinds, a window each: to load takes long where a processor is emulated.
func TestTrafficIsExact(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind})
			for _, kind := range traffic {
				t.Run(kind.name, func(t *testing.T) {
					r := r.with(t)
					r.ns.SetMTU(cmp.Or(kind.mtu, loopbackMTU))
					sent, err := kind.send(r.ns)
					if errors.Is(err, errors.ErrUnsupported) {
						t.Skipf("this kernel has none: %v", err)
					}
					if err != nil {
						t.Fatal(err)
					}
					r.checkSent(r.window(), sent)
				})
			}
		})
	}
}

// loopbackMTU is what lo has when nobody changed it.
const loopbackMTU = 65536

// A device whose limits were changed makes other packets of the same skbs; nobody tells the program.
func TestChangedLimits(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind})
			for _, size := range []int{16 << 10, 32 << 10, 65536, 130_000, 500_000} {
				t.Run(strconv.Itoa(size), func(t *testing.T) {
					r := r.with(t)
					r.ns.SetGSO(size)
					for _, family := range []uint8{4, 6} {
						sent, err := testkit.TCPBulk(r.ns, family, volume(64<<20))
						if err != nil {
							t.Fatal(err)
						}
						r.checkSent(r.window(), sent)
					}
				})
			}
		})
	}
}

// crowd is more connections than the smallest table holds.
func crowd() int {
	if testing.Short() {
		return 1500
	}
	return 5000
}

func TestFullTable(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind, MaxFlows: loader.MinFlows})
			if _, err := testkit.ShortConnections(r.ns, 4, crowd(), 16); err != nil {
				t.Fatal(err)
			}
			s := r.window()
			if s.Flows.Len() != loader.MinFlows {
				t.Errorf("%d flows in a table of %d", s.Flows.Len(), loader.MinFlows)
			}
			if full := s.ByCause["table_full"]; full != s.Overflow || full.Packets == 0 {
				t.Errorf("overflow %+v, by cause %+v", s.Overflow, s.ByCause)
			}

			// Flows that are over make room.
			for range 100 {
				if err := r.engine.Sweep(); err != nil {
					t.Fatal(err)
				}
				sent, err := testkit.PingPong(r.ns, 4, 1, 1)
				if err != nil {
					t.Fatal(err)
				}
				if s := r.window(); s.Overflow.Packets == 0 {
					r.checkSent(s, sent)
					return
				}
			}
			t.Error("the table stayed full")
		})
	}
}

// Attached in the middle of traffic, a window still begins and ends to the packet.
func TestAttachInMidTraffic(t *testing.T) {
	attaches := 10
	if testing.Short() {
		attaches = 3
	}
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			testkit.RequireRoot(t)
			testkit.RequireKernel(t, minimum(kind), "hook "+string(kind))
			if testing.Short() && kind == hook.XDP {
				t.Skip("waits only so long for ksoftirqd, and an emulated machine keeps no time")
			}
			ns := testkit.NewNetns(t)
			stop := make(chan struct{})
			var senders sync.WaitGroup
			for _, family := range []uint8{4, 6} {
				senders.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if _, err := testkit.TCPBulk(ns, family, 8<<20); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			for range attaches {
				r := newRigIn(t, ns, loader.Config{Hook: kind})
				for range 3 {
					s, err := r.engine.Window(new(model.Flows))
					if err != nil {
						t.Fatal(err)
					}
					if !s.Device.Agrees {
						t.Errorf("totals %+v outside of the device's readings around them %+v", s.Totals, *s.Device)
					}
				}
				if err := r.loader.Close(); err != nil {
					t.Fatal(err)
				}
			}
			close(stop)
			senders.Wait()
		})
	}
}

// A refused connection is a closed flow of two packets, a refused datagram brings an ICMP error back.
func TestClosedPorts(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind})
			for _, family := range []uint8{4, 6} {
				refused, err := testkit.ClosedPort(r.ns, family, 33)
				if err != nil {
					t.Fatal(err)
				}
				s := r.window()
				for _, sent := range []testkit.Sent{refused.TCP, refused.UDP, refused.ICMP} {
					r.checkSent(s, sent)
				}
				if s.Flows.Len() != 3 {
					t.Errorf("%d flows, want tcp, udp and icmp", s.Flows.Len())
				}
			}
		})
	}
}

// Frames that no stack would send are counted, each under its reason, and harm nothing.
func TestInjectedFrames(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind})
			var sent int
			r.ns.Run(t, func() {
				fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				lo := &unix.SockaddrLinklayer{Ifindex: 1}
				for _, packet := range testkit.Corpus() {
					for n := 14; n <= len(packet.Frame); n++ {
						if err := unix.Sendto(fd, packet.Frame[:n], 0, lo); err != nil {
							t.Fatalf("%s, %d bytes: %v", packet.Name, n, err)
						}
						sent++
					}
				}
			})
			s := r.window()
			if s.Totals.Packets < uint64(sent) {
				t.Errorf("%d packets, sent %d", s.Totals.Packets, sent)
			}
			for _, cause := range []string{"not_ip", "truncated", "malformed", "header_chain"} {
				if s.ByCause[cause].Packets == 0 {
					t.Errorf("nothing %s in %+v", cause, s.ByCause)
				}
			}
		})
	}
}
