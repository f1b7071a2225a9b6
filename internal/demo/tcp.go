package demo

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	messageSize = 512       // bytes of an echo's request and of its answer
	chunkSize   = 32 * 1024 // bytes of a bulk write
)

// tcpServer accepts connections and serves each in its own goroutine.
type tcpServer struct {
	listener  net.Listener
	newClient func(addr string, m *meter) client
	ctx       context.Context // ends when connections that are still open must go
	cancel    context.CancelFunc
	running   sync.WaitGroup
}

// listenTCP starts a server. serve handles one connection; when ctx ends the connection is closed
// under it.
func listenTCP(addr string, serve func(ctx context.Context, c net.Conn), newClient func(string, *meter) client) (server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &tcpServer{listener: ln, newClient: newClient}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.running.Go(func() { s.accept(serve) })
	return s, nil
}

func (s *tcpServer) accept(serve func(context.Context, net.Conn)) {
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // a peer that gave up, or no file descriptor left for now
			pause(s.ctx, 10*time.Millisecond)
			continue
		}
		s.running.Go(func() {
			defer c.Close()
			defer context.AfterFunc(s.ctx, func() { c.Close() })()
			serve(s.ctx, c)
		})
	}
}

func (s *tcpServer) addr() netip.AddrPort {
	return s.listener.Addr().(*net.TCPAddr).AddrPort()
}

func (s *tcpServer) client(m *meter) client { return s.newClient(s.addr().String(), m) }

// stop lets open connections come to their end, since closing them could discard what they still
// hold, but does not wait for a stranger's for longer than patience.
func (s *tcpServer) stop() {
	s.listener.Close()
	defer time.AfterFunc(patience, s.cancel).Stop()
	s.running.Wait()
	s.cancel()
}

func startEcho(addr string) (server, error) {
	return listenTCP(addr, echoAfter(func() time.Duration { return 0 }), newEchoClient)
}

func startSlowEcho(addr string) (server, error) {
	return listenTCP(addr, echoAfter(thinkingTime), newEchoClient)
}

func startConnect(addr string) (server, error) {
	return listenTCP(addr, echoAfter(func() time.Duration { return 0 }), newConnectClient)
}

func startBulk(addr string) (server, error) {
	swallow := func(_ context.Context, c net.Conn) { io.Copy(io.Discard, c) }
	return listenTCP(addr, swallow, newBulkClient)
}

// thinkingTime is mostly around two milliseconds and once in fifty far longer, as services are.
func thinkingTime() time.Duration {
	if rand.IntN(50) == 0 {
		return 25 * time.Millisecond
	}
	return min(time.Duration(rand.ExpFloat64()*float64(2*time.Millisecond)), 10*time.Millisecond)
}

// echoAfter answers each message with itself, after a delay.
func echoAfter(delay func() time.Duration) func(context.Context, net.Conn) {
	return func(ctx context.Context, c net.Conn) {
		message := make([]byte, messageSize)
		for {
			if _, err := io.ReadFull(c, message); err != nil {
				return
			}
			pause(ctx, delay())
			if _, err := c.Write(message); err != nil {
				return
			}
		}
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// connClient talks over one connection, which it makes when it has none.
type connClient struct {
	network, addr string
	meter         *meter
	talk          func(net.Conn) error // one exchange; the deadline is set
	once          bool                 // a new connection for each exchange
	conn          net.Conn             // nil: none
}

func newEchoClient(addr string, m *meter) client {
	return &connClient{network: "tcp", addr: addr, meter: m, talk: echo()}
}

func newConnectClient(addr string, m *meter) client {
	return &connClient{network: "tcp", addr: addr, meter: m, talk: echo(), once: true}
}

func newBulkClient(addr string, m *meter) client {
	chunk := make([]byte, chunkSize)
	return &connClient{network: "tcp", addr: addr, meter: m, talk: func(c net.Conn) error {
		_, err := c.Write(chunk)
		return err
	}}
}

// echo returns a talk that sends a message and reads as much back.
func echo() func(net.Conn) error {
	message := make([]byte, messageSize)
	return func(c net.Conn) error {
		if _, err := c.Write(message); err != nil {
			return err
		}
		_, err := io.ReadFull(c, message)
		return err
	}
}

func (c *connClient) exchange() error {
	if c.conn == nil {
		conn, err := c.meter.dial(context.Background(), c.network, c.addr)
		if err != nil {
			return err
		}
		c.conn = conn
	}
	err := c.conn.SetDeadline(time.Now().Add(patience))
	if err == nil {
		err = c.talk(c.conn)
	}
	if err != nil || c.once {
		c.close()
	}
	return err
}

func (c *connClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
