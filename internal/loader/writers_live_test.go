package loader_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// A socket may begin to pace at any time. Its acknowledgements have the time then at which the next of its other packets
// may leave, and flows must not.
func TestPacingDoesNotLeadAhead(t *testing.T) {
	r := newRig(t, loader.Config{})
	client, server := tcpPair(t, r.ns)
	usual(t, client, server, 200)
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, 1<<20)
	}); errors.Join(err, failed) != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() { done <- exchange(server, client, 4000, 100) }()
	go func() {
		var err error
		for range 2000 {
			err = errors.Join(err, exchange(client, server, 100, 1))
		}
		done <- err
	}()
	for running := 2; running > 0; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running--
		default:
		}
		var m reading.Reading
		if err := r.loader.ReadSlots(&m); err != nil {
			t.Fatal(err)
		}
		now := monotonic(t)
		for i := range m.Slots {
			if last := m.Slots[i].LastNS(); last > now {
				t.Fatalf("a packet of %v ahead", time.Duration(last-now))
			}
		}
	}
	if err := errors.Join(client.Close(), server.Close()); err != nil {
		t.Fatal(err)
	}
}

// Raw sockets may send what a connection might, from any CPU and under no lock: no packet is lost to that.
func TestManyWritersOfOneFlow(t *testing.T) {
	r := newRig(t, loader.Config{})
	const n, writers = 20_000, 4
	frame := testkit.Packet(testkit.IPv4(), testkit.From("127.0.0.1:40000"), testkit.To("127.0.0.1:9"), testkit.TCP(testkit.ACK))
	done := make(chan error, writers)
	for range writers {
		var fd int
		err := r.ns.Do(func() (err error) { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW); return err })
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		go func() {
			var err error
			for range n {
				err = errors.Join(err, unix.Sendto(fd, frame[etherLen:], 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
			}
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	testkit.Quiesce(r.ns)
	w := windowOf(t, r.engine)
	// A slow machine's backlog is full at times, and the device refuses packets then, which were counted before.
	if d := w.Device; w.Totals.Packets != d.Packets+d.Dropped {
		t.Errorf("totals %+v, device %+v", w.Totals, *d)
	}
	if sent := w.Flows.Slice()[0].ToServer.Packets; w.Flows.Len() != 1 || sent != writers*n {
		t.Errorf("%d packets in the first of %d flows, want %d in one", sent, w.Flows.Len(), writers*n)
	}
}

const etherLen = 14
