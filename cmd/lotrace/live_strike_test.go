package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/testkit"
	"github.com/lotrace/lotrace/internal/testkit/foreign"
)

func strikeKill(o *ordeal) {
	o.watch()
	kill(o.run)
}

// strikeEarly kills runs on their way to counting: at moments spread over it, and between load and
// attach.
func strikeEarly(o *ordeal) {
	o.send(o.hook == "clsact") // as with any qdisc of that kind that comes or goes
	begin := time.Now()
	late := startCounting(o, o.ns, o.args()...)
	whole := time.Since(begin)
	left := tracesOf(late, o.ns, o.clean)
	kill(late)
	left.checkGone(o)
	moments := 5
	if testkit.Long() {
		moments = 60
	}
	for i := range moments {
		begin := time.Now()
		o.killOnce(func(int) bool { return time.Since(begin) >= whole*time.Duration(i)/time.Duration(moments) })
	}
	const tries = 50
	for range tries {
		loaded, attached := o.killOnce(func(pid int) bool { return holdsProgram(testkit.ListBPF(o, pid)) })
		if loaded && !attached {
			return
		}
	}
	o.Errorf("%d tries hit no moment between load and attach", tries)
}

// killOnce starts a run, kills it once it is due, and says what it had by then.
func (o *ordeal) killOnce(due func(pid int) bool) (loaded, attached bool) {
	o.Helper()
	early := prepare(o, o.args()...)
	early.start(o.ns)
	for !due(early.Process.Pid) {
		o.traffic.Await(1)
	}
	stop(early)
	left := traces{o.ns, o.clean, testkit.ListBPF(o, early.Process.Pid), childrenOf(o, early.Process.Pid)}
	loaded, attached = holdsProgram(left.objects), !cmp.Equal(o.clean, o.ns.Attached())
	kill(early)
	left.checkGone(o)
	return loaded, attached
}

func holdsProgram(objects []testkit.BPFObject) bool {
	return slices.ContainsFunc(objects, func(b testkit.BPFObject) bool { return b.Kind == "prog" })
}

// stop returns when no thread of the run is running any more.
func stop(l *program) {
	l.Helper()
	err := l.Process.Signal(syscall.SIGSTOP)
	if err == nil {
		var info unix.Siginfo
		err = unix.Waitid(unix.P_PID, l.Process.Pid, &info, unix.WSTOPPED, nil)
	}
	if err != nil {
		l.Fatal(err)
	}
}

func (l *program) resume() {
	l.Helper()
	if err := l.Process.Signal(syscall.SIGCONT); err != nil {
		l.Fatal(err)
	}
}

// strikeMemory lets a run have so little memory that it cannot keep what it must keep.
func strikeMemory(o *ordeal) {
	group := testkit.NewMemoryGroup(o)
	o.run = prepare(o, o.args()...)
	o.run.start(o.ns)
	group.Add(o.run.Process.Pid)
	o.counts(false)
	group.Leave(1 << 20)
	for ended := false; !ended; {
		o.connections(500)
		select {
		case <-o.run.ended:
			ended = true
		default:
		}
	}
	if code := o.run.end(); code != -1 || group.Kills() != 1 {
		o.Errorf("exit code %d, %d killed: %s", code, group.Kills(), &o.run.stderr)
	}
}

func (o *ordeal) connections(n int) {
	o.Helper()
	if _, err := testkit.ShortConnections(o.ns, 4, n, 4); err != nil {
		o.Fatal(err)
	}
}

// strikeStop keeps a run from giving slots back.
func strikeStop(o *ordeal) {
	o.watch("--max-flows", fmt.Sprint(loader.MinFlows))
	stop(o.run)
	begin := time.Now()
	o.connections(loader.MinFlows + 100)
	for time.Since(begin) < lasting() {
		o.traffic.Await(10)
	}
	o.run.resume()
	o.checkDeclared(o.exact())
}

// checkDeclared wants packets that the table had no room for, and said to be so.
func (o *ordeal) checkDeclared(doc *liveDoc) {
	o.Helper()
	if full := doc.Totals.Overflow.ByCause["table_full"]; full.Packets == 0 {
		o.Errorf("overflow %+v", doc.Totals.Overflow)
	}
}

func strikeTable(o *ordeal) {
	o.watch("--max-flows", fmt.Sprint(loader.MinFlows))
	sendFlows(o.T, o.ns, 2*loader.MinFlows)
	o.checkDeclared(o.exact())
}

// strikeRing has more slow turns than there is room for until the next reading.
func strikeRing(o *ordeal) {
	o.watch("--slow", "1us")
	stop(o.run)
	if _, err := testkit.PingPong(o.ns, 4, 3000, 64); err != nil {
		o.Fatal(err)
	}
	o.run.resume()
	o.exact()
	var doc struct {
		SlowLost uint64 `json:"slow_lost"`
	}
	if err := json.Unmarshal(o.run.stdout.Bytes(), &doc); err != nil || doc.SlowLost == 0 {
		o.Errorf("%d slow turns lost: %v", doc.SlowLost, err)
	}
}

func strikeDisk(o *ordeal) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		o.Fatal(err)
	}
	defer full.Close()
	o.run = prepare(o, o.args("--watch", "300ms")...)
	o.run.Stdout = full
	o.run.start(o.ns)
	o.counts(false)
	o.ends(exitFailed, "lotrace: flows: write /dev/stdout: no space left on device\n")
}

// strikeDevice has packets on their way while the device is down: they pass us, unless we are behind it,
// and it drops them. That is a gap, and said to be one.
func strikeDevice(o *ordeal) {
	o.run = prepare(o, o.args()...)
	o.run.start(o.ns)
	o.counts(true)
	for range 2 {
		setLo(o.T, o.ns, netlink.LinkSetDown)
		setLo(o.T, o.ns, netlink.LinkSetUp)
		o.traffic.Await(5)
	}
	o.checkTraffic()
	testkit.Quiesce(o.ns)
	o.run.interrupt()
	doc := parseDoc(o, o.run.stdout.Bytes())
	doc.checkSum(o)
	device := o.ns.Device().Sub(o.before)
	lost := doc.Totals.Packets - device.RxPackets // older kernels do not count them as dropped
	if doc.Totals.Packets < device.RxPackets || lost > 100 || lost > 0 && o.hook == "xdp" ||
		doc.Device.Packets != device.RxPackets || doc.Device.Dropped != device.Dropped || doc.Device.Agrees != (lost == 0) {
		o.Errorf("totals %+v, device %+v, which counted %+v", doc.Totals, *doc.Device, device)
	}
}

// strikeNamespace takes away the name by which we know it.
func strikeNamespace(o *ordeal) {
	name := filepath.Join(o.TempDir(), "netns")
	remove := bindNetns(o.T, o.ns, name)
	o.run = prepare(o, o.args("--netns", name)...)
	o.run.start(testkit.NewNetns(o))
	o.counts(false)
	remove()
	o.ends(exitOK, "lotrace: "+name+": the network namespace is gone: counting ended\n")
	doc := parseDoc(o, o.run.stdout.Bytes())
	doc.checkSum(o)
	if !doc.Device.Agrees || doc.Totals.Packets == 0 {
		o.Errorf("totals %+v, device %+v", doc.Totals, *doc.Device)
	}
}

// taken is what a run says of which somebody took the program away.
const taken = "lotrace: flows: count on lo: somebody else removed or replaced our program; start again\n"

// endsUncounted lets traffic pass behind the back of a run that was stopped before its program was taken.
// It must find that out, say so and end.
func (o *ordeal) endsUncounted() {
	o.Helper()
	o.traffic.Await(5)
	o.run.resume()
	o.ends(exitFailed, taken)
	doc := parseDoc(o, o.run.stdout.Bytes())
	doc.checkSum(o)
	if doc.Device.Agrees || doc.Totals.Packets == 0 || doc.Totals.Packets >= doc.Device.Packets {
		o.Errorf("totals %+v, device %+v", doc.Totals, *doc.Device)
	}
}

func strikeRemoval(o *ordeal) {
	o.watch()
	stop(o.run)
	if o.hook == "clsact" {
		o.do(func() error { return netlink.FilterDel(o.ourFilter()) })
	} else {
		o.withOurLink(link.Link.Detach)
	}
	o.endsUncounted()
}

// strikeReplacement puts another program into our place. In a filter's it stays, which is theirs now.
func strikeReplacement(o *ordeal) {
	o.watch()
	stop(o.run)
	if o.hook != "clsact" {
		kind, verdict := ebpf.SchedCLS, int32(foreign.TCXNext)
		if o.hook == "xdp" {
			kind, verdict = ebpf.XDP, foreign.XDPPass
		}
		theirs := foreign.New(o, "theirs", kind, verdict)
		o.withOurLink(func(ours link.Link) error { return ours.Update(theirs.Program) })
		o.endsUncounted()
		return
	}
	theirs := o.ourFilter()
	program := foreign.New(o, "theirs", ebpf.SchedCLS, foreign.TCXNext)
	theirs.Fd, theirs.Name, theirs.ClassId = program.FD(), "theirs", 0
	o.do(func() error { return netlink.FilterReplace(theirs) })
	o.endsUncounted()
	if left := o.ns.Attached(); len(left.Filters) != len(o.clean.Filters)+1 {
		o.Errorf("the filter in our place is gone: %+v", left)
	}
	o.do(func() error { return netlink.FilterDel(theirs) })
}

// strikeQdisc is "tc qdisc del dev lo clsact", which takes everybody's filters away.
func strikeQdisc(o *ordeal) {
	o.run = prepare(o, o.args()...)
	o.run.start(o.ns)
	o.counts(true)
	stop(o.run)
	o.do(func() error {
		return netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: 1, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		}})
	})
	o.clean.Qdiscs, o.clean.Filters = []string{"noqueue"}, nil
	o.traces.before, o.others = o.clean, o.others[:1] // XDP
	o.endsUncounted()
}

func (o *ordeal) do(f func() error) {
	o.Helper()
	if err := o.ns.Do(f); err != nil {
		o.Fatal(err)
	}
}

// withOurLink gets at the run's link to the device as bpftool would.
func (o *ordeal) withOurLink(f func(link.Link) error) {
	o.Helper()
	for _, object := range o.traces.objects {
		if object.Kind != "link" {
			continue
		}
		l, err := link.NewFromID(link.ID(object.ID))
		if err != nil {
			o.Fatal(err)
		}
		defer l.Close()
		info, err := l.Info()
		if err != nil {
			o.Fatal(err)
		}
		if info.Type == link.TCXType || info.Type == link.XDPType {
			if err := f(l); err != nil {
				o.Fatal(err)
			}
			return
		}
	}
	o.Fatal("no link to a device")
}

func (o *ordeal) ourFilter() *netlink.BpfFilter {
	o.Helper()
	lo := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}
	var ours *netlink.BpfFilter
	o.do(func() error {
		filters, err := netlink.FilterList(lo, netlink.HANDLE_MIN_EGRESS)
		for _, f := range filters {
			if bpf, ok := f.(*netlink.BpfFilter); ok && strings.HasPrefix(bpf.Name, "lotrace/") {
				ours = bpf
			}
		}
		return err
	})
	if ours == nil {
		o.Fatal("no filter of ours")
	}
	return ours
}

// strikeSecond has another one come and be killed. A device takes one XDP program, so there it is one at
// another hook.
func strikeSecond(o *ordeal) {
	o.watch()
	beside := o.ns.Attached()
	hook := o.hook
	if hook == "xdp" {
		hook = "clsact"
	}
	second := startCounting(o, o.ns, "flows", "-d", "600", "--hook", hook)
	left := tracesOf(second, o.ns, beside)
	o.traffic.Await(50)
	kill(second)
	left.checkGone(o)
	o.exact()
}

// strikeClocks runs in a time namespace whose clocks are an hour ahead, beside one that does not.
func strikeClocks(o *ordeal) {
	testkit.RequireKernel(o, "6.2", "a time namespace without fork")
	o.run = prepare(o, o.args()...)
	begin := time.Now()
	hourAhead(o, func() error { return o.ns.Do(o.run.Start) })
	o.run.started()
	o.counts(false)
	startCounting(o, o.ns, "flows", "-d", "600", "--hook", o.hook).interrupt()
	o.exact()
	var doc struct {
		Rows []struct {
			First  time.Time `json:"first_seen"`
			Last   time.Time `json:"last_seen"`
			Server struct{ Exe *string }
		}
	}
	if err := json.Unmarshal(o.run.stdout.Bytes(), &doc); err != nil || len(doc.Rows) == 0 {
		o.Errorf("%d rows: %v", len(doc.Rows), err)
	}
	for _, row := range doc.Rows {
		if row.First.Before(begin) || row.Last.After(time.Now()) || row.Server.Exe == nil {
			o.Errorf("row %+v is not of the time since %v", row, begin)
		}
	}
}

// hourAhead runs f on a thread whose children are in such a namespace. The thread ends with it.
func hourAhead(o *ordeal, f func() error) {
	o.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWTIME)
		if err == nil {
			err = os.WriteFile(fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid()),
				[]byte("monotonic 3600 0\nboottime 3600 0\n"), 0)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		o.Fatal(errors.Join(errors.New("make a time namespace"), err))
	}
}
