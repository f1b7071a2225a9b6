package demo

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a request may take, and at the end a server that has company. So Run
// outlasts its context by twice that at most.
const patience = 5 * time.Second

// maxLag is how far a client may fall behind its pace and still catch up.
const maxLag = 100 * time.Millisecond

// stream is one kind of traffic while it runs.
type stream struct {
	kind   kind
	server server
	meter  meter
}

// launch starts clients that together make perSecond requests a second until ctx ends.
func (s *stream) launch(ctx context.Context, wg *sync.WaitGroup, perSecond float64, notice func(string)) {
	if s.kind.most > 0 {
		perSecond = min(perSecond, s.kind.most)
	}
	n := clientCount(perSecond)
	gap := time.Duration(float64(time.Second) / perSecond)
	notice(fmt.Sprintf("%s on %s, %d clients, %.1f requests/s", s.kind.name, s.server.addr(), n, perSecond))
	for i := range n {
		wg.Go(func() {
			c := s.server.client(&s.meter)
			defer c.close()
			pace(ctx, time.Duration(i)*gap, time.Duration(n)*gap, func() { s.meter.note(c.exchange()) })
		})
	}
}

// clientCount keeps a client at about fifty requests a second, which the slowest server can do.
func clientCount(perSecond float64) int { return min(max(int(perSecond/50), 2), 64) }

func (s *stream) traffic() Traffic {
	return Traffic{
		Kind:     s.kind.name,
		Server:   s.server.addr(),
		Requests: s.meter.requests.Load(),
		Failed:   s.meter.failed.Load(),
		Sent:     s.meter.sent.Load(),
		Received: s.meter.received.Load(),
	}
}

// pace calls do after first and then every interval until ctx ends. A do that is late is made up
// for by the next ones, but only up to maxLag: a machine that cannot keep up gets no burst later.
func pace(ctx context.Context, first, interval time.Duration, do func()) {
	next := time.Now().Add(first)
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		do()
		next = next.Add(interval)
		if earliest := time.Now().Add(-maxLag); next.Before(earliest) {
			next = earliest
		}
		timer.Reset(time.Until(next))
	}
}

// meter counts what the clients of one kind do, all at once.
type meter struct {
	requests, failed, sent, received atomic.Uint64

	once     sync.Once
	firstErr error // for those who wait until the clients have ended
}

// note counts one exchange.
func (m *meter) note(err error) {
	if err == nil {
		m.requests.Add(1)
		return
	}
	m.failed.Add(1)
	m.once.Do(func() { m.firstErr = err })
}

// dial connects to addr; what goes through the connection is counted.
func (m *meter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &meteredConn{c, m}, nil
}

type meteredConn struct {
	net.Conn
	meter *meter
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.meter.received.Add(uint64(n))
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.meter.sent.Add(uint64(n))
	return n, err
}
