package loader_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// A connection's end may be abrupt, and no more is lost by it than a process threw away.
var ends = []struct {
	name string
	end  func(client, server *net.TCPConn) error
}{
	{"unread at the server", func(client, server *net.TCPConn) error {
		if _, err := client.Write(make([]byte, 1000)); err != nil {
			return err
		}
		if _, err := server.Read(make([]byte, 1)); err != nil {
			return err
		}
		return errors.Join(server.Close(), client.Close())
	}},
	{"unread at both", func(client, server *net.TCPConn) error {
		_, err := client.Write(make([]byte, 1000))
		_, err2 := server.Write(make([]byte, 1000))
		return errors.Join(err, err2, server.Close(), client.Close())
	}},
	{"reset", func(client, server *net.TCPConn) error {
		return errors.Join(client.SetLinger(0), client.Close(), server.Close())
	}},
	{"both at once", func(client, server *net.TCPConn) error {
		closed := make(chan error)
		go func() { closed <- client.Close() }()
		return errors.Join(server.Close(), <-closed)
	}},
	{"half-closed for long", func(client, server *net.TCPConn) error {
		wrote := make(chan error)
		go func() {
			_, err := server.Write(make([]byte, 16<<20))
			wrote <- errors.Join(err, server.Close())
		}()
		err := client.CloseWrite()
		_, read := io.Copy(io.Discard, client)
		return errors.Join(err, read, <-wrote, client.Close())
	}},
}

// A drop by the kernel's word is often none: nothing of a load that gets through is lost.
func TestHealthyTrafficIsNotDropped(t *testing.T) {
	r := newRig(t, loader.Config{})
	for _, kind := range traffic {
		t.Run(kind.name, func(t *testing.T) {
			r := r.with(t)
			r.ns.SetMTU(cmp.Or(kind.mtu, loopbackMTU))
			_, err := kind.send(r.ns)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skipf("this kernel has none: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			r.checkDrops(drops{})
		})
	}
	r.ns.SetMTU(loopbackMTU)
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			r := r.with(t)
			for range 20 {
				client, server := tcpPair(t, r.ns)
				if err := e.end(client.(*net.TCPConn), server.(*net.TCPConn)); err != nil {
					t.Fatal(err)
				}
			}
			r.checkDrops(drops{})
		})
	}
	t.Run("keep-alive", func(t *testing.T) {
		r := r.with(t)
		client, server := tcpPair(t, r.ns)
		defer server.Close()
		defer client.Close()
		config := net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second}
		if err := client.(*net.TCPConn).SetKeepAliveConfig(config); err != nil {
			t.Fatal(err)
		}
		r.awaitPackets(4) // two probes and their answers
		r.checkDrops(drops{})
	})
}

// awaitPackets waits until the device has counted as many more.
func (r *rig) awaitPackets(more uint64) {
	r.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	until, deadline := r.ns.Device().RxPackets+more, time.Now().Add(10*time.Second)
	for ; r.ns.Device().RxPackets < until; <-poll.C {
		if time.Now().After(deadline) {
			r.Fatalf("not %d packets more within 10 s", more)
		}
	}
}

// The last words of a connection that is over are for nobody; a request and data are for somebody.
func TestDropsOfLastSegments(t *testing.T) {
	for _, listening := range []bool{false, true} {
		t.Run(fmt.Sprintf("listening %v", listening), func(t *testing.T) {
			r := newRig(t, loader.Config{})
			r.ns.Run(t, func() {
				if listening {
					listener, err := net.Listen("tcp", "[::1]:80")
					if err != nil {
						t.Fatal(err)
					}
					defer listener.Close()
				}
				for i, flags := range []uint8{testkit.ACK, testkit.FIN | testkit.ACK, testkit.RST, testkit.RST | testkit.ACK} {
					inject(t, testkit.IPv6(), testkit.From(loopback(6, 40000+uint16(i)).String()), testkit.TCP(flags))
				}
				inject(t, testkit.IPv6(), testkit.TCP(testkit.ACK), testkit.From("[::1]:40004"), testkit.Payload(10))
			})
			data := tuple{model.ProtoTCP, loopback(6, 40004), loopback(6, 80)}
			switch {
			case !listening:
				r.checkDrops(drops{data: {"no_socket": 1}})
			case testkit.HasKernel(t, "6.11"):
				r.checkDrops(drops{data: {"tcp_flags": 1}})
			default: // whose it was is not told
				r.checkDrops(drops{})
			}
		})
	}
}

// An eavesdropper may lose as many copies as it likes: the packets themselves arrived.
func TestDropsOfEavesdroppers(t *testing.T) {
	for _, c := range []struct {
		name                string
		domain, kind, proto int
		family              uint8
	}{
		{"raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP, 4},
		{"raw over ipv6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_UDP, 6},
		{"packet", unix.AF_PACKET, unix.SOCK_RAW, int(htons(unix.ETH_P_ALL)), 4},
		{"packet without mac header", unix.AF_PACKET, unix.SOCK_DGRAM, int(htons(unix.ETH_P_IPV6)), 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, loader.Config{})
			var ear int
			r.ns.Run(t, func() {
				var err error
				if ear, err = unix.Socket(c.domain, c.kind|unix.SOCK_CLOEXEC, c.proto); err != nil {
					t.Fatal(err)
				}
			})
			defer unix.Close(ear)
			if err := unix.SetsockoptInt(ear, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
				t.Fatal(err)
			}
			const n = 101
			sent, err := testkit.UDPCount(r.ns, c.family, n, 100)
			if err != nil {
				t.Fatal(err)
			}
			r.checkDrops(drops{})
			heard := 0
			for {
				if _, _, err := unix.Recvfrom(ear, make([]byte, 1<<10), unix.MSG_DONTWAIT); err != nil {
					break
				}
				heard++
			}
			if heard == 0 || heard >= n {
				t.Errorf("heard %d of %d: the test proves nothing", heard, sent.ToServer.Packets)
			}
		})
	}
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }
