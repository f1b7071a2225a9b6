package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

type partsShown struct {
	Turns uint64
	Wait  time.Duration `json:"wait_ns"`
	Think time.Duration `json:"think_ns"`
}

// slowTurn is what the tests read of a slow turn.
type slowTurn struct {
	Time           time.Time
	Client, Server liveEnd
	Turn           time.Duration `json:"turn_ns"`
}

// asleep is for how long servers keep a request waiting, in one way or another.
const asleep = 100 * time.Millisecond

// keepWaiting makes a connection, asks, and is answered by a server that sleeps before each of its steps for
// so long.
func keepWaiting(t *testing.T, ns *testkit.Netns, port int, accept, read, answer time.Duration) {
	t.Helper()
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	ns.Run(t, func() {
		l, err := net.ListenTCP("tcp4", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.DialTCP("tcp4", nil, at)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		err = write(client)
		time.Sleep(accept)
		server, acceptErr := l.Accept()
		if err := errors.Join(err, acceptErr); err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		time.Sleep(read)
		_, err = server.Read(make([]byte, 100))
		time.Sleep(answer)
		err = errors.Join(err, write(server))
		if _, readErr := client.Read(make([]byte, 100)); errors.Join(err, readErr) != nil {
			t.Fatal(err, readErr)
		}
	})
}

// keepStopped is the same with a server whose process is stopped meanwhile.
func keepStopped(t *testing.T, ns *testkit.Netns, port int) {
	t.Helper()
	server := ns.Actor(t)
	listener, at := server.Open("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	var client net.Conn
	ns.Run(t, func() {
		var err error
		if client, err = net.Dial("tcp4", at.String()); err != nil {
			t.Fatal(err)
		}
	})
	fd, _ := server.Accept(listener)
	server.Tell("recv", fd, 100)
	err := errors.Join(unix.Kill(server.PID, unix.SIGSTOP),
		unix.Waitid(unix.P_PID, server.PID, nil, unix.WSTOPPED, nil), write(client))
	time.Sleep(asleep)
	if err := errors.Join(err, unix.Kill(server.PID, unix.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	server.Hear()
	server.Send(fd, 100)
	_, err = client.Read(make([]byte, 100))
	if err := errors.Join(err, client.Close()); err != nil { // first, or the port is not free at once
		t.Fatal(err)
	}
	server.Close(fd)
	server.Close(listener)
}

// Where servers of known manners spend a turn's time is told, in numbers and in a drawing.
func TestBreakdownShows(t *testing.T) {
	waits := func(p *partsShown) time.Duration { return p.Wait }
	thinks := func(p *partsShown) time.Duration { return p.Think }
	servers := []struct {
		name string
		turn func(port int, ns *testkit.Netns)
		part func(*partsShown) time.Duration
	}{
		{"asleep before accept", func(port int, ns *testkit.Netns) { keepWaiting(t, ns, port, asleep, 0, 0) }, waits},
		{"asleep before read", func(port int, ns *testkit.Netns) { keepWaiting(t, ns, port, 0, asleep, 0) }, waits},
		{"asleep after read", func(port int, ns *testkit.Netns) { keepWaiting(t, ns, port, 0, 0, asleep) }, thinks},
		{"stopped", func(port int, ns *testkit.Netns) { keepStopped(t, ns, port) }, waits},
	}
	drawn := regexp.MustCompile(`(?m)^ +░ delivery .*(▒ wait 10\d ms|█ think 10\d ms) (9\d|100) %`)
	eventually(t, func() (off string) {
		ns := newLiveNetns(t, "auto")
		rows, lat := startHealth(t, ns, "service", "--breakdown")
		const n = 3
		for i, server := range servers {
			for range n {
				server.turn(80+i, ns)
			}
		}
		testkit.Quiesce(ns)
		doc := rows.signs()
		lat.interrupt()
		for i, server := range servers {
			row := doc.row(t, uint16(80+i))
			if row.Turn.Count != n || row.Breakdown == nil || row.Breakdown.Turns != n {
				t.Fatalf("%s: %d turns, breakdown %+v; want %d of each", server.name, row.Turn.Count, row.Breakdown, n)
			}
			part := server.part(row.Breakdown)
			if (part/n-asleep).Abs() > asleep/10 || float64(part) < .9*float64(row.Turn.Sum) {
				off = fmt.Sprintf("%s: %v of turns of %v: %+v", server.name, part, row.Turn.Sum, *row.Breakdown)
			}
		}
		if n := len(drawn.FindAllString(lat.stdout.String(), -1)); off == "" && n != len(servers) {
			off = fmt.Sprintf("%d services drawn as they are in:\n%s", n, &lat.stdout)
		}
		return off
	})
}

// Exactly the slow turns are listed, newest first, each with its two processes.
func TestSlowTurnsShow(t *testing.T) {
	eventually(t, func() (off string) {
		const limit = 50 * time.Millisecond
		ns := newLiveNetns(t, "auto")
		rows, lat := startHealth(t, ns, "flow", "--slow", limit.String())
		server := ns.Actor(t)
		listener, at := server.Open("tcp", "127.0.0.1:80")
		var client net.Conn
		ns.Run(t, func() {
			var err error
			if client, err = net.Dial("tcp4", at.String()); err != nil {
				t.Fatal(err)
			}
		})
		defer client.Close()
		fd, from := server.Accept(listener)
		var least, most []time.Duration // of the slow ones, newest first
		for i := range 20 {
			pause := map[int]time.Duration{3: 60 * time.Millisecond, 11: 90 * time.Millisecond, 19: 70 * time.Millisecond}[i]
			began := time.Now()
			if err := write(client); err != nil {
				t.Fatal(err)
			}
			server.Recv(fd, 100)
			time.Sleep(pause)
			server.Send(fd, 100)
			if _, err := client.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); pause > 0 {
				least, most = append([]time.Duration{pause}, least...), append([]time.Duration{took}, most...)
			} else if took > limit/2 {
				off = fmt.Sprintf("turn %d took %v", i, took)
			}
		}
		doc := rows.signs()
		lat.says("turns of 50.0 ms and more, newest first", fmt.Sprintf("%s(%d):%d ", ownComm(t), os.Getpid(), from.Port()))
		if off != "" {
			return off
		}
		if len(doc.Slow) != len(least) {
			t.Fatalf("slow turns %+v, want %d", doc.Slow, len(least))
		}
		for i, turn := range doc.Slow {
			if turn.Turn < least[i] || turn.Turn > most[i] || i > 0 && !turn.Time.Before(doc.Slow[i-1].Time) {
				t.Errorf("slow turn %d: %+v, want one of %v to %v", i, turn, least[i], most[i])
			}
			if turn.Client.PID == nil || *turn.Client.PID != os.Getpid() || turn.Client.Port != from.Port() ||
				turn.Server.PID == nil || *turn.Server.PID != server.PID || turn.Server.Port != at.Port() {
				t.Errorf("slow turn %d is between %+v and %+v", i, turn.Client, turn.Server)
			}
		}
		return ""
	})
}
