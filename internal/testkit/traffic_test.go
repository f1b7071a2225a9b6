package testkit_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// TestTraffic holds every maker to its word: what it says it sent is what a packet socket saw on
// lo, flow by flow, and that is what the device counted.
func TestTraffic(t *testing.T) {
	type maker func(ns *testkit.Netns, family uint8) (testkit.Sent, error)
	makers := map[string]maker{
		"bulk":         func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.TCPBulk(ns, f, 4<<20+7) },
		"small writes": func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.TCPSmallWrites(ns, f, 211, 200) },
		"ping-pong":    func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.PingPong(ns, f, 101, 64) },
		"short":        func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.ShortConnections(ns, f, 53, 4) },
		"udp":          func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.UDPCount(ns, f, 1009, 100) },
		"udp empty":    func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.UDPCount(ns, f, 7, 0) },
		"udp large":    func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.UDPLarge(ns, f, 11, 65000) },
		"udp segment":  func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.UDPSegment(ns, f, 13, 10, 1200) },
		"echo":         func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.ICMPEcho(ns, f, 17, 56) },
		"echo large":   func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.ICMPEcho(ns, f, 3, 20000) },
		"proto 253":    func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return testkit.RawProtocol(ns, f, 253, 19, 40) },
		"raw sctp":     func(ns *testkit.Netns, f uint8) (testkit.Sent, error) { return rawSCTP(ns, f) },
		"options": func(ns *testkit.Netns, f uint8) (testkit.Sent, error) {
			if f == 4 {
				return testkit.IPv4Options(ns, 23, 100)
			}
			return testkit.IPv6HopByHop(ns, 23, 100)
		},
		"options large": func(ns *testkit.Netns, f uint8) (testkit.Sent, error) {
			if f == 4 {
				return testkit.IPv4Options(ns, 5, 6*1480-8) // without the options it would be a fragment less
			}
			return testkit.IPv6HopByHop(ns, 5, 6*1448-8)
		},
	}
	for name, make := range makers {
		for _, family := range []uint8{4, 6} {
			for _, mtu := range []int{65536, 1500} {
				t.Run(fmt.Sprintf("%s/ipv%d/%d", name, family, mtu), func(t *testing.T) {
					testkit.CheckFDs(t)
					ns := testkit.NewNetns(t)
					ns.SetMTU(mtu)
					tap := openTap(t, ns)
					sent, err := make(ns, family)
					if err != nil {
						t.Fatal(err)
					}
					testkit.Quiesce(ns)
					tap.compare(t, ns, sent)
				})
			}
		}
	}
}

// rawSCTP is SCTP to a parser that looks at the protocol number, and nothing to the kernel.
func rawSCTP(ns *testkit.Netns, family uint8) (testkit.Sent, error) {
	sent, err := testkit.RawProtocol(ns, family, model.ProtoSCTP, 5, 12)
	sent.ToServer.Payload = 0 // all of it is the common header
	return sent, err
}

func TestClosedPort(t *testing.T) {
	for _, family := range []uint8{4, 6} {
		t.Run(fmt.Sprintf("ipv%d", family), func(t *testing.T) {
			testkit.CheckFDs(t)
			ns := testkit.NewNetns(t)
			tap := openTap(t, ns)
			refused, err := testkit.ClosedPort(ns, family, 33)
			if err != nil {
				t.Fatal(err)
			}
			testkit.Quiesce(ns)
			tap.compare(t, ns, refused.TCP, refused.UDP, refused.ICMP)
		})
	}
}

// TestBigTCP lets packets over 64 KiB through, which IPv6 marks with a jumbo header and IPv4 with
// a total length of 0.
func TestBigTCP(t *testing.T) {
	testkit.RequireKernel(t, "6.3", "gso_ipv4_max_size")
	for _, family := range []uint8{4, 6} {
		t.Run(fmt.Sprintf("ipv%d", family), func(t *testing.T) {
			ns := testkit.NewNetns(t)
			ns.SetGSO(180000)
			tap := openTap(t, ns)
			sent, err := testkit.TCPBulk(ns, family, 16<<20)
			if err != nil {
				t.Fatal(err)
			}
			testkit.Quiesce(ns)
			tap.compare(t, ns, sent)
			if tap.largest <= 65536+14 {
				t.Errorf("the largest frame has %d bytes: none was over 64 KiB", tap.largest)
			}
			if jumbo := tap.jumbo > 0; jumbo != (family == 6) {
				t.Errorf("%d jumbo headers", tap.jumbo)
			}
		})
	}
}

// TestFragmentCounts holds the count of fragments to the device's for sizes around every edge.
func TestFragmentCounts(t *testing.T) {
	ns := testkit.NewNetns(t)
	for _, mtu := range []int{1500, 1501, 1505, 1507} {
		ns.SetMTU(mtu)
		for _, family := range []uint8{4, 6} {
			for size := 2*mtu - 140; size < 2*mtu; size++ {
				before := ns.Device()
				sent, err := testkit.UDPCount(ns, family, 1, size)
				if err != nil {
					t.Fatal(err)
				}
				if got := ns.Device().Sub(before).RxPackets; got != sent.ToServer.Packets {
					t.Errorf("mtu %d, ipv%d, %d bytes: device counted %d, sender says %d",
						mtu, family, size, got, sent.ToServer.Packets)
				}
			}
		}
	}
}

func TestSCTPExchange(t *testing.T) {
	testkit.CheckFDs(t)
	ns := testkit.NewNetns(t)
	sent, err := testkit.SCTPExchange(ns, 5, 100)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := testkit.Amount{Payload: 500}
	if sent.ToServer != want || sent.ToClient != want || sent.Client.Port() == 0 || sent.Server.Port() == 0 {
		t.Errorf("got %+v, want %+v each way", sent, want)
	}
	testkit.Quiesce(ns)
}
