package testkit

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/lotrace/lotrace/internal/model"
)

// Each short connection carries so many bytes.
const (
	shortRequest  = 100
	shortResponse = 300
)

// ShortConnections opens n connections, so many at a time, which carry 100 bytes to the server
// and 300 back each.
func ShortConnections(ns *Netns, family uint8, n, concurrency int) (Sent, error) {
	listener, err := listen(ns, family)
	if err != nil {
		return Sent{}, err
	}
	server := listener.Addr().(*net.TCPAddr).AddrPort()
	tally := &shortTally{sent: Sent{Proto: model.ProtoTCP, Client: netip.AddrPortFrom(server.Addr(), 0), Server: server}}

	var serving, working sync.WaitGroup
	serving.Go(func() { serveShort(listener, tally, &serving) })
	todo := make(chan struct{}, n)
	for range n {
		todo <- struct{}{}
	}
	close(todo)
	for range concurrency {
		working.Go(func() {
			err := ns.Do(func() error { return connectShort(server, todo, tally) })
			tally.add(err, Sent{})
		})
	}
	working.Wait()
	listener.Close()
	serving.Wait()
	return tally.sent, tally.err
}

// shortTally is what the goroutines of ShortConnections add up.
type shortTally struct {
	mu   sync.Mutex
	sent Sent
	err  error
}

func (t *shortTally) add(err error, s Sent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = errors.Join(t.err, err)
	t.sent.Flows += s.Flows
	t.sent.ToServer.add(s.ToServer)
	t.sent.ToClient.add(s.ToClient)
}

// serveShort answers connections until the listener is closed.
func serveShort(listener net.Listener, tally *shortTally, serving *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // clients that were left alone report it
		}
		serving.Go(func() {
			s := newStream(conn)
			err := s.finish(errors.Join(readAll(s, shortRequest), s.expectEOF(), writeAll(s, shortResponse, shortResponse)))
			tally.add(err, Sent{ToClient: Amount{Payload: s.wrote}})
		})
	}
}

// connectShort makes one connection after the other until nothing is left to do.
func connectShort(server netip.AddrPort, todo <-chan struct{}, tally *shortTally) error {
	for range todo {
		c, err := dial(server)
		if err != nil {
			return err
		}
		err = errors.Join(writeAll(c, shortRequest, shortRequest), c.CloseWrite(), readAll(c, shortResponse), c.expectEOF())
		if err := c.finish(err); err != nil {
			return err
		}
		tally.add(nil, Sent{Flows: 1, ToServer: Amount{Payload: c.wrote}})
	}
	return nil
}
