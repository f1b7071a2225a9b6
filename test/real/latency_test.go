//go:build real

package real

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/lotrace/lotrace/internal/services"
)

// attempts is how often a comparison is made at most: the machine may spoil a round.
const attempts = 5

// lotrace is held against clients that measure: both count the same requests, to the one and in every round,
// and they take as long as the client says, but for what it takes itself.
func TestLatency(t *testing.T) {
	needNamespaces(t)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "turns\tp50\tthe client's\tp99\tthe client's\t ")
	for _, c := range []struct {
		name  string
		round func(*testing.T) []measured
	}{
		{"sockperf over TCP", func(t *testing.T) []measured { return roundOfSockperf(t, "--tcp") }},
		{"sockperf over UDP", func(t *testing.T) []measured { return roundOfSockperf(t) }},
		{"wrk", roundOfWrk},
		{"wrk, slow server", roundOfSlowServer},
		{"redis-benchmark", roundOfRedis},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, m := range inSomeRound(t, c.round) {
				m.print(table)
			}
		})
	}
	fmt.Fprintln(table)
	table.Flush()
}

// inSomeRound repeats a comparison until every percentile was right once, and returns the last round.
func inSomeRound(t *testing.T, round func(*testing.T) []measured) []measured {
	t.Helper()
	right := map[string]bool{}
	for attempt := 1; ; attempt++ {
		off, all := "", round(t)
		for _, m := range all {
			off += m.differs(right)
		}
		if off == "" {
			return all
		}
		t.Logf("round %d:\n%s", attempt, off)
		if attempt == attempts {
			t.Errorf("not right in any of %d rounds", attempts)
			return all
		}
	}
}

// roundOfSockperf: both of its ends do the same, so turns take half as long as round trips, give or take a
// quarter for what only one end does, such as to read the clock.
func roundOfSockperf(t *testing.T, flags ...string) []measured {
	turn, trips := pingPong(t, flags...)
	return []measured{{
		what: strings.Join(append([]string{"sockperf ping-pong"}, flags...), " "), turn: turn, client: trips,
		own: map[int]span{50: {trips[50] * 3 / 8, trips[50] * 5 / 8}},
	}}
}

var (
	sockperfSent = regexp.MustCompile(`\[Total Run\].* SentMessages=(\d+);`)
	sockperfGot  = regexp.MustCompile(`Total (\d+) messages received and handled`)
	sockperfTrip = regexp.MustCompile(`percentile (\d+)\.000 = +([0-9.]+)()`)
)

// pingPong returns lotrace's turns and sockperf's round trips; of these the first 400 ms and the last 50 are
// left out. Seldom, on a busy machine, sockperf leaves out all and has to try again.
func pingPong(t *testing.T, flags ...string) (turn latency, trips percentiles) {
	t.Helper()
	var text string
	for range attempts {
		if turn, text = sockperf(t, flags...); !strings.Contains(text, "No valid observations") {
			break
		}
	}
	return turn, parsePercentiles(t, sockperfTrip, text, "us")
}

// sockperf sends one message at a time for a second, and counts are compared: every message that it says it
// sent is a turn. It may not say that it received the answer to the last, for which it does not wait, but it
// keeps the socket open long enough. It has no handshake, and sends messages to warm up to multicast groups
// only.
func sockperf(t *testing.T, flags ...string) (turn latency, text string) {
	t.Helper()
	const port = 11111
	l := startLotrace(t, "flow", "-d", "1m")
	var server, client *process
	onOneCPU(t, func() {
		serving := services.Sockperf(port, flags...)
		server = start(t, serving.Cmd)
		server.await(t, serving.Ready, serving.Readies)
		client = start(t, services.SockperfPingPong(port, time.Second, flags...))
	})
	text = client.end(t)
	server.stop(t, syscall.SIGINT)
	rows := l.asked(t)
	sent, got := number(t, sockperfSent, text), number(t, sockperfGot, server.Output())
	if len(rows) != 1 || rows[0].Server.Port != port || rows[0].Turn.Count != sent || got != sent || rows[0].Crossed != 0 {
		t.Fatalf("sockperf sent %d messages and received %d; lotrace: %+v", sent, got, rows)
	}
	return rows[0].Turn, text
}

// echoed is what a client takes for itself above the turn if it does nothing but send and receive.
func echoed(t *testing.T) time.Duration {
	t.Helper()
	turn, trips := pingPong(t, "--tcp")
	return trips[50] - turn.P50
}

// roundOfWrk: nginx compresses a page for each request. With more than one connection answers wait until wrk
// comes to read them; it counts that, and the turn has ended. So there are two at most, and of two no median is
// compared but to be no greater.
func roundOfWrk(t *testing.T) (all []measured) {
	echo := echoed(t)
	for _, conns := range []uint64{1, 2} {
		l := startLotrace(t, "service", "-d", "1m")
		var nginx *service
		var client *process
		onOneCPU(t, func() {
			nginx = startNginx(t, 8082, "")
			client = startWrk(t, conns, nginx.v4().String()+"/page")
		})
		requests, took := saidWrk(t, client, conns)
		nginx.process.stop(t, syscall.SIGTERM) // wrk does not wait for the last answer
		log, err := os.ReadFile(filepath.Join(nginx.Server.Dir, "requests.log"))
		if err != nil {
			t.Fatal(err)
		}
		m := measured{what: fmt.Sprintf("wrk -c %d, nginx", conns), client: took}
		m.turn = wrkTurn(t, l.asked(t), requests, conns, uint64(bytes.Count(log, []byte("\n"))))
		if conns == 1 {
			m.own = map[int]span{50: {echo / 2, 2*echo + 2*wrkResolution}}
		}
		all = append(all, m)
	}
	return all
}

// roundOfSlowServer: what a client takes for itself is next to nothing. Each percentile is amid answers of its
// own kind.
func roundOfSlowServer(t *testing.T) []measured {
	var served atomic.Uint64
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		wait := 5 * time.Millisecond
		if n := served.Add(1); n%20 == 0 {
			wait = 30 * time.Millisecond
		} else if n%5 == 0 {
			wait = 10 * time.Millisecond
		}
		time.Sleep(wait)
		fmt.Fprintln(w, "hello")
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:8083")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer server.Close()
	l := startLotrace(t, "service", "-d", "1m")
	requests, took := saidWrk(t, startWrk(t, 1, listener.Addr().String()+"/"), 1)
	// The answer under way goes out, though nobody waits for it any more.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	<-ended
	own := span{0, 20 * time.Microsecond}
	return []measured{{
		what: "wrk -c 1, 5 ms and more", turn: wrkTurn(t, l.asked(t), requests, 1, served.Load()), client: took,
		own: map[int]span{50: own, 90: own, 99: own},
	}}
}

// roundOfRedis: commands one by one and many at once, which are one turn. redis-benchmark measures until it
// has read the beginning of an answer, and says the upper bounds of buckets of 8 us.
func roundOfRedis(t *testing.T) (all []measured) {
	const commands, resolution = 20000, 8 * time.Microsecond
	echo := echoed(t)
	for _, batch := range []uint64{1, 16, 250} {
		l := startLotrace(t, "flow", "-d", "1m")
		var redis *service
		var client *process
		onOneCPU(t, func() {
			redis = startRedis(t, 6380)
			client = start(t, exec.Command("redis-benchmark", "-p", "6380", "--csv", "-t", "set,get", "-c", "1",
				"-n", fmt.Sprint(commands), "-P", fmt.Sprint(batch)))
		})
		text := client.end(t)
		rows := l.asked(t)
		calls := redisCalls(t, redis)
		redis.process.stop(t, syscall.SIGTERM)
		// First a connection on which it asks for two settings at once, then one for each test.
		if len(rows) != 3 || rows[0].Turn.Count != 1 || calls["config|get"] != 2 {
			t.Fatalf("redis-benchmark called %v; lotrace: %+v", calls, rows)
		}
		for i, command := range []string{"SET", "GET"} {
			r := rows[1+i]
			if n := calls[strings.ToLower(command)]; n != commands || r.Turn.Count != n/batch || r.Crossed != 0 {
				t.Fatalf("%d calls of %s in batches of %d; lotrace: %+v", n, command, batch, r)
			}
			all = append(all, measured{
				what: fmt.Sprintf("redis-benchmark -P %d, %s", batch, command), turn: r.Turn, client: saidRedis(t, text, command),
				own: map[int]span{50: {echo / 2, 2*echo + resolution}},
			})
		}
	}
	return all
}

var redisCall = regexp.MustCompile(`(?m)^cmdstat_(\S+):calls=(\d+),`)

// redisCalls is how often Redis says each command was called.
func redisCalls(t *testing.T, redis *service) map[string]uint64 {
	t.Helper()
	text := start(t, exec.Command("redis-cli", "-p", fmt.Sprint(redis.port), "INFO", "commandstats")).end(t)
	calls := map[string]uint64{}
	for _, match := range redisCall.FindAllStringSubmatch(text, -1) {
		calls[match[1]] = parseCount(t, match[2])
	}
	return calls
}
