package loader_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// tuple names a flow as the one who sent first sees it.
type tuple struct {
	proto          model.Proto
	client, server netip.AddrPort
}

// drops are the flows that had any, and how many for which reason.
type drops map[tuple]map[string]uint32

// drops reads what was dropped since the rig was made.
func (r *rig) drops() drops {
	r.Helper()
	testkit.Quiesce(r.ns)
	var now reading.Reading
	if err := r.loader.Read(&now); err != nil {
		r.Fatal(err)
	}
	all := make(drops)
	for _, s := range loader.SlotsForTest(r.loader, &now) {
		if s.Health == 0 {
			continue
		}
		of := tuple{s.Key.Proto, s.Key.Endpoint(int(s.Client)), s.Key.Endpoint(1 - int(s.Client))}
		if reasons := r.reasons(s.Health); len(reasons) > 0 {
			all[of] = reasons
		}
	}
	return all
}

func (r *rig) reasons(place uint32) map[string]uint32 {
	var health reading.Health
	r.loader.ReadHealth(place, &health)
	reasons := make(map[string]uint32)
	for _, d := range health.Drops {
		if d.SKBs > 0 {
			reasons[loader.DropReason(d.Reason)] = d.SKBs
		}
	}
	if health.OtherDrops > 0 {
		reasons["others"] = health.OtherDrops
	}
	return reasons
}

func (r *rig) checkDrops(want drops) {
	r.Helper()
	if got := r.drops(); !maps.EqualFunc(got, want, maps.Equal) {
		r.Errorf("dropped %v, want %v", got, want)
	}
}

// udpErrors is a counter of the namespace's UDP, such as "RcvbufErrors".
func udpErrors(t *testing.T, ns *testkit.Netns, family uint8, name string) uint32 {
	t.Helper()
	var file []byte
	ns.Run(t, func() {
		var err error
		path := map[uint8]string{4: "/proc/thread-self/net/snmp", 6: "/proc/thread-self/net/snmp6"}[family]
		if file, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	})
	var names []string
	for line := range strings.Lines(string(file)) {
		fields := strings.Fields(line)
		switch {
		case fields[0] == "Udp6"+name:
			return number(t, fields[1])
		case fields[0] == "Udp:" && names == nil:
			names = fields
		case fields[0] == "Udp:":
			return number(t, fields[slices.Index(names, name)])
		}
	}
	t.Fatalf("no %s in %s", name, file)
	return 0
}

func number(t *testing.T, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func loopback(family uint8, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(map[uint8]netip.Addr{4: netip.MustParseAddr("127.0.0.1"), 6: netip.IPv6Loopback()}[family], port)
}

// listenUDP opens a socket whose receive buffer is as small as the kernel lets it be.
func listenUDP(t *testing.T, ns *testkit.Netns, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	ns.Run(t, func() {
		var err error
		if conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err == nil {
			err = conn.SetReadBuffer(1)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

func dialUDP(t *testing.T, ns *testkit.Netns, from, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	ns.Run(t, func() {
		var err error
		if conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to)); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

// sendUDP sends n datagrams. A write that only tells of the refusal of the one before sends none.
func sendUDP(conn *net.UDPConn, n, size int) error {
	for n > 0 {
		if _, err := conn.Write(make([]byte, size)); err == nil {
			n--
		} else if !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
	}
	return nil
}

// received takes what is in the socket's buffer and counts it by the sender's port.
func received(t *testing.T, conn syscall.Conn) map[uint16]uint32 {
	t.Helper()
	count := make(map[uint16]uint32)
	control(t, conn, func(fd int) error {
		for {
			_, from, err := unix.Recvfrom(fd, make([]byte, 1<<16), unix.MSG_DONTWAIT)
			switch from := from.(type) {
			case *unix.SockaddrInet4:
				count[uint16(from.Port)]++
			case *unix.SockaddrInet6:
				count[uint16(from.Port)]++
			default:
				if err == unix.EAGAIN {
					return nil
				}
				return err
			}
		}
	})
	return count
}

func between(client, server *net.UDPConn) tuple {
	return tuple{model.ProtoUDP, client.LocalAddr().(*net.UDPAddr).AddrPort(), server.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// Datagrams that find no room in the receive buffer are all in the sender's flow, and are as many as the
// namespace's own counter says.
func TestDropsAtFullBuffer(t *testing.T) {
	for _, c := range []struct {
		name      string
		mtu, size int
		setup     func(fd int) error // of the senders
		family    uint8
	}{
		{"ipv4", loopbackMTU, 100, nil, 4},
		{"ipv6", loopbackMTU, 100, nil, 6},
		{"fragments", 1500, 4000, nil, 4},
		{"fragments over ipv6", 1500, 4000, nil, 6},
		{"ipv6 hop-by-hop", loopbackMTU, 100, func(fd int) error {
			return unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_HOPOPTS, "\x00\x00\x01\x04\x00\x00\x00\x00")
		}, 6},
	} {
		for _, connected := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, connected %v", c.name, connected), func(t *testing.T) {
				r := newRig(t, loader.Config{})
				r.ns.SetMTU(c.mtu)
				server := listenUDP(t, r.ns, loopback(c.family, 0))
				var senders [2]*net.UDPConn
				for i := range senders {
					senders[i] = dialUDP(t, r.ns, loopback(c.family, 0), server.LocalAddr().(*net.UDPAddr).AddrPort())
					if c.setup != nil {
						control(t, senders[i], c.setup)
					}
				}
				if connected {
					control(t, server, func(fd int) error { return unix.Connect(fd, sockaddr(senders[0])) })
				}
				sent := [2]int{41, 23}
				for i, n := range sent {
					if err := sendUDP(senders[i], n, c.size); err != nil {
						t.Fatal(err)
					}
				}
				got := received(t, server)
				want, full := make(drops), uint32(0)
				for i, n := range sent {
					dropped := uint32(n) - got[senders[i].LocalAddr().(*net.UDPAddr).AddrPort().Port()]
					if i == 1 && connected { // it is not for the other one
						want[between(senders[i], server)] = map[string]uint32{"no_socket": dropped}
						continue
					}
					want[between(senders[i], server)] = map[string]uint32{"socket_rcvbuff": dropped}
					full += dropped
				}
				r.checkDrops(want)
				if errors := udpErrors(t, r.ns, c.family, "RcvbufErrors"); errors != full || full == 0 || len(got) == 0 {
					t.Errorf("%d did not arrive, RcvbufErrors %d; %v did", full, errors, got)
				}
			})
		}
	}
}

func sockaddr(conn *net.UDPConn) unix.Sockaddr {
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	return &unix.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())}
}

// Where nobody listens, every datagram and every SYN is dropped. The answers to them are not.
func TestDropsAtClosedPorts(t *testing.T) {
	for _, kind := range allHooks {
		for _, family := range []uint8{4, 6} {
			t.Run(fmt.Sprintf("%s, ipv%d", kind, family), func(t *testing.T) {
				r := newRig(t, loader.Config{Hook: kind})
				const n = 33
				want := make(drops)
				for range 3 {
					refused, err := testkit.ClosedPort(r.ns, family, 100)
					if err != nil {
						t.Fatal(err)
					}
					want[tuple{model.ProtoUDP, refused.UDP.Client, refused.UDP.Server}] = map[string]uint32{"no_socket": 1}
				}
				client := dialUDP(t, r.ns, loopback(family, 5001), loopback(family, 5000))
				if err := sendUDP(client, n, 100); err != nil {
					t.Fatal(err)
				}
				want[tuple{model.ProtoUDP, loopback(family, 5001), loopback(family, 5000)}] = map[string]uint32{"no_socket": n}

				got := r.drops()
				syns := 0
				for of, reasons := range got {
					if of.proto == model.ProtoTCP && maps.Equal(reasons, map[string]uint32{"no_socket": 1}) {
						delete(got, of) // nobody says which port the client had
						syns++
					}
				}
				if !maps.EqualFunc(got, want, maps.Equal) || syns != 3 {
					t.Errorf("dropped %v, want %v; %d SYNs, want 3", got, want, syns)
				}
				if errors := udpErrors(t, r.ns, family, "NoPorts"); errors != n+3 {
					t.Errorf("NoPorts %d, want %d", errors, n+3)
				}
			})
		}
	}
}

// Every namespace has its own 127.0.0.1: what is dropped in another one never shows, whoever has the same
// ports here at the same time.
func TestDropsOfAnotherNamespace(t *testing.T) {
	for _, family := range []uint8{4, 6} {
		t.Run(fmt.Sprintf("ipv%d", family), func(t *testing.T) {
			r := newRig(t, loader.Config{})
			elsewhere := testkit.NewNetns(t)
			full, closed := loopback(family, 5000), loopback(family, 5002)
			clients := [2]netip.AddrPort{loopback(family, 5001), loopback(family, 5003)}
			var servers [2]*net.UDPConn
			var sending sync.WaitGroup
			const n = 50
			for i, ns := range []*testkit.Netns{r.ns, elsewhere} {
				servers[i] = listenUDP(t, ns, full)
				toFull, toClosed := dialUDP(t, ns, clients[0], full), dialUDP(t, ns, clients[1], closed)
				times := 1 + 9*i // more of it there than here
				sending.Go(func() {
					err := errors.Join(sendUDP(toFull, n*times, 100), sendUDP(toClosed, n*times, 100))
					if err != nil {
						t.Error(err)
					}
				})
			}
			sending.Wait()
			r.checkDrops(drops{
				{model.ProtoUDP, clients[0], full}:   {"socket_rcvbuff": n - received(t, servers[0])[5001]},
				{model.ProtoUDP, clients[1], closed}: {"no_socket": n},
			})
			for name, most := range map[string]uint32{"RcvbufErrors": 10*n - 1, "NoPorts": 10 * n} {
				here, there := udpErrors(t, r.ns, family, name), udpErrors(t, elsewhere, family, name)
				if here == 0 || there <= here || there > most {
					t.Errorf("%s: %d here, %d there", name, here, there)
				}
			}
		})
	}
}

// More reasons than are kept apart are counted together.
func TestDropsForManyReasons(t *testing.T) {
	r := newRig(t, loader.Config{})
	r.ns.Run(t, func() {
		for _, name := range []string{"route_localnet", "accept_local"} { // or injected 127.0.0.1 is martian
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/"+name, []byte("1"), 0); err != nil {
				t.Fatal(err)
			}
		}
		datagram := []testkit.Option{testkit.UDP(), testkit.Payload(100)}
		for range 2 {
			inject(t, datagram...)
			inject(t, append(datagram, testkit.SetByte(50, 0xff))...) // payload: its checksum is wrong
			inject(t, append(datagram, testkit.SetByte(22, 1))...)    // TTL: that of the IP header is
			inject(t, append(datagram, testkit.UDPLength(9999))...)   // more than there is
			inject(t, append(datagram, testkit.SetByte(0, 2))...)     // for another MAC address
		}
	})
	r.checkDrops(drops{{model.ProtoUDP, loopback(4, 40000), loopback(4, 80)}: {
		"no_socket": 2, "udp_csum": 2, "ip_csum": 2, "pkt_too_small": 2, "others": 2,
	}})
}

// inject sends a packet past the stack, in the namespace the thread is in.
func inject(t *testing.T, options ...testkit.Option) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, testkit.Packet(options...), 0, &unix.SockaddrLinklayer{Ifindex: 1}); err != nil {
		t.Fatal(err)
	}
}

// Flows for whose health there is no place are counted themselves.
func TestDropsWithoutPlace(t *testing.T) {
	r := newRig(t, loader.Config{MaxFlows: 2 * loader.MinFlows})
	const places, beyond = 1024, 76
	for i := range uint16(places + beyond) {
		client := dialUDP(t, r.ns, loopback(4, 20000+i), loopback(4, 9))
		if err := errors.Join(sendUDP(client, 1, 10), client.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.drops()); n != places {
		t.Errorf("drops of %d flows, want %d", n, places)
	}
	var now reading.Reading
	if err := r.loader.Read(&now); err != nil {
		t.Fatal(err)
	}
	if now.Uncounted != beyond {
		t.Errorf("%d flows without a place, want %d", now.Uncounted, beyond)
	}
}

func TestNoHealthNoDrops(t *testing.T) {
	r := newRig(t, loader.Config{Learn: loader.LearnUsual &^ loader.LearnHealth})
	if _, err := testkit.ClosedPort(r.ns, 4, 100); err != nil {
		t.Fatal(err)
	}
	r.checkDrops(drops{})
}
