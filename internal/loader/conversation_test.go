package loader_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// span is when something began and when it was over, CLOCK_MONOTONIC.
type span struct{ from, to time.Duration }

func (s span) has(at time.Duration) bool { return s.from <= at && at <= s.to }

// during times what must not fail.
func during(t *testing.T, f func() error) (s span) {
	t.Helper()
	s.from = time.Duration(monotonic(t))
	if err := f(); err != nil {
		t.Fatal(err)
	}
	s.to = time.Duration(monotonic(t))
	return s
}

// witness is what a test saw of one turn: the client's write, the server's read and write, and the
// client's read.
type witness struct{ ask, read, answer, hear span }

// conversation is the steps of one turn after the other; each returns when it is done.
type conversation struct {
	ask, read, answer, hear func() error
}

// pauses are how long is slept before a step.
type pauses struct{ read, answer, hear time.Duration }

func (c *conversation) turn(t *testing.T, p pauses) (w witness) {
	t.Helper()
	w.ask = during(t, c.ask)
	time.Sleep(p.read)
	w.read = during(t, c.read)
	time.Sleep(p.answer)
	w.answer = during(t, c.answer)
	time.Sleep(p.hear)
	w.hear = during(t, c.hear)
	return w
}

func write(c io.Writer) error { _, err := c.Write([]byte{1}); return err }
func read(c io.Reader) error  { _, err := c.Read(make([]byte, 1)); return err }

// talk says where a conversation takes place.
type talk struct {
	listen, dial string // the server's address; "" is 127.0.0.1:80
	from         string // the client's; "" is any
	connected    bool   // UDP: the server's socket is, too
	late         bool   // TCP: the server accepts as it reads
}

func (c talk) addresses(t *testing.T) (listen, dial, from netip.AddrPort) {
	t.Helper()
	parse := func(s string) netip.AddrPort {
		at, err := netip.ParseAddrPort(s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	listen = parse(cmp.Or(c.listen, "127.0.0.1:80"))
	dial = parse(cmp.Or(c.dial, listen.String()))
	return listen, dial, parse(cmp.Or(c.from, netip.AddrPortFrom(dial.Addr(), 0).String()))
}

func (c talk) tcp(t *testing.T, ns *testkit.Netns) *conversation {
	t.Helper()
	listen, dial, from := c.addresses(t)
	var client, server net.Conn
	var accept func() error
	ns.Run(t, func() {
		l, err := net.Listen("tcp", listen.String())
		if err != nil {
			t.Fatal(err)
		}
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from)}
		if client, err = dialer.Dial("tcp", dial.String()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		accept = func() error {
			defer l.Close()
			var err error
			if server, err = l.Accept(); err == nil {
				t.Cleanup(func() { server.Close() })
			}
			return err
		}
	})
	if !c.late {
		if err := accept(); err != nil {
			t.Fatal(err)
		}
	}
	return &conversation{
		ask: func() error { return write(client) },
		read: func() error {
			if server == nil {
				if err := accept(); err != nil {
					return err
				}
			}
			return read(server)
		},
		answer: func() error { return write(server) },
		hear:   func() error { return read(client) },
	}
}

func (c talk) udp(t *testing.T, ns *testkit.Netns) *conversation {
	t.Helper()
	listen, dial, from := c.addresses(t)
	open := func(local, remote netip.AddrPort) (conn *net.UDPConn) {
		ns.Run(t, func() {
			var err error
			if remote.IsValid() {
				conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
			} else {
				conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
		})
		return conn
	}
	client := open(from, dial)
	out := &conversation{
		ask:  func() error { return write(client) },
		hear: func() error { return read(client) },
	}
	if c.connected {
		server := open(listen, client.LocalAddr().(*net.UDPAddr).AddrPort())
		out.read = func() error { return read(server) }
		out.answer = func() error { return write(server) }
		return out
	}
	server := open(listen, netip.AddrPort{})
	out.read, out.answer = serveUDP(server)
	return out
}

// serveUDP answers who was read from last.
func serveUDP(server *net.UDPConn) (read, answer func() error) {
	var peer netip.AddrPort
	read = func() (err error) {
		_, peer, err = server.ReadFromUDPAddrPort(make([]byte, 1))
		return err
	}
	answer = func() error {
		_, err := server.WriteToUDPAddrPort([]byte{1}, peer)
		return err
	}
	return read, answer
}

// spliced has the server's payload moved into a pipe instead of its memory.
func spliced(t *testing.T, ns *testkit.Netns) *conversation {
	t.Helper()
	client, server := tcpPair(t, ns)
	t.Cleanup(func() { client.Close(); server.Close() })
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close(); in.Close() })
	return &conversation{
		ask: func() error { return write(client) },
		read: func() (err error) {
			waited := raw.Read(func(fd uintptr) bool {
				_, err = unix.Splice(int(fd), nil, int(in.Fd()), nil, 1, unix.SPLICE_F_NONBLOCK)
				return !errors.Is(err, unix.EAGAIN)
			})
			return errors.Join(waited, err)
		},
		answer: func() error { return write(server) },
		hear:   func() error { return read(client) },
	}
}

// stopped is a server whose process is stopped as the request comes, and goes on when it is to read.
func stopped(t *testing.T, ns *testkit.Netns) *conversation {
	t.Helper()
	server := ns.Actor(t)
	listener, at := server.Open("tcp", "127.0.0.1:0")
	var client net.Conn
	ns.Run(t, func() {
		var err error
		if client, err = net.Dial("tcp", at.String()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
	})
	fd, _ := server.Accept(listener)
	server.Tell("recv", fd, 1)
	if err := unix.Kill(server.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, server.PID, nil, unix.WSTOPPED, nil); err != nil {
		t.Fatal(err)
	}
	return &conversation{
		ask: func() error { return write(client) },
		read: func() error {
			if err := unix.Kill(server.PID, unix.SIGCONT); err != nil {
				return err
			}
			server.Hear()
			return nil
		},
		answer: func() error { server.Send(fd, 1); return nil },
		hear:   func() error { return read(client) },
	}
}

// narrowPair is a connection whose server can receive little.
func narrowPair(t *testing.T, ns *testkit.Netns) (client, server net.Conn) {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10)
		}), err)
	}}
	ns.Run(t, func() {
		l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
	})
	return client, server
}

// oneOf is a client of a server that has others.
func oneOf(t *testing.T, ns *testkit.Netns, server *net.UDPConn) *conversation {
	t.Helper()
	var client *net.UDPConn
	ns.Run(t, func() {
		var err error
		if client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
	})
	c := &conversation{ask: func() error { return write(client) }}
	c.read, c.answer = serveUDP(server)
	return c
}
