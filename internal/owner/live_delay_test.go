package owner_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/owner"
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/testkit"
)

func init() { testkit.RegisterRole("poll", poll) }

// mostDelay is what a line may be late for the sake of names.
const mostDelay = 20 * time.Millisecond

// waits adds up for how long it was allowed to wait.
type waits struct {
	*owner.Resolver
	allowed time.Duration
}

func (w *waits) Settle(limit time.Duration) {
	w.allowed += limit
	w.Resolver.Settle(limit)
}

// While a lookup hangs for as long as it likes, windows show what is known.
func TestWindowWhileLookupHangs(t *testing.T) {
	r := newRig(t, loader.Config{})
	server := r.ns.Start(t, "worker", "0", "127.0.0.1:0")
	client := meet(t, r.ns.Start(t, "talk", server.Expect(t, "ready ")))
	client.ask(t)
	testkit.Quiesce(r.ns)

	proc := t.TempDir()
	stat := filepath.Join(proc, strconv.Itoa(client.PID), "stat")
	if err := errors.Join(os.Mkdir(filepath.Dir(stat), 0o755), unix.Mkfifo(stat, 0o644)); err != nil {
		t.Fatal(err)
	}
	owners := &waits{Resolver: owner.New(owner.Config{Proc: proc, Engines: []string{}})}
	defer owners.Close()
	defer awaitReader(t, stat) // who hung all the time, and may go now
	engine, err := stats.Start(r.loader, stats.Config{MaxFlows: loader.DefaultFlows, Owners: owners})
	if err != nil {
		t.Fatal(err)
	}
	client.ask(t)
	testkit.Quiesce(r.ns)
	shown := make(chan *model.Window)
	go func() {
		defer close(shown)
		if s, err := engine.Window(new(model.Flows)); err != nil {
			t.Error(err)
		} else {
			shown <- s
		}
	}()
	select {
	case s := <-shown:
		if o := rowOf(t, s, client.port).Client.Owner; pidOf(o) != client.PID || o.Exe != "" {
			t.Errorf("got %+v, want PID %d and no more", o, client.PID)
		}
	case <-time.After(patience):
		t.Fatal("the window waits for the lookup")
	}
	if owners.allowed > mostDelay {
		t.Errorf("a window may wait for %v", owners.allowed)
	}
}

// awaitReader waits until somebody opens the named pipe to read, and lets him find it empty.
func awaitReader(t *testing.T, path string) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-ticker.C {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
			return
		}
		if !errors.Is(err, unix.ENXIO) {
			t.Fatal(err)
		}
	}
	t.Fatalf("nobody opened %s", path)
}

// poll accepts as many connections as its argument says. At every line of its standard input it asks
// a question on each of them.
func poll(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("ready", listener.Addr())
	conns := make([]net.Conn, n)
	for i := range conns {
		if conns[i], err = listener.Accept(); err != nil {
			return err
		}
	}
	fmt.Println("connected")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		for _, conn := range conns {
			if _, err := ask(conn, "hello"); err != nil {
				return err
			}
		}
		fmt.Println("polled")
	}
	return nil
}

// processes forks as many as the first argument says. As many of these as the second says connect to
// the third, and answer each line with their PID. All end with their parent: its end of the pipe is
// the only one.
const processes = `
my ($n, $talkers, $addr) = ($ARGV[0], $ARGV[1], pack('H*', $ARGV[2]));
pipe(my $end, my $mine) or die "pipe: $!";
for my $i (1 .. $n) {
	my $pid = fork();
	if (!defined $pid) { print "forked ", $i - 1, "\n"; <STDIN>; exit }
	next if $pid;
	close($mine);
	if ($i > $talkers) { sysread($end, my $byte, 1); exit }
	socket(my $s, unpack('S', $addr), 1, 0) or die "socket: $!";
	connect($s, $addr) or die "connect: $!";
	while (sysread($s, my $line, 100)) { syswrite($s, "$$\n") }
	exit;
}
print "forked $n\n";
<STDIN>;
`

// The benchmark measures what names cost a window on a busy machine, when nobody has been looked up yet, and when all were a
// moment ago; against an engine beside it that names nobody. 5,000 processes are alive, and a tenth
// of them has traffic.
func BenchmarkWindowWith5000Processes(b *testing.B) {
	const alive, talkers = 5000, 500
	testkit.RequirePerl(b)
	r := newRig(b, loader.Config{})
	server := r.ns.Start(b, "poll", strconv.Itoa(talkers))
	addr := testkit.PerlAddr(netip.MustParseAddrPort(server.Expect(b, "ready ")))
	parent := r.ns.Perl(b, processes, strconv.Itoa(alive), strconv.Itoa(talkers), addr)
	if got := parent.Expect(b, "forked "); got != strconv.Itoa(alive) {
		b.Skipf("needs %d processes, got %s", alive, got)
	}
	server.Expect(b, "connected")

	var first, again delays
	for b.Loop() {
		resolver := owner.New(owner.Config{Scan: r.loader.Holders, Engines: []string{}})
		if err := resolver.ScanNow(); err != nil {
			b.Fatal(err)
		}
		engines := [2]*stats.Engine{startEngine(b, r.loader, nil), startEngine(b, r.loader, resolver)}
		for _, d := range []*delays{&first, &again} {
			server.Send(b, "")
			server.Expect(b, "polled")
			d.measure(b, engines, talkers)
			resolver.Settle(patience)
		}
		resolver.Close()
	}
	b.ReportMetric(0, "ns/op")
	first.report(b, "first")
	again.report(b, "again")
}

func startEngine(b *testing.B, source stats.Source, owners stats.Owners) *stats.Engine {
	b.Helper()
	engine, err := stats.Start(source, stats.Config{MaxFlows: loader.DefaultFlows, Owners: owners})
	if err != nil {
		b.Fatal(err)
	}
	return engine
}

// delays is how long windows took without names and with them, and how much longer with.
type delays struct {
	plain, named, more []time.Duration
	rows               [2]model.Flows // of the engines' newest windows
}

// measure times a window of each engine, now the one first and now the other. The second is the one
// with names, for all of so many rows.
func (d *delays) measure(b *testing.B, engines [2]*stats.Engine, rows int) {
	b.Helper()
	var took [2]time.Duration
	for turn := range engines {
		i := (turn + len(d.more)) % len(engines)
		began := time.Now()
		s, err := engines[i].Window(&d.rows[i])
		took[i] = time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
		for f := range s.Flows.All() {
			if i == 1 && (f.Client.Owner == nil || f.Server.Owner == nil) {
				b.Fatalf("port %d: client %+v, server %+v", f.Client.Port, f.Client.Owner, f.Server.Owner)
			}
		}
		if s.Flows.Len() != rows {
			b.Fatalf("%d rows, want %d", s.Flows.Len(), rows)
		}
	}
	d.plain, d.named = append(d.plain, took[0]), append(d.named, took[1])
	d.more = append(d.more, took[1]-took[0])
}

func (d *delays) report(b *testing.B, name string) {
	for _, durations := range [][]time.Duration{d.plain, d.named, d.more} {
		slices.Sort(durations)
	}
	middle := len(d.more) / 2
	b.ReportMetric(milliseconds(d.plain[middle]), name+"-plain-ms")
	b.ReportMetric(milliseconds(d.named[middle]), name+"-named-ms")
	b.ReportMetric(milliseconds(d.more[middle]), name+"-delay-ms")
	b.ReportMetric(milliseconds(d.more[len(d.more)-1]), name+"-delay-max-ms")
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
