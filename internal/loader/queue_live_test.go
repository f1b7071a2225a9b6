package loader_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// queue is a model.Queue without the slot, which a test knows by its sockets' addresses.
type queue struct{ Receive, Send, OutOfOrder, Drops uint32 }

// queues takes a reading: what is in the queues of sockets by their own addresses, and the backlogs.
func (r *rig) queues() (map[netip.AddrPort]queue, []reading.Backlog) {
	r.Helper()
	var now reading.Reading
	if err := errors.Join(r.loader.Read(&now), r.loader.ReadQueues(&now)); err != nil {
		r.Fatal(err)
	}
	slots := make(map[uint32]reading.Slot)
	for _, slot := range loader.SlotsForTest(r.loader, &now) {
		slots[slot.Index] = slot
	}
	queues := make(map[netip.AddrPort]queue)
	for _, q := range now.Queues {
		slot, used := slots[q.Slot]
		if !used {
			r.Fatalf("%+v is of no slot", q)
		}
		queues[slot.Key.Endpoint(int(q.End))] = queue{q.Receive, q.Send, q.OutOfOrder, q.Drops}
	}
	if len(queues) != len(now.Queues) {
		r.Errorf("one socket has several queues: %+v", now.Queues)
	}
	return queues, now.Backlogs
}

// checkQueues compares all that there are, once traffic rests.
func (r *rig) checkQueues(want map[netip.AddrPort]queue) {
	r.Helper()
	testkit.Quiesce(r.ns)
	got, _ := r.queues()
	r.compareQueues(want, got)
}

func (r *rig) compareQueues(want, got map[netip.AddrPort]queue) {
	r.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		r.Errorf("queues (-want +got): %s", diff)
	}
}

// tcpEnds is a connection inside the namespace between a server's address and a client's that dials it.
func tcpEnds(tb testing.TB, ns *testkit.Netns, network, listen, dial string) (client, server *net.TCPConn) {
	tb.Helper()
	ns.Run(tb, func() {
		l, err := net.Listen(network, listen)
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()
		c, err := net.Dial("tcp", dial)
		if err != nil {
			tb.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			tb.Fatal(err)
		}
		client, server = c.(*net.TCPConn), s.(*net.TCPConn)
	})
	tb.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func local(c net.Conn) netip.AddrPort {
	addr := netip.MustParseAddrPort(c.LocalAddr().String())
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// control runs f on the socket.
func control(tb testing.TB, c syscall.Conn, f func(fd int) error) {
	tb.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	var failed error
	if err := errors.Join(raw.Control(func(fd uintptr) { failed = f(int(fd)) }), failed); err != nil {
		tb.Fatal(err)
	}
}

// inQueue asks the socket itself, by SIOCINQ or SIOCOUTQ.
func inQueue(tb testing.TB, c syscall.Conn, request uint) (n uint32) {
	tb.Helper()
	control(tb, c, func(fd int) error {
		value, err := unix.IoctlGetInt(fd, request)
		n = uint32(value)
		return err
	})
	return n
}

func TestUnreadBytes(t *testing.T) { onHooks(t, testUnreadBytes) }

func testUnreadBytes(t *testing.T, r *rig, _ hook.Kind) {
	for _, kind := range []struct{ name, network, listen, dial string }{
		{"ipv4", "tcp4", "127.0.0.1:80", "127.0.0.1:80"},
		{"ipv6", "tcp6", "[::1]:80", "[::1]:80"},
		{"dual stack", "tcp", "[::]:80", "127.0.0.1:80"},
	} {
		t.Run(kind.name, func(t *testing.T) {
			r, none := r.with(t), map[netip.AddrPort]queue{}
			client, server := tcpEnds(t, r.ns, kind.network, kind.listen, kind.dial)
			r.checkQueues(none)
			const n = 7919
			if _, err := client.Write(make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			r.checkQueues(map[netip.AddrPort]queue{local(server): {Receive: n}})
			if _, err := io.ReadFull(server, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			r.checkQueues(none)

			// The end of a stream takes a sequence number, which is no byte.
			if _, err := server.Write(make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			if err := server.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			awaitState(t, client, unix.BPF_TCP_CLOSE_WAIT)
			awaitState(t, server, unix.BPF_TCP_FIN_WAIT2)
			got, _ := r.queues()
			r.compareQueues(map[netip.AddrPort]queue{local(client): {Receive: n}}, got)
			client.Close()
			server.Close()
		})
	}
}

// Sockets of one tuple in two namespaces are told apart.
func TestQueuesOfOneNamespace(t *testing.T) { onHooks(t, testQueuesOfOneNamespace) }

func testQueuesOfOneNamespace(t *testing.T, r *rig, _ hook.Kind) {
	other := testkit.NewNetns(t)
	var server *net.TCPConn
	const n = 7
	for i, ns := range []*testkit.Netns{r.ns, other} {
		ns.Run(t, func() {
			l, err := net.Listen("tcp", "127.0.0.1:80")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}}
			client, err := dialer.Dial("tcp", "127.0.0.1:80")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Close() })
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { accepted.Close() })
			if _, err := client.Write(make([]byte, n+i)); err != nil {
				t.Fatal(err)
			}
			server = accepted.(*net.TCPConn)
		})
	}
	testkit.Quiesce(other)
	if got := inQueue(t, server, unix.SIOCINQ); got != n+1 {
		t.Fatalf("%d bytes in the other namespace, want %d", got, n+1)
	}
	r.checkQueues(map[netip.AddrPort]queue{local(server): {Receive: n}})
	if _, got := r.queues(); len(got) != 1 {
		t.Errorf("%d listeners, want 1", len(got))
	}
}

func TestNoQueuesWithoutHealth(t *testing.T) {
	r := newRig(t, loader.Config{Learn: loader.LearnUsual &^ loader.LearnHealth})
	client, _ := tcpEnds(t, r.ns, "tcp", "127.0.0.1:80", "127.0.0.1:80")
	if _, err := client.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	r.checkQueues(map[netip.AddrPort]queue{})
}

// envUnprivileged makes TestQueuesWithoutPrivileges give its privileges up, in a process of its own.
const envUnprivileged = "LOTRACE_TEST_UNPRIVILEGED"

func TestQueuesWithoutPrivileges(t *testing.T) {
	testkit.RequireRoot(t)
	if os.Getenv(envUnprivileged) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), envUnprivileged+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("%v:\n%s", err, out)
		}
		return
	}
	r := newRig(t, loader.Config{})
	client, server := tcpEnds(t, r.ns, "tcp", "127.0.0.1:80", "127.0.0.1:80")
	if err := r.loader.DropPrivileges(); err != nil {
		t.Fatal(err)
	}
	for n := uint32(1); n <= 3; n++ {
		if _, err := client.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		r.checkQueues(map[netip.AddrPort]queue{local(server): {Receive: n}})
	}
}

// The benchmark measures a reading with sockets in the namespace, with and without a look at their queues.
func BenchmarkQueues(b *testing.B) {
	for _, sockets := range []int{2, 10_000} {
		for _, unread := range []int{0, 1} {
			for _, without := range []bool{false, true} {
				b.Run(fmt.Sprintf("sockets=%d/unread=%d/without=%v", sockets, unread, without), func(b *testing.B) {
					benchmarkQueues(b, sockets, unread, without)
				})
			}
		}
	}
}

func benchmarkQueues(b *testing.B, sockets, unread int, without bool) {
	learn := loader.LearnUsual
	if without {
		learn &^= loader.LearnHealth
	}
	r := newRig(b, loader.Config{Learn: learn})
	for i := range sockets / 2 {
		at := fmt.Sprintf("127.0.0.1:%d", 20000+i)
		client, _ := tcpEnds(b, r.ns, "tcp", at, at)
		if _, err := client.Write(make([]byte, unread)); err != nil {
			b.Fatal(err)
		}
	}
	var now reading.Reading
	for b.Loop() {
		if err := errors.Join(r.loader.Read(&now), r.loader.ReadQueues(&now)); err != nil {
			b.Fatal(err)
		}
	}
	if !without && len(now.Queues) != sockets/2*unread {
		b.Fatalf("%d queues of %d sockets", len(now.Queues), sockets)
	}
}
