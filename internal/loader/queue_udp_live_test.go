package loader_test

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/testkit"
)

// udpEnds are two sockets inside the namespace that are connected to each other.
func udpEnds(t *testing.T, ns *testkit.Netns, a, b string) (first, second *net.UDPConn) {
	t.Helper()
	ends := [2]netip.AddrPort{netip.MustParseAddrPort(a), netip.MustParseAddrPort(b)}
	var conns [2]*net.UDPConn
	ns.Run(t, func() {
		for i := range conns {
			var err error
			conns[i], err = net.DialUDP("udp", net.UDPAddrFromAddrPort(ends[i]), net.UDPAddrFromAddrPort(ends[1-i]))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conns[i].Close() })
		}
	})
	return conns[0], conns[1]
}

// udpQueued is what ss shows as Recv-Q of the socket with this address.
func udpQueued(t *testing.T, ns *testkit.Netns, at netip.AddrPort) uint32 {
	t.Helper()
	family := uint8(unix.AF_INET)
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	var queued uint32
	found := false
	ns.Run(t, func() {
		sockets, err := netlink.SocketDiagUDP(family)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sockets {
			if s.ID.SourcePort == at.Port() {
				queued, found = s.RQueue, true
			}
		}
	})
	if !found {
		t.Fatalf("no socket at %v", at)
	}
	return queued
}

// datagramsDropped is what the socket itself says.
func datagramsDropped(t *testing.T, c syscall.Conn) uint32 {
	t.Helper()
	const drops = 8 // SK_MEMINFO_DROPS, linux/sock_diag.h
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	control(t, c, func(fd int) error {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	return info[drops]
}

func TestUnreadDatagrams(t *testing.T) {
	r := newRig(t, loader.Config{})
	for _, kind := range []struct{ name, client, server string }{
		{"ipv4", "127.0.0.1:4000", "127.0.0.1:53"},
		{"ipv6", "[::1]:4000", "[::1]:53"},
	} {
		t.Run(kind.name, func(t *testing.T) {
			r := r.with(t)
			client, server := udpEnds(t, r.ns, kind.client, kind.server)
			control(t, server, func(fd int) error {
				return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<18)
			})
			sent := 0
			send := func() {
				sent++
				if _, err := client.Write(make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
			}
			check := func() {
				t.Helper()
				want := queue{Receive: udpQueued(t, r.ns, local(server)), Drops: datagramsDropped(t, server)}
				r.checkQueues(map[netip.AddrPort]queue{local(server): want})
			}
			for range 5 {
				send()
			}
			check()
			// The kernel accounts for read datagrams later, many at once.
			if _, err := server.Read(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			check()
			for datagramsDropped(t, server) < 7 {
				send()
			}
			check()
			for range sent - 1 - 7 {
				if _, err := server.Read(make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
			}
			r.checkQueues(map[netip.AddrPort]queue{local(server): {Drops: 7}})
			client.Close()
			server.Close()
		})
	}
}
