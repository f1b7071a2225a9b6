package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// Write, write, read: what the client waits for in vain is told as often as it took long.
func TestStallsShow(t *testing.T) {
	eventually(t, func() string {
		ns := newLiveNetns(t, "auto")
		rows, lat := startHealth(t, ns, "flow")
		client, server := connect(t, ns, 80)
		if err := client.SetNoDelay(false); err != nil {
			t.Fatal(err)
		}
		const rounds = 10
		served := make(chan error, 1)
		go func() {
			var failed error
			for range rounds {
				_, err := io.ReadFull(server, make([]byte, 200))
				failed = errors.Join(failed, err, write(server))
			}
			served <- failed
		}()
		var slow uint64
		for range rounds {
			began := time.Now()
			err := errors.Join(write(client), write(client))
			if _, readErr := io.ReadFull(client, make([]byte, 100)); errors.Join(err, readErr) != nil {
				t.Fatal(err, readErr)
			}
			if time.Since(began) > 20*time.Millisecond {
				slow++
			}
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		testkit.Quiesce(ns)
		row := rows.signs().row(t, 80)
		if slow == 0 || row.Health == nil || row.Health.Client.Stalls != slow {
			lat.interrupt()
			return fmt.Sprintf("%+v after %d slow rounds", row.Health, slow)
		}
		row.check(t, 0, healthShown{Client: endShown{Stalls: slow, Stalled: row.Health.Client.Stalled}}, nil)
		each := time.Duration(uint64(row.Health.Client.Stalled) / slow)
		if each < 20*time.Millisecond || each > 300*time.Millisecond {
			t.Errorf("stalled for %v each", each)
		}
		lat.says(fmt.Sprintf("%d stall", slow), "of Nagle against delayed ACK at clients")
		return ""
	})
}

func write(c net.Conn) error {
	_, err := c.Write(make([]byte, 100))
	return err
}

// The drops of a small receive buffer are the datagrams that were sent and did not arrive.
func TestFullBufferShows(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	rows, lat := startHealth(t, ns, "flow")
	at := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53}
	var client, server *net.UDPConn
	ns.Run(t, func() {
		var err error
		if server, err = net.ListenUDP("udp4", at); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		if client, err = net.DialUDP("udp4", nil, at); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
	})
	if err := server.SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	const sent = 53
	for range sent {
		if err := write(client); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Quiesce(ns)
	lost := sent - received(t, server)
	if lost == 0 || lost == sent || lost != ns.Counter("UdpRcvbufErrors") {
		t.Fatalf("%d of %d did not arrive, the kernel says %d", lost, sent, ns.Counter("UdpRcvbufErrors"))
	}
	rows.signs().row(t, 53).check(t, lost, healthShown{}, map[string]uint64{"socket_rcvbuff": lost})
	lat.says(fmt.Sprintf("drops: socket_rcvbuff %d", lost))
}

// received takes what is in the socket's buffer.
func received(tb testing.TB, conn *net.UDPConn) (n uint64) {
	tb.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for err := error(nil); err == nil; n++ {
			_, _, err = unix.Recvfrom(int(fd), make([]byte, 100), unix.MSG_DONTWAIT)
		}
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n - 1 // the last one was none
}

// A client that is refused and tries again at once, and one that sends datagrams to nobody: every one of
// thousands is told.
func TestRefusedShows(t *testing.T) {
	for _, hook := range liveHooks {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			rows := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--by", "service", "--hook", hook)
			const connections, datagrams = 5003, 2003
			ns.Run(t, func() {
				for range connections {
					if _, err := net.Dial("tcp4", "127.0.0.1:80"); !errors.Is(err, unix.ECONNREFUSED) {
						t.Fatal(err)
					}
				}
				client, err := net.Dial("udp4", "127.0.0.1:53")
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				for n := 0; n < datagrams; {
					if err := write(client); err == nil {
						n++
					} else if !errors.Is(err, unix.ECONNREFUSED) { // of the one before: none is sent
						t.Fatal(err)
					}
				}
			})
			testkit.Quiesce(ns)
			doc := rows.signs()
			tcp := doc.row(t, 80)
			tcp.check(t, connections, healthShown{Refused: connections}, map[string]uint64{"no_socket": connections})
			doc.row(t, 53).check(t, datagrams, healthShown{}, map[string]uint64{"no_socket": datagrams})
			if tcp.Flows != connections || ns.Counter("TcpOutRsts") != connections || ns.Counter("UdpNoPorts") != datagrams {
				t.Errorf("%d flows; the kernel says %d, %d", tcp.Flows, ns.Counter("TcpOutRsts"), ns.Counter("UdpNoPorts"))
			}
		})
	}
}

// Nobody accepts: the queue is told by the service, and the flows tell who sent a SYN again.
func TestAcceptQueueShows(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	rows, lat := startHealth(t, ns, "service")
	flows := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--by", "flow")
	const clients, fit = 5, 2 // a limit of one lets one more in
	at := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 80}
	socket := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	ns.Run(t, func() {
		listener := socket()
		if err := errors.Join(unix.Bind(listener, at), unix.Listen(listener, 1)); err != nil {
			t.Fatal(err)
		}
		for range clients {
			if err := unix.Connect(socket(), at); !errors.Is(err, unix.EINPROGRESS) && err != nil {
				t.Fatal(err)
			}
		}
	})
	await(t, ns, "TcpRetransSegs", clients-fit) // each after a second, and the next after two more
	doc, byFlow := rows.signs(), flows.signs()
	lat.says(fmt.Sprintf("%d SYNs sent again", clients-fit), "accept queue 2 of 1, 6 overflowed")
	if n := ns.Counter("TcpRetransSegs"); n != clients-fit {
		t.Fatalf("%d sent again: this machine is too slow", n)
	}
	row := doc.row(t, 80)
	row.check(t, 0, healthShown{SYNRetries: clients - fit}, nil)
	want := queuesShown{fit, 1, ns.Counter("TcpExtListenOverflows")}
	if row.AcceptQueue == nil || *row.AcceptQueue != want || want.Overflows != 2*(clients-fit) || row.Flows != clients {
		t.Errorf("%d flows, accept queue %+v, want %+v", row.Flows, row.AcceptQueue, want)
	}
	again := 0
	for _, flow := range byFlow.Rows {
		if flow.Health != nil {
			flow.check(t, 0, healthShown{SYNRetries: 1}, nil)
			again++
		}
	}
	if again != clients-fit {
		t.Errorf("%d flows sent a SYN again, want %d", again, clients-fit)
	}
}

// The end that resets a connection is named.
func TestResetsShow(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	rows, lat := startHealth(t, ns, "flow")
	for port, byClient := range map[int]bool{80: true, 81: false} {
		client, server := connect(t, ns, port)
		if err := write(client); err != nil {
			t.Fatal(err)
		}
		if !byClient {
			client, server = server, client
		}
		if err := errors.Join(client.SetLinger(0), client.Close(), server.Close()); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Quiesce(ns)
	doc := rows.signs()
	reset := endShown{Resets: 1}
	doc.row(t, 80).check(t, 1, healthShown{Client: reset}, nil)
	doc.row(t, 81).check(t, 1, healthShown{Server: reset}, nil)
	lat.says("1 connection reset by clients", "1 connection reset by "+ownComm(t))
}

// Flows whose health finds no place are no secret: every format says how many they are.
func TestUncountedShows(t *testing.T) {
	const places, more = 1024, 97
	for format, declared := range map[string]string{
		"table": fmt.Sprintf("troubles of %d flows not counted", more),
		"json":  fmt.Sprintf(`"untold":%d,`, more),
		"csv":   fmt.Sprintf("warning: flows whose troubles are in no row: %d\n", more),
	} {
		t.Run(format, func(t *testing.T) {
			ns := newLiveNetns(t, "auto")
			l := startCounting(t, ns, "flows", "-d", "60", "-o", format, "--max-flows", fmt.Sprint(4*places))
			ns.Run(t, func() {
				client, err := net.ListenUDP("udp4", nil)
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				for i := range places + more {
					nobody := &net.UDPAddr{IP: net.IPv4(127, 1, byte(i>>8), byte(i)), Port: 9}
					if _, err := client.WriteToUDP([]byte{1}, nobody); err != nil {
						t.Fatal(err)
					}
				}
			})
			testkit.Quiesce(ns)
			l.interrupt()
			if out := l.stdout.String() + l.stderr.String(); !strings.Contains(out, declared) {
				t.Errorf("no %q in %.500q", declared, out)
			}
		})
	}
}
