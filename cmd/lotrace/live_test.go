package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/testkit"
)

// patience bounds every wait for the program; only a broken one meets it.
const patience = 20 * time.Second

var liveHooks = []string{"tcx", "clsact", "xdp"}

// newLiveNetns makes a private namespace in which the hook can count.
func newLiveNetns(tb testing.TB, hook string) *testkit.Netns {
	tb.Helper()
	ns := testkit.NewNetns(tb)
	oldest := "6.1"
	if hook == "tcx" {
		oldest = "6.6"
	}
	testkit.RequireKernel(tb, oldest, "hook "+hook)
	return ns
}

// program is ours as users run it, in a process of its own.
type program struct {
	testing.TB
	*exec.Cmd
	stdout bytes.Buffer
	stderr herald
	ended  chan struct{}
}

// herald keeps what is written to stderr and tells when counting has begun.
type herald struct {
	mu       sync.Mutex
	text     bytes.Buffer
	counting chan struct{}
}

func (h *herald) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.begun()
	h.text.Write(p)
	if !before && h.begun() {
		close(h.counting)
	}
	return len(p), nil
}

func (h *herald) begun() bool { return strings.Contains("\n"+h.text.String(), "\nlotrace: counting") }

func (h *herald) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// prepare makes a run of the binary that start may be told more about.
func prepare(tb testing.TB, args ...string) *program { return prepareProgram(tb, "lotrace", args...) }

func prepareProgram(tb testing.TB, name string, args ...string) *program {
	path, err := exec.LookPath(name) // testscript.Main has put ours there
	if err != nil {
		tb.Fatal(err)
	}
	l := &program{TB: tb, Cmd: exec.Command(path, args...), ended: make(chan struct{})}
	l.stderr.counting = make(chan struct{})
	l.Stdout, l.Stderr = &l.stdout, &l.stderr
	return l
}

// start begins the run in the namespace, if there is one.
func (l *program) start(ns *testkit.Netns) {
	l.Helper()
	start := l.Start
	if ns != nil {
		start = func() error { return ns.Do(l.Start) }
	}
	if err := start(); err != nil {
		l.Fatal(err)
	}
	l.started()
}

// started looks after a process that was started otherwise.
func (l *program) started() {
	go func() {
		_ = l.Wait() // the tests look at the exit code
		close(l.ended)
	}()
	l.Cleanup(func() {
		_ = l.Process.Kill()
		<-l.ended
	})
}

// startCounting begins a run in the namespace and returns when it counts.
func startCounting(tb testing.TB, ns *testkit.Netns, args ...string) *program {
	tb.Helper()
	l := prepare(tb, args...)
	l.start(ns)
	l.awaitCounting()
	return l
}

func (l *program) awaitCounting() {
	l.Helper()
	select {
	case <-l.stderr.counting:
	case <-l.ended:
		l.Fatalf("%v ended before it counted: %s", l.Args, &l.stderr)
	case <-time.After(patience):
		l.Fatalf("%v does not begin to count: %s", l.Args, &l.stderr)
	}
}

// end waits for the program and returns its exit code, -1 when a signal ended it.
func (l *program) end() int {
	l.Helper()
	select {
	case <-l.ended:
	case <-time.After(patience):
		l.Fatalf("%v does not end: %s", l.Args, &l.stderr)
	}
	return l.ProcessState.ExitCode()
}

// interrupt is ^C, after which the program must end well.
func (l *program) interrupt() {
	l.Helper()
	if err := l.Process.Signal(syscall.SIGINT); err != nil {
		l.Fatal(err)
	}
	if code := l.end(); code != exitOK {
		l.Fatalf("exit code %d: %s", code, &l.stderr)
	}
}

// liveDoc is what the tests read of a JSON document.
type liveDoc struct {
	Schema string
	Source struct {
		Netns        uint32
		Device, Hook string
		Filter       *string
	}
	Totals struct {
		Packets, Bytes, Skbs uint64
		Flows                int
		Overflow             struct {
			Packets, Bytes uint64
			ByCause        map[string]struct{ Packets, Bytes uint64 } `json:"by_cause"`
		}
	}
	Device *struct {
		Packets, Bytes, Dropped uint64
		Agrees                  bool
	}
	Rows []liveRow
}

type liveRow struct {
	Service        string
	Proto          string
	Flows          int
	Client, Server struct {
		Addr string
		Port uint16
	}
	ToServer liveAmount `json:"to_server"`
	ToClient liveAmount `json:"to_client"`
}

type liveAmount struct {
	Packets, Bytes, Skbs uint64
	PayloadBytes         uint64 `json:"payload_bytes"`
}

func parseDoc(tb testing.TB, text []byte) *liveDoc {
	tb.Helper()
	var doc liveDoc
	if err := json.Unmarshal(text, &doc); err != nil {
		tb.Fatalf("%v in %q", err, text)
	}
	if doc.Schema != "lotrace/v1" {
		tb.Errorf("schema %q", doc.Schema)
	}
	return &doc
}

// checkSum holds the totals against the rows.
func (d *liveDoc) checkSum(tb testing.TB) {
	tb.Helper()
	packets, bytes := d.Totals.Overflow.Packets, d.Totals.Overflow.Bytes
	for _, row := range d.Rows {
		packets += row.ToServer.Packets + row.ToClient.Packets
		bytes += row.ToServer.Bytes + row.ToClient.Bytes
	}
	if packets != d.Totals.Packets || bytes != d.Totals.Bytes {
		tb.Errorf("rows and overflow make %d packets, %d bytes, totals %+v", packets, bytes, d.Totals)
	}
}

// checkExact holds the totals against the rows and against what the device counted meanwhile.
func (d *liveDoc) checkExact(tb testing.TB, device testkit.Counters) {
	tb.Helper()
	d.checkSum(tb)
	if d.Device == nil || !d.Device.Agrees || device.RxPackets == 0 ||
		d.Totals.Packets != device.RxPackets || d.Totals.Bytes != device.RxBytes ||
		d.Device.Packets != device.RxPackets || d.Device.Bytes != device.RxBytes {
		tb.Errorf("totals %+v, device %+v, which counted %+v", d.Totals, d.Device, device)
	}
}

// mustSend makes the traffic and waits until it rests.
func mustSend(tb testing.TB, ns *testkit.Netns, send func() (testkit.Sent, error)) testkit.Sent {
	tb.Helper()
	sent, err := send()
	if err != nil {
		tb.Fatal(err)
	}
	testkit.Quiesce(ns)
	return sent
}

// sendSome is a little TCP.
func sendSome(tb testing.TB, ns *testkit.Netns) testkit.Sent {
	tb.Helper()
	return mustSend(tb, ns, func() (testkit.Sent, error) { return testkit.PingPong(ns, 4, 101, 64) })
}

// sendDatagrams is n packets of UDP.
func sendDatagrams(tb testing.TB, ns *testkit.Netns, n int) testkit.Sent {
	tb.Helper()
	return mustSend(tb, ns, func() (testkit.Sent, error) { return testkit.UDPCount(ns, 4, n, 100) })
}

func TestFlowsAreExact(t *testing.T) {
	for _, hook := range liveHooks {
		t.Run(hook, func(t *testing.T) {
			ns := newLiveNetns(t, hook)
			l := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--hook", hook)
			before := ns.Device()
			tcp, udp := sendSome(t, ns), sendDatagrams(t, ns, 211)
			l.interrupt()
			doc := parseDoc(t, l.stdout.Bytes())
			doc.checkExact(t, ns.Device().Sub(before))
			if s := doc.Source; s.Netns != ns.Inode() || s.Device != "lo" || s.Hook != hook || s.Filter != nil {
				t.Errorf("source %+v", s)
			}
			checkRow(t, doc, tcp)
			checkRow(t, doc, udp)
			if doc.Totals.Flows != 2 || len(doc.Rows) != 2 {
				t.Errorf("%d flows, %d rows", doc.Totals.Flows, len(doc.Rows))
			}
		})
	}
}

// checkRow finds the row of what was sent and compares payloads.
func checkRow(tb testing.TB, doc *liveDoc, sent testkit.Sent) {
	tb.Helper()
	for _, row := range doc.Rows {
		if row.Server.Port != sent.Server.Port() {
			continue
		}
		if row.Proto != sent.Proto.String() || row.Server.Addr != sent.Server.Addr().String() ||
			row.ToServer.PayloadBytes != sent.ToServer.Payload || row.ToClient.PayloadBytes != sent.ToClient.Payload {
			tb.Errorf("row %+v, sent %+v", row, sent)
		}
		return
	}
	tb.Errorf("no row of %v in %+v", sent, doc.Rows)
}

func TestFilteredFlows(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	stays, err := testkit.Dial(ns, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer stays.Close()
	expr := fmt.Sprintf("port:%d", stays.Server.Port())
	l := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "-f", expr)
	if err := stays.Answer(); err != nil {
		t.Fatal(err)
	}
	sendDatagrams(t, ns, 11)
	l.interrupt()
	doc := parseDoc(t, l.stdout.Bytes())
	doc.checkSum(t)
	if len(doc.Rows) != 1 || doc.Rows[0].Server.Port != stays.Server.Port() || doc.Rows[0].ToClient.PayloadBytes != 1 {
		t.Errorf("rows %+v, want the one to port %d", doc.Rows, stays.Server.Port())
	}
	if doc.Device != nil || doc.Source.Filter == nil || *doc.Source.Filter != expr {
		t.Errorf("device %v, filter %v", doc.Device, doc.Source.Filter)
	}
}

func TestServices(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	l := startCounting(t, ns, "flows", "-d", "60", "-o", "json", "--by", "service")
	before := ns.Device()
	sent := mustSend(t, ns, func() (testkit.Sent, error) { return testkit.ShortConnections(ns, 4, 23, 4) })
	l.interrupt()
	doc := parseDoc(t, l.stdout.Bytes())
	doc.checkExact(t, ns.Device().Sub(before))
	if len(doc.Rows) != 1 || doc.Rows[0].Service == "" || doc.Rows[0].Flows != sent.Flows {
		t.Fatalf("rows %+v, want one service of %d flows", doc.Rows, sent.Flows)
	}
	checkRow(t, doc, sent)
}

// Windows are cut wherever they fall, and add up to what the device counted.
func TestWatch(t *testing.T) {
	ns := newLiveNetns(t, "auto")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l := prepare(t, "flows", "--watch", "50ms", "-o", "json")
	l.Stdout = w
	l.start(ns)
	w.Close()
	l.awaitCounting()
	before := ns.Device()
	lines := bufio.NewReader(r)
	var sum testkit.Counters
	windows := 0
	next := func() bool {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return false
		}
		doc := parseDoc(t, line) // one, and all of it
		doc.checkSum(t)
		if !doc.Device.Agrees {
			t.Errorf("totals %+v, device %+v", doc.Totals, *doc.Device)
		}
		sum.RxPackets += doc.Totals.Packets
		sum.RxBytes += doc.Totals.Bytes
		windows++
		return true
	}
	for range 3 { // each lies in a window of its own, or across two
		sendSome(t, ns)
		if !next() {
			t.Fatalf("no window: %s", &l.stderr)
		}
	}
	device := ns.Device().Sub(before)
	l.interrupt()
	for next() {
	}
	if sum != device || windows < 3 {
		t.Errorf("%d windows make %+v, device %+v", windows, sum, device)
	}
}

// TestFormats runs every format over the same few packets.
func TestFormats(t *testing.T) {
	for _, format := range outputFormats {
		t.Run(format, func(t *testing.T) {
			testkit.OneKernel(t)
			ns := newLiveNetns(t, "auto")
			l := prepare(t, "flows", "-d", "60", "--by", "flow")
			l.Env = append(os.Environ(), "LOTRACE_OUTPUT="+format)
			l.start(ns)
			l.awaitCounting()
			sent := sendDatagrams(t, ns, 31)
			l.interrupt()
			golden := map[string][]string{
				"table":    {"31 packets", "exact"},
				"wide":     {"31 packets", "exact"},
				"markdown": {"31 packets", "exact", "| --: |"},
				"json":     {`"totals":{"packets":31,`, `"agrees":true`},
				"jsonl":    {`{"kind":"flow",`, "\n" + `{"kind":"summary",`, `"agrees":true`},
				"csv":      {"netns,family,proto,", "\n" + fmt.Sprint(ns.Inode()) + ",ipv4,udp,"},
			}
			want := append(golden[format], fmt.Sprint(sent.Server.Port()))
			for _, text := range want {
				if !strings.Contains(l.stdout.String(), text) {
					t.Errorf("no %q in:\n%s", text, &l.stdout)
				}
			}
		})
	}
}
