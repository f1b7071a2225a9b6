package testkit

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// DestroyTCP has the kernel reset the connection at the end that is local, as ss --kill does. It skips
// the test where the kernel was built without that.
func DestroyTCP(tb testing.TB, ns *Netns, local, remote netip.AddrPort) {
	tb.Helper()
	err := ns.handle.SocketDestroy(net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(remote))
	if errors.Is(err, unix.EOPNOTSUPP) {
		enter(tb, "skip", "inet_diag_destroy")
		tb.Skipf("needs CONFIG_INET_DIAG_DESTROY: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	enter(tb, "run", "inet_diag_destroy")
}

// RequireMPTCP skips the test where there is no multipath TCP.
func RequireMPTCP(tb testing.TB) {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err == nil {
		unix.Close(fd)
		enter(tb, "run", "mptcp")
		return
	}
	enter(tb, "skip", "mptcp")
	tb.Skipf("needs multipath TCP: %v", err)
}
