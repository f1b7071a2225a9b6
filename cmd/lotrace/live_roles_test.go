package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/lotrace/lotrace/internal/testkit"
)

// older is a connection from before anybody looked.
type older struct {
	client, server         *net.TCPConn
	clientPort, serverPort uint16
	speaks, ends           string // whose packet is the first that is seen, and who resets or closes it
	reset                  bool
}

// connectFrom is a connection between two ports of 127.0.0.1, to a listener that stays or not.
func connectFrom(t *testing.T, ns *testkit.Netns, from, to uint16, stays bool) (client, server *net.TCPConn) {
	t.Helper()
	at := func(port uint16) *net.TCPAddr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)} }
	ns.Run(t, func() {
		l, err := net.ListenTCP("tcp4", at(to))
		if err != nil {
			t.Fatal(err)
		}
		if stays {
			t.Cleanup(func() { l.Close() })
		} else {
			defer l.Close()
		}
		if client, err = net.DialTCP("tcp4", at(from), at(to)); err != nil {
			t.Fatal(err)
		}
		if server, err = l.AcceptTCP(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// olderConnections are of all kinds: who is seen first, who ends it and how, and whether the listener or the ports tell
// who is the server. A listener's port is the one that would be taken for the client's.
func olderConnections(t *testing.T, ns *testkit.Netns) map[uint16]*older {
	t.Helper()
	all := make(map[uint16]*older)
	for i := range 16 {
		c := &older{clientPort: uint16(40000 + i), serverPort: uint16(100 + i), reset: i&1 != 0, speaks: "client", ends: "client"}
		if i&2 != 0 {
			c.speaks = "server"
		}
		if i&4 != 0 {
			c.ends = "server"
		}
		listens := i&8 != 0
		if listens {
			c.clientPort, c.serverPort = uint16(20000+i), uint16(50000+i)
		}
		c.client, c.server = connectFrom(t, ns, c.clientPort, c.serverPort, listens)
		all[c.clientPort] = c
	}
	return all
}

// happen has the first packet sent, and the connection ended.
func (c *older) happen(t *testing.T) {
	t.Helper()
	ends := map[string]*net.TCPConn{"client": c.client, "server": c.server}
	other := map[string]string{"client": "server", "server": "client"}
	if _, err := ends[c.speaks].Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(ends[other[c.speaks]], make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	by, waits := ends[c.ends], ends[other[c.ends]]
	if c.reset {
		if err := by.SetLinger(0); err != nil {
			t.Fatal(err)
		}
	}
	if err := by.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := waits.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	if err := waits.Close(); err != nil {
		t.Fatal(err)
	}
}

// Of connections that are older than lotrace, too, trace and capture take the same end for the client that flows does,
// whoever sent the first packet, and say rightly who ended them.
func TestOlderConnectionsHaveOneClient(t *testing.T) {
	for _, hook := range liveHooks {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			conns := olderConnections(t, ns)
			faults := startCounting(t, ns, "trace", "-o", "jsonl", "--errors", "--hook", hook)
			lives := startCounting(t, ns, "trace", "-o", "jsonl", "--conns", "-n", "0", "--hook", secondHook(hook))
			flows := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--hook", secondHook(hook))
			packets := startCounting(t, ns, "capture", "--errors", "-w", "-", "--hook", secondHook(hook))
			for _, c := range conns {
				c.happen(t)
			}
			testkit.Quiesce(ns)
			for _, l := range []*program{faults, lives, flows, packets} {
				l.interrupt()
			}
			resets := 0
			for _, c := range conns {
				if c.reset {
					resets++
				}
			}
			checkEnds(t, "trace --errors", faults, conns, resets)
			checkEnds(t, "trace --conns", lives, conns, len(conns))
			for _, row := range parseDoc(t, flows.stdout.Bytes()).Rows {
				if c := conns[row.Client.Port]; c == nil || row.Server.Port != c.serverPort {
					t.Errorf("flows: %+v", row)
				}
			}
			checkDirections(t, packets.stdout.Bytes(), conns, resets)
		})
	}
}

// secondHook is one of which there may be several at once.
func secondHook(hook string) string {
	if hook == "xdp" {
		return "auto"
	}
	return hook
}

func checkEnds(t *testing.T, who string, trace *program, conns map[uint16]*older, want int) {
	t.Helper()
	lines, _ := traceLines(t, trace.stdout.Bytes())
	if len(lines["conn"]) != want {
		t.Errorf("%s: %d lines, want %d", who, len(lines["conn"]), want)
	}
	for _, line := range lines["conn"] {
		c := conns[line.Client.Port]
		event := "closed"
		if c != nil && c.reset {
			event = "reset"
		}
		if c == nil || line.Server.Port != c.serverPort || line.Event != event || line.By != c.ends {
			t.Errorf("%s: %+v, want %+v", who, line, c)
		}
	}
	for _, line := range lines["turn"] {
		if c := conns[line.Client.Port]; c == nil || line.Server.Port != c.serverPort {
			t.Errorf("%s: %+v", who, line)
		}
	}
}

// checkDirections holds that each RST in the file goes from the end that sent it to the other.
func checkDirections(t *testing.T, file []byte, conns map[uint16]*older, want int) {
	t.Helper()
	r, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		data, _, options, err := r.ReadPacketDataWithOptions()
		if err != nil {
			if n != want {
				t.Errorf("capture: %d packets, want %d", n, want)
			}
			return
		}
		const tcp = 14 + 20
		from := uint16(data[tcp])<<8 | uint16(data[tcp+1])
		toServer := options.Flags.Direction == pcapgo.NgEpbFlagDirectionInbound
		if toServer != (conns[from] != nil) {
			t.Errorf("capture: from port %d, to the server: %v", from, toServer)
		}
	}
}

// Of datagrams, too, the client is who talks to a socket that waits, though the server's was the first that was seen:
// what it says unasked is no request, and no turn is told the other way round.
func TestOlderDatagramsHaveOneClient(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	var server, client *net.UDPConn
	ns.Run(t, func() {
		var err error
		if server, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000}); err != nil {
			t.Fatal(err)
		}
		if client, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 20000}, server.LocalAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { client.Close(); server.Close() })
	flows := startCounting(t, ns, "flows", "-d", "60", "-o", "json")
	trace := startCounting(t, ns, "trace", "-o", "jsonl", "-n", "0")
	to := client.LocalAddr().(*net.UDPAddr)
	pass := func(from, at *net.UDPConn, n int) {
		t.Helper()
		var err error
		if from == server {
			_, err = server.WriteToUDP(make([]byte, n), to)
		} else {
			_, err = client.Write(make([]byte, n))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := at.Read(make([]byte, 100)); err != nil || got != n {
			t.Fatalf("%d bytes, %v", got, err)
		}
	}
	const turns = 30_000 // the kernel is told within 100 ms
	pass(server, client, 7)
	for range turns {
		pass(client, server, 10)
		pass(server, client, 20)
	}
	testkit.Quiesce(ns)
	trace.interrupt()
	flows.interrupt()
	lines, end := traceLines(t, trace.stdout.Bytes())
	wrong := 0
	for _, line := range lines["turn"] {
		if line.Client.Port != 20000 || line.Server.Port != 50000 || line.RequestBytes != nil && *line.RequestBytes != 10 ||
			line.AnswerBytes != nil && *line.AnswerBytes != 20 {
			if wrong++; wrong == 1 {
				t.Errorf("turn %+v: %s, %s", line, number(line.RequestBytes), number(line.AnswerBytes))
			}
		}
	}
	if wrong > 0 || end.Turns.All == 0 || end.Turns.All > turns {
		t.Errorf("%d turns, %d of them wrong, want %d but for those from before it was known", end.Turns.All, wrong, turns)
	}
	for _, row := range parseDoc(t, flows.stdout.Bytes()).Rows {
		if row.Client.Port != 20000 || row.Server.Port != 50000 {
			t.Errorf("flows: %+v", row)
		}
	}
}

func number(n *int) string {
	if n == nil {
		return "unknown"
	}
	return fmt.Sprint(*n)
}
