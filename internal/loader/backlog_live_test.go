package loader_test

import (
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/services"
	"github.com/lotrace/lotrace/internal/testkit"
)

// listenSmall listens with room for one, and one more, and has more come than that. Nobody accepts.
func listenSmall(t *testing.T, ns *testkit.Netns, at unix.Sockaddr, v6Only int, dial unix.Sockaddr) {
	t.Helper()
	family := func(a unix.Sockaddr) int {
		if _, ok := a.(*unix.SockaddrInet6); ok {
			return unix.AF_INET6
		}
		return unix.AF_INET
	}
	socket := func(a unix.Sockaddr) int {
		fd, err := unix.Socket(family(a), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	// Two CPUs that complete a connection each at once may both find the last room.
	begin := func() error {
		fd := socket(at)
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		if family(at) == unix.AF_INET6 {
			err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6Only))
		}
		if err := errors.Join(err, unix.Bind(fd, at), unix.Listen(fd, 1)); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := unix.Connect(socket(dial), dial); err != nil && !errors.Is(err, unix.EINPROGRESS) {
				t.Fatal(err)
			}
		}
		return nil
	}
	if err := ns.Do(func() error { return services.OnCPU(0, begin) }); err != nil {
		t.Fatal(err)
	}
}

// listenDrops is the namespace's TcpExtListenDrops.
func listenDrops(t *testing.T, ns *testkit.Netns) uint64 {
	t.Helper()
	var text []byte
	ns.Run(t, func() {
		var err error
		if text, err = os.ReadFile("/proc/thread-self/net/netstat"); err != nil {
			t.Fatal(err)
		}
	})
	lines := strings.Split(string(text), "\n")
	values := strings.Fields(lines[1])
	for i, name := range strings.Fields(lines[0]) {
		if name == "ListenDrops" {
			n, err := strconv.ParseUint(values[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no ListenDrops")
	return 0
}

// Connections that nobody accepts wait at their listener, and those beyond its limit are dropped there.
func TestBacklogs(t *testing.T) {
	r := newRig(t, loader.Config{})
	v4, v6 := [4]byte{127, 0, 0, 1}, [16]byte{15: 1}
	want := []reading.Backlog{
		{Addr: netip.AddrFrom4(v4), Port: 80},
		{Addr: netip.AddrFrom16(v6), Port: 81, V6Only: true},
		{Addr: netip.IPv6Unspecified(), Port: 82},
		{Addr: netip.IPv4Unspecified(), Port: 83},
	}
	listenSmall(t, r.ns, &unix.SockaddrInet4{Addr: v4, Port: 80}, 0, &unix.SockaddrInet4{Addr: v4, Port: 80})
	listenSmall(t, r.ns, &unix.SockaddrInet6{Addr: v6, Port: 81}, 1, &unix.SockaddrInet6{Addr: v6, Port: 81})
	listenSmall(t, r.ns, &unix.SockaddrInet6{Port: 82}, 0, &unix.SockaddrInet4{Addr: v4, Port: 82})
	listenSmall(t, r.ns, &unix.SockaddrInet4{Port: 83}, 0, &unix.SockaddrInet4{Addr: v4, Port: 83})

	for deadline := time.Now().Add(10 * time.Second); ; { // until no SYN is being sent again
		before := listenDrops(t, r.ns)
		queues, got := r.queues()
		var drops uint64
		byPort := make(map[uint16]reading.Backlog)
		for _, b := range got {
			drops += b.Drops
			byPort[b.Port] = b
		}
		if (drops != before || listenDrops(t, r.ns) != before) && time.Now().Before(deadline) {
			continue
		}
		for _, w := range want {
			w.Site, w.Length, w.Limit, w.Drops = loader.Site, 2, 1, byPort[w.Port].Drops
			if byPort[w.Port] != w || w.Drops < 3 {
				t.Errorf("%+v, want %+v with at least 3 drops", byPort[w.Port], w)
			}
		}
		if len(got) != len(want) || drops != before {
			t.Errorf("%d listeners dropped %d, the namespace has %d that dropped %d", len(got), drops, len(want), before)
		}
		if len(queues) != 0 {
			t.Errorf("sockets that have sent nothing but a SYN have %+v in their queues", queues)
		}
		return
	}
}

// Listeners that share a port have a backlog each.
func TestSharedPort(t *testing.T) {
	r := newRig(t, loader.Config{})
	at := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 80}
	listenSmall(t, r.ns, at, 0, at)
	listenSmall(t, r.ns, at, 0, at)
	_, got := r.queues()
	if len(got) != 2 || got[0].Port != 80 || got[1].Port != 80 {
		t.Errorf("%+v, want two at port 80", got)
	}
}
