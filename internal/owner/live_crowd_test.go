package owner_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/owner"
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/testkit"
)

// newSmallRig has less room than a crowd takes: for flows, and for what is known of processes.
func newSmallRig(t *testing.T, ns *testkit.Netns, kind hook.Kind, maxFlows int) *rig {
	t.Helper()
	r := newRigIn(t, ns, loader.Config{Hook: kind, MaxFlows: maxFlows})
	r.resolver = owner.New(owner.Config{Scan: r.loader.Holders, Engines: []string{}, MaxProcesses: 64})
	t.Cleanup(func() { r.resolver.Close() })
	listeners, err := r.loader.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	r.engine, err = stats.Start(r.loader, stats.Config{MaxFlows: maxFlows, Owners: r.resolver, Listeners: listeners})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// watching keeps what a watch of the rig shows. A connection that two windows share is two rows.
type watching struct {
	stop  context.CancelFunc
	ended chan struct{}
	flows []model.Flow // these two once it has ended
	err   error
}

func (r *rig) watch() *watching {
	ctx, stop := context.WithCancel(context.Background())
	w := &watching{stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		timing := live.Timing{Interval: 100 * time.Millisecond}
		w.err = live.Loop(ctx, timing, live.Parts{Engine: r.engine}, live.Sinks{Window: func(s *model.Window) error {
			w.flows = append(w.flows, s.Flows.Slice()...)
			if s.Overflow.Packets != 0 {
				return fmt.Errorf("overflow %+v", s.ByCause)
			}
			return nil
		}})
	}()
	r.Cleanup(w.end)
	return w
}

// end returns after a last window.
func (w *watching) end() {
	w.stop()
	<-w.ended
}

// startWorkers starts prefork servers, which share one socket, or servers with a socket each. They
// all have one address.
func startWorkers(t *testing.T, ns *testkit.Netns, prefork bool) (procs [workers]*testkit.Proc, addr string) {
	t.Helper()
	addr = "127.0.0.1:0"
	var files []*os.File
	if prefork {
		file := listenerFile(t, ns, addr)
		defer file.Close()
		files = []*os.File{file}
	}
	for i := range procs {
		child := testkit.Child{Role: "worker", Args: []string{strconv.Itoa(i)}, Files: files}
		if !prefork {
			child.Args = append(child.Args, addr)
		}
		procs[i] = ns.StartChild(t, child)
		addr = procs[i].Expect(t, "ready ")
	}
	return procs, addr
}

func listenerFile(t *testing.T, ns *testkit.Netns, addr string) *os.File {
	t.Helper()
	var file *os.File
	err := ns.Do(func() error {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		defer listener.Close()
		file, err = listener.(*net.TCPListener).File()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// testimony is what a client said of its connection. Every client has one.
type testimony struct {
	port           uint16
	client, server int // PIDs
}

// Processes that live for one request, behind a few ports, under servers that share theirs; seen by
// both hooks side by side.
func TestCrowd(t *testing.T) {
	testkit.RequireRoot(t)
	t.Run("prefork", func(t *testing.T) { testCrowd(t, true) })
	t.Run("reuseport", func(t *testing.T) { testCrowd(t, false) })
}

func testCrowd(t *testing.T, prefork bool) {
	clients := 2000
	if testing.Short() {
		clients = 200
	}
	ns := testkit.NewNetns(t)
	setPorts(t, ns, clients*3/4) // some are used twice
	servers, addr := startWorkers(t, ns, prefork)
	watchings := map[hook.Kind]*watching{}
	for _, kind := range []hook.Kind{hook.Clsact, hook.TCX} {
		if kind != hook.TCX || testkit.HasKernel(t, "6.6") {
			watchings[kind] = newSmallRig(t, ns, kind, loader.MinFlows).watch()
		}
	}
	talks := runCrowd(t, ns, clients, addr)
	testkit.Quiesce(ns)
	for kind, w := range watchings {
		w.end()
		t.Run(string(kind), func(t *testing.T) {
			if w.err != nil {
				t.Fatal(w.err)
			}
			checkNames(t, w.flows, servers)
			checkTalks(t, w.flows, talks)
		})
	}
}

// runCrowd returns what all clients said of their connections.
func runCrowd(t *testing.T, ns *testkit.Netns, clients int, addr string) []testimony {
	t.Helper()
	p := ns.Start(t, "crowd", strconv.Itoa(clients), addr)
	talks := make([]testimony, clients)
	served, ports := map[int]bool{}, map[uint16]bool{}
	for i := range talks {
		talk := &talks[i]
		if _, err := fmt.Sscan(p.Expect(t, "talk "), &talk.port, &talk.client, &talk.server); err != nil {
			t.Fatal(err)
		}
		served[talk.server], ports[talk.port] = true, true
	}
	p.Wait(t)
	if len(served) < 2 {
		t.Errorf("one server did all the work")
	}
	t.Logf("%d clients, %d ports, %d servers", clients, len(ports), len(served))
	return talks
}

// setPorts leaves the namespace so many ports for clients.
func setPorts(t *testing.T, ns *testkit.Netns, n int) {
	t.Helper()
	const first = 20_000
	err := ns.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", fmt.Appendf(nil, "%d %d", first, first+n-1), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pidOf is 0 for an unknown owner, and -1 for the kernel.
func pidOf(o *model.Owner) int {
	switch {
	case o == nil:
		return 0
	case o.PID == 0:
		return -1
	}
	return int(o.PID)
}

// checkTalks holds the rows against what the clients said. Ports repeat, and a row may be of a window
// in which nobody had accepted the connection yet: what it says of one end must be true of some
// connection from that port.
func checkTalks(t *testing.T, flows []model.Flow, talks []testimony) {
	t.Helper()
	said := map[testimony]bool{}
	for _, whole := range talks {
		client, server := whole, whole
		client.server, server.client = 0, 0
		said[whole], said[client], said[server] = true, true, true
	}
	shown := map[testimony]bool{}
	for i := range flows {
		f := &flows[i]
		row := testimony{port: f.Client.Port, client: pidOf(f.Client.Owner), server: pidOf(f.Server.Owner)}
		switch {
		case row.client == 0 && row.server == 0:
		case !said[row]:
			t.Errorf("wrong owner: %+v, client %+v, server %+v", row, f.Client.Owner, f.Server.Owner)
		case row.client != 0 && row.server != 0:
			shown[row] = true
		}
	}
	if unknown := len(talks) - len(shown); unknown*1000 > len(talks) {
		t.Errorf("both owners known of %d in %d connections", len(shown), len(talks))
	}
	t.Logf("both owners known of %d in %d connections, %d rows", len(shown), len(talks), len(flows))
}

// checkNames holds names and users against PIDs.
func checkNames(t *testing.T, flows []model.Flow, servers [workers]*testkit.Proc) {
	t.Helper()
	numbers := map[int]int{}
	for n, p := range servers {
		numbers[p.PID] = n
	}
	for i := range flows {
		if o := flows[i].Client.Owner; o != nil {
			checkName(t, o, clientName(pidOf(o)), clientUID+pidOf(o))
		}
		if o := flows[i].Server.Owner; o != nil {
			n := numbers[pidOf(o)]
			checkName(t, o, workerName(n), workerUID+n)
		}
	}
}

func checkName(t *testing.T, o *model.Owner, comm string, uid int) {
	t.Helper()
	if o.Comm != comm || int(o.UID) != uid || o.Source != model.OwnerKernel {
		t.Errorf("got %+v, want comm %s, uid %d", o, comm, uid)
	}
}

// 50,000 connections in half a minute are what is asked for. Here it is a sixth of that, in which
// every slot has to be used again, and none is lost or lacks an owner.
func TestStorm(t *testing.T) {
	batches, batch := 50, 1000
	if testing.Short() {
		batch = 50
	}
	const slots = 1 << 15
	ns := testkit.NewNetns(t)
	server := ns.Start(t, "worker", "0", "0.0.0.0:0")
	_, port, err := net.SplitHostPort(server.Expect(t, "ready "))
	if err != nil {
		t.Fatal(err)
	}
	r := newSmallRig(t, ns, hook.Auto, slots)
	args := []string{strconv.Itoa(batches), strconv.Itoa(batch)}
	for i := range 4 { // with one address, ports would run out
		args = append(args, fmt.Sprintf("127.0.0.%d:%s", 1+i, port))
	}
	p := ns.Start(t, "storm", args...)
	done, swept := make(chan struct{}), make(chan error, 1)
	go func() { swept <- sweep(r.engine, done) }()
	p.Expect(t, "done")
	close(done)
	if err := <-swept; err != nil {
		t.Fatal(err)
	}

	s := r.window()
	rows := s.Flows.Slice()
	for i := range rows {
		if f := &rows[i]; pidOf(f.Client.Owner) != p.PID || pidOf(f.Server.Owner) != server.PID {
			t.Errorf("port %d: client %+v, server %+v", f.Client.Port, f.Client.Owner, f.Server.Owner)
		}
	}
	if s.Flows.Len() != batches*batch || s.Overflow.Packets != 0 {
		t.Errorf("%d rows for %d connections, overflow %+v", s.Flows.Len(), batches*batch, s.ByCause)
	}
}

// sweep frees slots as a watch does, but leaves the window to who comes after.
func sweep(engine *stats.Engine, done <-chan struct{}) error {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ticker.C:
			if err := engine.Sweep(); err != nil {
				return err
			}
		}
	}
}
