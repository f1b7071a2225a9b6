package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// chunk is what bulk transfers write and read at once.
const chunk = 256 << 10

// TCPBulk sends so many bytes over one connection to the server.
func TCPBulk(ns *Netns, family uint8, bytes int) (Sent, error) {
	return converse(ns, family,
		func(c io.ReadWriter) error { return writeAll(c, bytes, chunk) },
		func(s io.ReadWriter) error { return readAll(s, bytes) })
}

// TCPSmallWrites sends n writes of size bytes each over one connection to the server.
func TCPSmallWrites(ns *Netns, family uint8, n, size int) (Sent, error) {
	return converse(ns, family,
		func(c io.ReadWriter) error { return writeAll(c, n*size, size) },
		func(s io.ReadWriter) error { return readAll(s, n*size) })
}

// PingPong makes n exchanges of size bytes each way over one connection, one after the other.
func PingPong(ns *Netns, family uint8, n, size int) (Sent, error) {
	client := func(c io.ReadWriter) error {
		for range n {
			if err := errors.Join(writeAll(c, size, size), readAll(c, size)); err != nil {
				return err
			}
		}
		return nil
	}
	server := func(s io.ReadWriter) error {
		for range n {
			if err := errors.Join(readAll(s, size), writeAll(s, size, size)); err != nil {
				return err
			}
		}
		return nil
	}
	return converse(ns, family, client, server)
}

// converse runs two ends over one connection, then closes it in order: both have read all there
// was before either closes, so that nothing is reset.
func converse(ns *Netns, family uint8, client, server func(io.ReadWriter) error) (Sent, error) {
	c, s, err := connect(ns, family)
	if err != nil {
		return Sent{}, err
	}
	served := make(chan error, 1)
	go func() { served <- s.finish(errors.Join(server(s), s.expectEOF())) }()
	err = c.finish(errors.Join(client(c), c.CloseWrite(), c.expectEOF()))
	err = errors.Join(err, <-served)
	return Sent{
		Proto:    model.ProtoTCP,
		Client:   c.LocalAddr().(*net.TCPAddr).AddrPort(),
		Server:   c.RemoteAddr().(*net.TCPAddr).AddrPort(),
		Flows:    1,
		ToServer: Amount{Payload: c.wrote},
		ToClient: Amount{Payload: s.wrote},
	}, err
}

// connect makes the two ends of one connection inside the namespace.
func connect(ns *Netns, family uint8) (client, server *stream, err error) {
	listener, err := listen(ns, family)
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	err = ns.Do(func() error {
		client, err = dial(listener.Addr().(*net.TCPAddr).AddrPort())
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	conn, err := listener.Accept()
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return client, newStream(conn), nil
}

// listen opens a plain TCP listener: neither multipath nor with keep-alives, which would add
// packets of their own.
func listen(ns *Netns, family uint8) (listener net.Listener, err error) {
	addr, err := loopback(family)
	if err != nil {
		return nil, err
	}
	err = ns.Do(func() error {
		config := net.ListenConfig{KeepAlive: -1}
		config.SetMultipathTCP(false)
		listener, err = config.Listen(context.Background(), "tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return listener, listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
}

// dial connects from the namespace the thread is in.
func dial(to netip.AddrPort) (*stream, error) {
	dialer := net.Dialer{KeepAlive: -1, Timeout: patience}
	conn, err := dialer.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	return newStream(conn), nil
}

// stream is one end of a connection that knows how much was written to it.
type stream struct {
	*net.TCPConn
	wrote uint64
}

func newStream(conn net.Conn) *stream {
	conn.SetDeadline(time.Now().Add(patience))
	return &stream{TCPConn: conn.(*net.TCPConn)}
}

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.TCPConn.Write(b)
	s.wrote += uint64(n)
	return n, err
}

// expectEOF waits for the other end to close its side, having sent nothing more.
func (s *stream) expectEOF() error {
	n, err := s.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("expect end of stream: more data")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("expect end of stream: %w", err)
	}
	return nil
}

// finish closes the connection and keeps the first error.
func (s *stream) finish(err error) error {
	if closed := s.Close(); err == nil {
		err = closed
	}
	return err
}

// writeAll writes total bytes, size at a time.
func writeAll(w io.Writer, total, size int) error {
	buf := make([]byte, size)
	for total > 0 {
		n, err := w.Write(buf[:min(size, total)])
		if err != nil {
			return err
		}
		total -= n
	}
	return nil
}

// readAll reads total bytes.
func readAll(r io.Reader, total int) error {
	buf := make([]byte, min(chunk, total))
	for total > 0 {
		n, err := r.Read(buf[:min(len(buf), total)])
		if err != nil {
			return fmt.Errorf("read, %d bytes missing: %w", total, err)
		}
		total -= n
	}
	return nil
}
