package loader_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// health is what went wrong on all TCP flows of a rig.
type healths struct {
	Refused, SYNRetries, SYNACKRetries uint32
	Client, Server                     reading.EndHealth
}

// health adds up all flows, whose clients must be known.
func (r *rig) healths() (sum healths, slots []reading.Slot) {
	r.Helper()
	var now reading.Reading
	if err := r.loader.Read(&now); err != nil {
		r.Fatal(err)
	}
	for _, s := range loader.SlotsForTest(r.loader, &now) {
		if s.Key.Proto != model.ProtoTCP {
			continue
		}
		if s.Role != reading.SlotRoleSYN {
			r.Errorf("role %d of %v and %v", s.Role, s.Key.Endpoint(0), s.Key.Endpoint(1))
		}
		slots = append(slots, s)
		if s.Health == 0 {
			continue
		}
		var t reading.Health
		r.loader.ReadHealth(s.Health, &t)
		sum.Refused += t.Refused
		sum.SYNRetries += t.SYNRetries
		sum.SYNACKRetries += t.SYNACKRetries
		addEnd(&sum.Client, &t.End[s.Client])
		addEnd(&sum.Server, &t.End[1-s.Client])
	}
	return sum, slots
}

func addEnd(to, from *reading.EndHealth) {
	to.Resets += from.Resets
	to.Timeouts += from.Timeouts
	to.ZeroWindows += from.ZeroWindows
	to.Stalls += from.Stalls
	to.ClosedSinceNS += from.ClosedSinceNS
	to.ClosedNS += from.ClosedNS
	to.StalledNS += from.StalledNS
}

// kernel is a counter of the namespace by the name that nstat gives it.
func (r *rig) kernel(name string) uint32 {
	r.Helper()
	return uint32(r.ns.Counter(name))
}

// await polls until something has come to pass.
func (r *rig) await(what string, done func() bool) {
	r.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(20 * time.Second); !done(); <-poll.C {
		if time.Now().After(deadline) {
			r.Fatalf("no %s", what)
		}
	}
}

// monotonic is CLOCK_MONOTONIC in nanoseconds, which the kernel stamps with.
func monotonic(t *testing.T) uint64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return uint64(ts.Nano())
}

func onHooks(t *testing.T, test func(t *testing.T, r *rig, kind hook.Kind)) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) { test(t, newRig(t, loader.Config{Hook: kind}), kind) })
	}
}

func TestRefused(t *testing.T) {
	onHooks(t, func(t *testing.T, r *rig, _ hook.Kind) {
		const n = 7
		for i := range 2 * n {
			if _, err := testkit.ClosedPort(r.ns, []uint8{4, 6}[i%2], 33); err != nil {
				t.Fatal(err)
			}
		}
		testkit.Quiesce(r.ns)
		sum, slots := r.healths()
		if want := (healths{Refused: 2 * n}); sum != want || len(slots) != 2*n || r.kernel("TcpOutRsts") != 2*n {
			t.Errorf("%+v on %d flows, want %+v", sum, len(slots), want)
		}
		for _, s := range slots {
			if s.ConnectedNS|s.AcceptedNS|s.FirstByteNS != 0 {
				t.Errorf("a refused connection has been one: %+v", s)
			}
		}
	})
}

func TestResets(t *testing.T) {
	onHooks(t, func(t *testing.T, r *rig, _ hook.Kind) {
		const byClient, byServer = 3, 5
		for i := range byClient + byServer {
			first, second := tcpPair(t, r.ns)
			if i >= byClient {
				first, second = second, first
			}
			err := errors.Join(first.(*net.TCPConn).SetLinger(0), first.Close(), second.Close())
			if err != nil {
				t.Fatal(err)
			}
		}
		testkit.Quiesce(r.ns)
		want := healths{Client: reading.EndHealth{Resets: byClient}, Server: reading.EndHealth{Resets: byServer}}
		if sum, _ := r.healths(); sum != want || r.kernel("TcpOutRsts") != byClient+byServer {
			t.Errorf("%+v, want %+v", sum, want)
		}
	})
}

// A client that asks whether a port is open, and wants no connection, resets none.
func TestHalfOpen(t *testing.T) {
	onHooks(t, func(t *testing.T, r *rig, _ hook.Kind) {
		r.ns.Run(t, func() {
			l, err := net.Listen("tcp6", "[::1]:80")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			inject(t, testkit.IPv6(), testkit.TCP(testkit.SYN))
			r.await("reset", func() bool { return r.kernel("TcpOutRsts") == 1 })
		})
		testkit.Quiesce(r.ns)
		if sum, _ := r.healths(); sum != (healths{}) {
			t.Errorf("%+v of a connection that never was", sum)
		}
	})
}

// A SYN that finds the accept queue full is dropped, and sent again after a second.
func TestFullAcceptQueue(t *testing.T) {
	onHooks(t, func(t *testing.T, r *rig, _ hook.Kind) {
		dialer := net.Dialer{Timeout: 1500 * time.Millisecond}
		r.ns.Run(t, func() {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			server := unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 80}
			if err := errors.Join(unix.Bind(fd, &server), unix.Listen(fd, 0)); err != nil {
				t.Fatal(err)
			}
			conn, err := dialer.Dial("tcp", "127.0.0.1:80")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if conn, err := dialer.Dial("tcp", "127.0.0.1:80"); err == nil {
				conn.Close()
				t.Fatal("connected to a full queue")
			}
			sum, _ := r.healths()
			want := healths{SYNRetries: r.kernel("TcpRetransSegs")}
			if sum != want || sum.SYNRetries == 0 || r.kernel("TcpExtListenOverflows") != 1+sum.SYNRetries {
				t.Errorf("%+v, want %+v", sum, want)
			}
		})
	})
}

// A listener that waits for data does not take an acknowledgement for an answer: it sends its SYN-ACK
// again after a second.
func TestDeferredAccept(t *testing.T) {
	onHooks(t, func(t *testing.T, r *rig, _ hook.Kind) {
		deferred := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			return errors.Join(c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1)
			}), err)
		}}
		r.ns.Run(t, func() {
			l, err := deferred.Listen(context.Background(), "tcp4", "127.0.0.1:80")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			before := monotonic(t)
			client, err := net.Dial("tcp", "127.0.0.1:80")
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			after := monotonic(t)
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			sum, slots := r.healths()
			want := healths{SYNACKRetries: r.kernel("TcpExtTCPSynRetrans")}
			if sum != want || sum.SYNACKRetries == 0 {
				t.Errorf("%+v, want %+v", sum, want)
			}
			checkBetween(t, "connected", slots[0].ConnectedNS, before, after+late)
		})
	})
}

// late is how long after a system call has returned what it caused may still be on its way.
const late = uint64(20 * time.Millisecond)

func checkBetween(t *testing.T, what string, at, from, to uint64) {
	t.Helper()
	if at < from || at > to {
		t.Errorf("%s at %d, want it between %d and %d", what, at, from, to)
	}
}

// dialOnly connects to a listener, which need not accept.
func dialOnly(t *testing.T, ns *testkit.Netns, l net.Listener) (client net.Conn) {
	t.Helper()
	err := ns.Do(func() (err error) { client, err = net.Dial("tcp", l.Addr().String()); return err })
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// The stamps of a connection, against a server that takes its time. Its client sends more than a socket
// takes, so that the server's first read shows.
func TestStamps(t *testing.T) {
	onHooks(t, func(t *testing.T, r *rig, kind hook.Kind) {
		const size = 256 << 10
		l := listenIn(t, r.ns)
		defer l.Close()
		dialling := monotonic(t)
		client := dialOnly(t, r.ns, l)
		defer client.Close()
		dialled := monotonic(t)
		sent := make(chan error, 1)
		go func() {
			_, err := client.Write(make([]byte, size))
			sent <- err
		}()

		time.Sleep(50 * time.Millisecond) // a server with other things to do
		accepting := monotonic(t)
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		_, err = io.ReadFull(server, make([]byte, size))
		if err := errors.Join(err, <-sent); err != nil {
			t.Fatal(err)
		}
		accepted := monotonic(t)
		time.Sleep(30 * time.Millisecond) // it thinks
		answering, answered := monotonic(t), uint64(0)
		for range 2 {
			if _, err := server.Write(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if answered == 0 {
				answered = monotonic(t)
			}
		}
		_, slots := r.healths()
		checkBetween(t, "connected", slots[0].ConnectedNS, dialling, dialled+late)
		checkBetween(t, "first byte", slots[0].FirstByteNS, answering, answered)
		if kind != hook.XDP {
			checkBetween(t, "accepted", slots[0].AcceptedNS, accepting, accepted)
		} else if slots[0].AcceptedNS != 0 {
			t.Error("xdp knows no process")
		}
	})
}

// With NoHealth there is none.
func TestNoHealth(t *testing.T) {
	r := newRig(t, loader.Config{Learn: loader.LearnUsual &^ loader.LearnHealth})
	client, server := tcpPair(t, r.ns)
	if _, err := server.Write(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(client.(*net.TCPConn).SetLinger(0), client.Close(), server.Close()); err != nil {
		t.Fatal(err)
	}
	testkit.Quiesce(r.ns)
	_, slots := r.healths()
	if s := slots[0]; s.Health != 0 || s.ConnectedNS|s.AcceptedNS|s.FirstByteNS != 0 {
		t.Errorf("%+v", s)
	}
}
