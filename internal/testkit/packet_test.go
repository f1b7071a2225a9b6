package testkit_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

func TestCorpus(t *testing.T) {
	names, frames := map[string]bool{}, map[string]string{}
	for _, p := range testkit.Corpus() {
		if names[p.Name] {
			t.Errorf("two packets are named %s", p.Name)
		}
		names[p.Name] = true
		if other, ok := frames[string(p.Frame)]; ok {
			t.Errorf("%s and %s are the same packet", p.Name, other)
		}
		frames[string(p.Frame)] = p.Name
		if n := len(p.Frame); n < 14 || n > 2048 {
			t.Errorf("%s has %d bytes", p.Name, n)
		}
	}
}

// TestPacketsAreValid gives packets to the kernel, which answers those alone whose lengths and
// checksums it finds in order: each makes the device count twice, and a spoilt one once.
func TestPacketsAreValid(t *testing.T) {
	ns := testkit.NewNetns(t)
	fd := -1
	ns.Run(t, func() {
		// Loopback addresses are for the stack alone to send from, unless told otherwise.
		for _, name := range []string{"route_localnet", "accept_local"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/lo/"+name, []byte("1"), 0); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	})
	tests := map[string][]testkit.Option{
		"syn":             {testkit.TCP(testkit.SYN, 2, 4, 5, 0xb4), testkit.Seq(9)},
		"ack":             {testkit.TCP(testkit.ACK), testkit.Payload(33)},
		"udp":             {testkit.UDP(), testkit.Payload(11)},
		"echo":            {testkit.EchoRequest(5), testkit.Payload(57)},
		"udp, fragmented": {testkit.UDP(), testkit.Payload(11), testkit.Fragment(7, 0, false)},
	}
	families := map[string][]testkit.Option{
		"ipv4":              {testkit.IPv4()},
		"ipv4 with options": {testkit.IPv4(1, 1, 1)},
		"ipv6":              {testkit.IPv6()},
		"ipv6 with options": {testkit.IPv6(), testkit.Extension(testkit.HopByHop, 1, 4), testkit.Extension(testkit.DestOptions, 1, 4)},
	}
	for family, ip := range families {
		for name, options := range tests {
			t.Run(fmt.Sprintf("%s/%s", family, name), func(t *testing.T) {
				options := append(ip[:len(ip):len(ip)], options...)
				frame := testkit.Packet(options...)
				if got := answered(t, ns, fd, frame); got != 2 {
					t.Errorf("device counted %d, want the packet and its answer", got)
				}
				frame[len(frame)-1] ^= 0x40
				if got := answered(t, ns, fd, frame); got != 1 {
					t.Errorf("spoilt: device counted %d, want the packet alone", got)
				}
			})
		}
	}
}

// answered sends a frame and returns how many packets the device counted for it.
func answered(t *testing.T, ns *testkit.Netns, fd int, frame []byte) uint64 {
	t.Helper()
	before := ns.Device()
	if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: 1}); err != nil {
		t.Fatalf("inject packet: %v", err)
	}
	testkit.Quiesce(ns)
	return ns.Device().Sub(before).RxPackets
}
