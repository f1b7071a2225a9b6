package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/lotrace/lotrace/internal/testkit"
)

// traceLine is what the tests read of a line, of whatever kind.
type traceLine struct {
	Kind           string
	Client, Server liveEnd
	Number         uint32
	RequestBytes   *int   `json:"request_bytes"`
	AnswerBytes    *int   `json:"answer_bytes"`
	TurnNs         int64  `json:"turn_ns"`
	ResponseNs     *int64 `json:"response_ns"`
	WaitNs         *int64 `json:"wait_ns"`
	ThinkNs        *int64 `json:"think_ns"`
	Complete       bool
	RequestHead    *string `json:"request_head"`
	AnswerHead     *string `json:"answer_head"`

	Event, By       string
	UnansweredBytes *int `json:"unanswered_bytes"`
}

// traceEnd is the last line.
type traceEnd struct {
	Kind, Schema string
	Turns, Conns struct{ All, Shown, Limited int }
	Samples      struct{ Seen, Taken, Lost int }
}

// traceLines are those that a run printed, by kind, and its summary.
func traceLines(t *testing.T, text []byte) (lines map[string][]traceLine, end traceEnd) {
	t.Helper()
	lines = make(map[string][]traceLine)
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var line traceLine
		// The last has other fields of the same names.
		if strings.HasPrefix(in.Text(), `{"kind":"summary"`) {
			if err := json.Unmarshal(in.Bytes(), &end); err != nil {
				t.Fatalf("%v in %s", err, in.Bytes())
			}
			continue
		}
		if end.Kind != "" {
			t.Errorf("a line behind the summary: %s", in.Bytes())
		}
		if strings.HasPrefix(in.Text(), `{"kind":"gap"`) {
			lines["gap"] = append(lines["gap"], line)
			continue
		}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			t.Fatalf("%v in %s", err, in.Bytes())
		}
		lines[line.Kind] = append(lines[line.Kind], line)
	}
	if end.Schema != "lotrace/v1" {
		t.Fatalf("no summary in %s", text)
	}
	return lines, end
}

// exchange sends a request and its answer, and takes what came.
func exchange(tb testing.TB, client, server net.Conn, request, answer []byte) {
	tb.Helper()
	for _, way := range []struct {
		from, to net.Conn
		what     []byte
	}{{client, server, request}, {server, client, answer}} {
		if _, err := way.from.Write(way.what); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.ReadFull(way.to, make([]byte, len(way.what))); err != nil {
			tb.Fatal(err)
		}
	}
}

// Each request is one line, with its size and its answer's, and with both processes, however its connection
// goes on; and each connection has its beginning and its end.
func TestTraceTellsEveryTurn(t *testing.T) {
	for _, hook := range []string{"tcx", "clsact"} {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			trace := startCounting(t, ns, "trace", "-o", "jsonl", "--conns", "--breakdown", "--hook", hook)
			const conns, turns = 20, 7
			size := func(conn, turn int) (request, answer int) { return 1 + conn, 1 + 1000*turn }
			ports := make(map[uint16]int)
			for i := range conns {
				client, server := connect(t, ns, 80)
				ports[uint16(client.LocalAddr().(*net.TCPAddr).Port)] = i
				for k := range turns {
					request, answer := size(i, k+1)
					exchange(t, client, server, make([]byte, request), make([]byte, answer))
				}
				if _, err := client.Write([]byte("bye")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(server, make([]byte, 3)); err != nil {
					t.Fatal(err)
				}
				if err := client.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				if err := server.Close(); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Quiesce(ns)
			trace.interrupt()
			lines, end := traceLines(t, trace.stdout.Bytes())

			seen := make(map[[2]int]bool)
			for _, line := range lines["turn"] {
				i, ok := ports[line.Client.Port]
				k := int(line.Number)
				request, answer := size(i, k)
				if !ok || seen[[2]int{i, k}] || k < 1 || k > turns {
					t.Errorf("connection %d has turn %d again, or none: %+v", i, k, line)
				}
				seen[[2]int{i, k}] = true
				if line.RequestBytes == nil || *line.RequestBytes != request || line.AnswerBytes == nil || *line.AnswerBytes != answer {
					t.Errorf("turn %d of connection %d: want %d and %d bytes, got %+v", k, i, request, answer, line)
				}
				if line.TurnNs <= 0 || line.ResponseNs == nil || *line.ResponseNs < line.TurnNs || !line.Complete {
					t.Errorf("turn %d of connection %d took %+v", k, i, line)
				}
				if line.WaitNs == nil || line.ThinkNs == nil || *line.WaitNs+*line.ThinkNs > line.TurnNs {
					t.Errorf("parts of turn %d of connection %d: %+v", k, i, line)
				}
				if line.Client.PID == nil || *line.Client.PID != os.Getpid() || line.Server.PID == nil || *line.Server.PID != os.Getpid() {
					t.Errorf("turn %d of connection %d is of %+v and %+v", k, i, line.Client, line.Server)
				}
			}
			if len(seen) != conns*turns || end.Turns.All != conns*turns || end.Turns.Shown != conns*turns {
				t.Errorf("%d turns, summary %+v, want %d", len(seen), end, conns*turns)
			}
			events := make(map[string]int)
			for _, line := range lines["conn"] {
				if line.Event == "closed" && (line.By != "client" || line.UnansweredBytes == nil || *line.UnansweredBytes != 3) {
					t.Errorf("closed: %+v", line)
				}
				events[line.Event]++
			}
			if len(events) != 2 || events["open"] != conns || events["closed"] != conns || end.Conns.All != 2*conns {
				t.Errorf("events %v, want %d open, %d closed", events, conns, conns)
			}
		})
	}
}

// Datagrams over IPv6 are turns as well; what a filter leaves out is not told.
func TestTraceDatagrams(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	trace := startCounting(t, ns, "trace", "-o", "jsonl", "-f", "port:53 turn>1us response<1h")
	var server, client, other *net.UDPConn
	ns.Run(t, func() {
		var err error
		if server, err = net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback, Port: 53}); err != nil {
			t.Fatal(err)
		}
		if client, err = net.DialUDP("udp6", nil, server.LocalAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
		if other, err = net.DialUDP("udp6", nil, &net.UDPAddr{IP: net.IPv6loopback, Port: 54}); err != nil {
			t.Fatal(err)
		}
	})
	defer server.Close()
	defer client.Close()
	defer other.Close()
	const turns = 11
	for i := range turns {
		if _, err := client.Write(make([]byte, 10+i)); err != nil {
			t.Fatal(err)
		}
		_, from, err := server.ReadFromUDP(make([]byte, 100))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := server.WriteToUDP(make([]byte, 50), from); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := other.Write(make([]byte, 10)); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
	testkit.Quiesce(ns)
	trace.interrupt()
	lines, end := traceLines(t, trace.stdout.Bytes())
	if len(lines["turn"]) != turns || end.Turns.All != turns {
		t.Fatalf("%d turns, summary %+v, want %d", len(lines["turn"]), end, turns)
	}
	for i, line := range lines["turn"] {
		if line.RequestBytes == nil || *line.RequestBytes != 10+i || line.AnswerBytes == nil || *line.AnswerBytes != 100 ||
			line.Complete == (i == turns-1) || line.Server.Port != 53 {
			t.Errorf("turn %d: %+v", i, line)
		}
	}
}

// With --errors, what went right is not told.
func TestTraceErrors(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	trace := startCounting(t, ns, "trace", "-o", "jsonl", "--errors")
	actor := ns.Actor(t)
	_, at := actor.Open("udp", "127.0.0.1:0")
	from := actor.Knock(at)
	client, server := connect(t, ns, 80)
	exchange(t, client, server, []byte("ask"), []byte("answer"))
	if _, err := client.Write([]byte("unheard")); err != nil {
		t.Fatal(err)
	}
	if err := server.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	client.Close()
	testkit.Quiesce(ns)
	trace.interrupt()
	lines, _ := traceLines(t, trace.stdout.Bytes())
	conn := lines["conn"]
	if len(lines["turn"]) != 0 || len(conn) != 2 {
		t.Fatalf("lines %+v", lines)
	}
	if c := conn[0]; c.Event != "refused" || c.Client.Port != from.Port() || c.Client.PID == nil || *c.Client.PID != actor.PID {
		t.Errorf("refused: %+v", c)
	}
	if c := conn[1]; c.Event != "reset" || c.By != "server" || c.UnansweredBytes == nil || *c.UnansweredBytes != 7 {
		t.Errorf("reset: %+v", c)
	}
}

// A busy service does not flood: so many lines a second, and what is left out adds up with them.
func TestTraceLimit(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	trace := startCounting(t, ns, "trace", "-o", "jsonl", "-n", "50/s")
	client, server := connect(t, ns, 80)
	const turns = 30_000
	for range turns {
		exchange(t, client, server, []byte("ask"), []byte("answer"))
	}
	client.Close()
	server.Close()
	testkit.Quiesce(ns)
	trace.interrupt()
	lines, end := traceLines(t, trace.stdout.Bytes())
	// The budget and the buffer bound what a fast machine can tell; what they refused is said.
	missing := turns - end.Turns.All
	if end.Samples.Seen < 2*turns || missing < 0 || missing > end.Samples.Lost ||
		end.Turns.Shown+end.Turns.Limited != end.Turns.All ||
		len(lines["turn"]) != end.Turns.Shown || end.Turns.Limited == 0 {
		t.Errorf("%d lines, summary %+v, want %d turns", len(lines["turn"]), end, turns)
	}
	gaps := 0
	for _, gap := range regexp.MustCompile(`"kind":"gap","turns":(\d+)`).FindAllStringSubmatch(trace.stdout.String(), -1) {
		n := 0
		fmt.Sscan(gap[1], &n)
		gaps += n
	}
	if gaps != end.Turns.Limited {
		t.Errorf("gaps of %d turns, want %d", gaps, end.Turns.Limited)
	}
}

// So many lines and no more, and then it ends by itself.
func TestTraceEndsBehindTheLastLine(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	trace := startCounting(t, ns, "trace", "-n", "3")
	client, server := connect(t, ns, 80)
	defer client.Close()
	defer server.Close()
	for range 5 {
		exchange(t, client, server, []byte("ask"), []byte("answer"))
	}
	if code := trace.end(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &trace.stderr)
	}
	line := regexp.MustCompile(fmt.Sprintf(`(?m)^\d\d:\d\d:\d\d\.\d{6} %s\(%d\):%d → \S+:80 +3 B +6 B +\S+ .s +\S+ .s$`,
		regexp.QuoteMeta(ownComm(t)), os.Getpid(), client.LocalAddr().(*net.TCPAddr).Port))
	if n := len(line.FindAllString(trace.stdout.String(), -1)); n != 3 {
		t.Errorf("%d lines in\n%s", n, &trace.stdout)
	}
}

// With --packets, each is a line, as many as asked for.
func TestTracePackets(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	trace := startCounting(t, ns, "trace", "--packets", "-n", "7", "-f", "port:80")
	client, server := connect(t, ns, 80)
	for range 5 {
		exchange(t, client, server, []byte("ask"), []byte("answer"))
	}
	if code := trace.end(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &trace.stderr)
	}
	if n := strings.Count(trace.stdout.String(), ": Flags ["); n != 7 || strings.Count(trace.stdout.String(), "\n") != 7 {
		t.Errorf("%d lines in\n%s", n, &trace.stdout)
	}
}

const secret = "s3cr3tHunter2"

// secrets are messages with one, whose beginnings stay as they are.
func secrets() []string {
	counted := func(head string, n int) string { return head + string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
	return []string{
		"GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Basic " + secret + "\r\nAccept: */*\r\n\r\n",
		"CONNECT b:1 HTTP/1.1\r\nproxy-authorization: " + secret + "\r\n\r\n",
		"GET /c HTTP/1.1\r\nCookie: a=b;\r\n id=" + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nSet-Cookie: id=" + secret + "; Secure\r\n\r\n",
		`POST /d {"url":"postgres://app:` + secret + `@db/x"}`,
		counted("p", 4+len(secret)+1) + secret + "\x00",
		counted("p", 4+14+4+len(secret)) + "SCRAM-SHA-256\x00\x00\x00\x00\x0d" + secret,
		string([]byte{byte(32 + 4 + 1 + len(secret)), 0, 0, 1, 0, 0x82, 8, 0}) + "\x00\x00\x00\x01\x2d" +
			strings.Repeat("\x00", 23) + "app\x00" + "\x0d" + secret,
		string([]byte{byte(len(secret)), 0, 0, 3}) + secret,
		"*2\r\n$4\r\nAUTH\r\n$13\r\n" + secret + "\r\n",
		"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$13\r\n" + secret + "\r\n",
		"auth app " + secret + "\r\n",
		"CONFIG SET requirepass " + secret + "\r\n",
	}
}

// undump takes the bytes out of hex dumps.
func undump(text string) string {
	var b strings.Builder
	for _, row := range regexp.MustCompile(`(?m)[0-9a-f]{8}  ((?:[0-9a-f]{2} {1,2}){1,16})`).FindAllStringSubmatch(text, -1) {
		raw, _ := hex.DecodeString(strings.ReplaceAll(row[1], " ", ""))
		b.Write(raw)
	}
	return b.String()
}

// No byte of a secret is in what is written, in whatever form; asked for, it is.
func TestTraceMasksSecrets(t *testing.T) {
	testkit.OneKernel(t)
	forms := [][]string{
		{"--payload", "4096"}, {"--payload", "4096", "--hex"},
		{"--payload", "4096", "-o", "jsonl"}, {"--payload", "4096", "-o", "jsonl", "--hex"},
		{"-o", "jsonl"},
	}
	ns := newLiveNetns(t, "auto")
	var masked, open []*program
	for _, form := range forms {
		args := append([]string{"trace", "-n", "0"}, form...)
		masked = append(masked, startCounting(t, ns, args...))
	}
	for _, form := range forms[:4] {
		args := append([]string{"trace", "-n", "0", "--no-redact"}, form...)
		open = append(open, startCounting(t, ns, args...))
	}
	for _, message := range secrets() {
		client, server := connect(t, ns, 80)
		exchange(t, client, server, []byte(message), []byte("yes\r\n"))
		exchange(t, client, server, []byte("and?\r\n"), []byte(message))
		client.Close()
		server.Close()
	}
	testkit.Quiesce(ns)
	digits := hex.EncodeToString([]byte(secret))
	times := func(l *program) int {
		text := l.stdout.String() + l.stderr.String()
		return strings.Count(text, secret) + strings.Count(text, digits) + strings.Count(undump(text), secret)
	}
	for i, l := range masked {
		l.interrupt()
		if n := times(l); n != 0 {
			t.Errorf("%v: the secret shows %d times in\n%s", forms[i], n, &l.stdout)
		}
		if i < 4 && !strings.Contains(l.stdout.String()+undump(l.stdout.String()), "HTTP/1.1") &&
			!strings.Contains(l.stdout.String(), hex.EncodeToString([]byte("HTTP/1.1"))) {
			t.Errorf("%v: what is no secret is missing in\n%s", forms[i], &l.stdout)
		}
		if i == 4 && strings.Contains(l.stdout.String(), "HTTP") {
			t.Errorf("payload that nobody asked for: %s", &l.stdout)
		}
	}
	for _, l := range open {
		l.interrupt()
		if n, want := times(l), 2*len(secrets()); n < want {
			t.Errorf("%v: the secret shows %d times of %d", l.Args, n, want)
		}
	}
}
