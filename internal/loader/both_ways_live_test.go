package loader_test

import (
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// bothWays are two loaders at one device: all packets of the second go the long way.
type bothWays [2]*rig

func newBothWays(t *testing.T) (ways bothWays) {
	t.Helper()
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, minimum(hook.TCX), "hook tcx")
	ns := testkit.NewNetns(t)
	for i := range ways {
		ways[i] = newRigIn(t, ns, loader.Config{Hook: hook.TCX, LongWay: i == 1})
	}
	return ways
}

// check compares all that the two have of every flow.
func (w *bothWays) check(t *testing.T) {
	t.Helper()
	testkit.Quiesce(w[0].ns)
	diff, err := loader.DiffForTest(w[0].loader, w[1].loader)
	if err != nil {
		t.Fatal(err)
	}
	if diff != "" {
		t.Fatalf("long way -, short way +: %s", diff)
	}
}

// retire takes the slots of every third flow away, the same in both, so that living connections lose theirs.
func (w *bothWays) retire(t *testing.T, random *mathrand.Rand) {
	t.Helper()
	gone := make(map[reading.SlotKey]bool)
	for _, r := range w {
		var m reading.Reading
		if err := r.loader.ReadSlots(&m); err != nil {
			t.Fatal(err)
		}
		var slots []uint32
		for _, s := range loader.SlotsForTest(r.loader, &m) {
			if _, known := gone[s.Key]; !known {
				gone[s.Key] = random.IntN(3) == 0
			}
			if gone[s.Key] {
				slots = append(slots, s.Index)
			}
		}
		if _, err := r.loader.Retire(slots, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// exchange sends so many bytes one way, in so many writes, while they are read.
func exchange(from, to net.Conn, size, writes int) error {
	sent := make(chan error, 1)
	go func() {
		var err error
		for range writes {
			_, failed := from.Write(make([]byte, size))
			err = errors.Join(err, failed)
		}
		sent <- err
	}()
	_, err := io.ReadFull(to, make([]byte, size*writes))
	return errors.Join(err, <-sent)
}

// act does one of the things that two ends do with a connection.
func act(random *mathrand.Rand, client, server net.Conn) error {
	size := 1 + random.IntN(300)
	switch random.IntN(10) {
	case 0: // large skbs
		return errors.Join(exchange(client, server, 1+random.IntN(200_000), 3), exchange(server, client, size, 1))
	case 1: // both speak at once
		other := make(chan error, 1)
		go func() { other <- exchange(client, server, size, 20) }()
		return errors.Join(exchange(server, client, 2*size, 20), <-other)
	case 2: // one thinks for longer than an acknowledgement is delayed
		time.Sleep(time.Duration(25+random.IntN(30)) * time.Millisecond)
		return exchange(server, client, size, 1)
	case 3: // the server's window closes
		written := make(chan error, 1)
		go func() { _, err := client.Write(make([]byte, stuffing)); written <- err }()
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		_, err := io.ReadFull(server, make([]byte, stuffing))
		return errors.Join(err, <-written)
	default: // requests, with answers of one or several packets
		for range 30 {
			if err := errors.Join(exchange(client, server, size, 1+random.IntN(2)), exchange(server, client, size, 1+random.IntN(3))); err != nil {
				return err
			}
		}
		return nil
	}
}

// Whatever is sent, the two ways count it alike: new connections and old ones, retransmissions, closed windows, resets,
// and slots that were taken from under a socket.
func TestBothWaysAreOne(t *testing.T) {
	ways := newBothWays(t)
	ns := ways[0].ns
	random := mathrand.New(mathrand.NewPCG(16, 22))
	var clients, servers []net.Conn
	for round := range 6 {
		for range 4 {
			client, server := tcpPairAt(t, ns, []string{"127.0.0.1:0", "[::1]:0"}[random.IntN(2)])
			if err := server.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
				t.Fatal(err)
			}
			clients, servers = append(clients, client), append(servers, server)
		}
		var all sync.WaitGroup
		for i := range clients {
			random := mathrand.New(mathrand.NewPCG(random.Uint64(), 0))
			all.Go(func() {
				for range 8 {
					if err := act(random, clients[i], servers[i]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if t.Failed() {
			t.FailNow()
		}
		if round == 3 {
			loseAndRepeat(t, ways[0], clients[0], servers[0])
		}
		ways.check(t)
		ways.retire(t, random)
		if i := random.IntN(len(clients)); random.IntN(2) == 0 {
			reset(t, clients[i])
			servers[i].Close()
			clients, servers = append(clients[:i], clients[i+1:]...), append(servers[:i], servers[i+1:]...)
		}
	}
	for i := range clients {
		if err := errors.Join(clients[i].Close(), servers[i].Close()); err != nil {
			t.Error(err)
		}
	}
	ways.check(t)
}

// loseAndRepeat has segments lost until they are sent again.
func loseAndRepeat(t *testing.T, r *rig, client, server net.Conn) {
	t.Helper()
	before := r.kernel("TcpRetransSegs")
	off := dropLarge(t, r.ns)
	sent := make(chan error, 1)
	go func() { sent <- exchange(client, server, 1000, 3) }()
	r.await("retransmission", func() bool { return r.kernel("TcpRetransSegs") > before })
	off()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// tcpPairAt is a connection to an address.
func tcpPairAt(t *testing.T, ns *testkit.Netns, address string) (client, server net.Conn) {
	t.Helper()
	ns.Run(t, func() {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
	})
	return client, server
}
