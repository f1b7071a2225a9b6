package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/testkit"
	"github.com/lotrace/lotrace/internal/testkit/foreign"
)

// Where the hook makes no difference, one is enough; clsact leaves the most behind, on every kernel.
var (
	tcHooks    = []string{"tcx", "clsact"}
	clsactOnly = []string{"clsact"}
)

// faults are what may happen to a run. docs/faults.md has the same names.
var faults = []struct {
	name   string
	hooks  []string // nil: each
	long   bool     // one hook is enough where time is short
	ours   bool     // the kernel has no part in it
	alone  bool     // nobody else has programs there, so that the clsact qdisc is ours
	strike func(*ordeal)
}{
	{name: "killed", strike: strikeKill},
	{name: "killed early", long: true, alone: true, strike: strikeEarly},
	{name: "out of memory", hooks: tcHooks, long: true, strike: strikeMemory},
	{name: "stopped", long: true, ours: true, strike: strikeStop},
	{name: "full table", hooks: clsactOnly, ours: true, strike: strikeTable},
	{name: "full ring of slow turns", hooks: clsactOnly, ours: true, strike: strikeRing},
	{name: "full disk", hooks: clsactOnly, ours: true, strike: strikeDisk},
	{name: "device down and up", long: true, strike: strikeDevice},
	{name: "namespace gone", hooks: tcHooks, strike: strikeNamespace},
	{name: "program removed", strike: strikeRemoval},
	{name: "program replaced", strike: strikeReplacement},
	{name: "qdisc deleted", hooks: clsactOnly, strike: strikeQdisc},
	{name: "two at once", long: true, strike: strikeSecond},
	{name: "other clocks", hooks: tcHooks, ours: true, strike: strikeClocks},
}

// TestFaults lets each of them happen while hashed traffic flows. It must not be disturbed, nothing of
// ours may stay, others' programs must see what they saw before, and the next run must count as if
// nothing had been.
func TestFaults(t *testing.T) {
	for _, f := range faults {
		hooks := f.hooks
		switch {
		case f.long && testing.Short():
			hooks = clsactOnly
		case hooks == nil:
			hooks = liveHooks
		}
		for _, hook := range hooks {
			t.Run(f.name+"/"+hook, func(t *testing.T) {
				if f.ours {
					testkit.OneKernel(t)
				}
				o := newOrdeal(t, hook, f.alone)
				f.strike(o)
				o.aftermath()
			})
		}
	}
}

// ordeal is what a fault happens to.
type ordeal struct {
	*testing.T
	hook    string
	ns      *testkit.Netns
	others  []*foreign.Program
	clean   testkit.Attached // what must be there in the end
	pace    time.Duration    // of traffic that nobody watches
	traffic *testkit.Steady

	run    *program
	traces *traces
	before testkit.Counters // as traffic began
}

// Of traffic under a fault, so many rounds may take so many times as long as with nobody watching. A busy
// machine does not make all of several tries slow.
const (
	paceRounds = 50
	paceFactor = 20
	paceTries  = 5
)

func newOrdeal(t *testing.T, hook string, alone bool) *ordeal {
	t.Helper()
	o := &ordeal{T: t, hook: hook, ns: newLiveNetns(t, hook)}
	if !alone {
		o.others = foreign.Neighbours(t, o.ns, hook)
	}
	o.clean = o.ns.Attached()
	undisturbed := testkit.NewSteady(t, o.ns, false)
	o.pace = undisturbed.Await(paceRounds)
	undisturbed.Stop()
	testkit.Quiesce(o.ns)
	return o
}

// args is a command line that counts until it is ended.
func (o *ordeal) args(more ...string) []string {
	return append([]string{"flows", "-d", "600", "-o", "json", "--hook", o.hook}, more...)
}

// watch begins the run, and then traffic, so that the device's counters say what must be counted.
func (o *ordeal) watch(more ...string) {
	o.Helper()
	o.run = prepare(o, o.args(more...)...)
	o.run.start(o.ns)
	o.counts(false)
}

// counts waits until the run counts, and begins traffic.
func (o *ordeal) counts(mayLose bool) {
	o.Helper()
	o.run.awaitCounting()
	o.traces = tracesOf(o.run, o.ns, o.clean)
	o.before = o.ns.Device()
	o.send(mayLose)
}

func (o *ordeal) send(mayLose bool) {
	o.Helper()
	o.traffic = testkit.NewSteady(o, o.ns, mayLose)
	o.traffic.Await(5)
}

// exact ends traffic and a run that has survived; not a packet may be missing.
func (o *ordeal) exact() *liveDoc {
	o.Helper()
	o.checkTraffic()
	testkit.Quiesce(o.ns)
	o.run.interrupt()
	doc := parseDoc(o, o.run.stdout.Bytes())
	doc.checkExact(o, o.ns.Device().Sub(o.before))
	return doc
}

// ends waits for a run that ends by itself, saying so.
func (o *ordeal) ends(code int, says string) {
	o.Helper()
	if got := o.run.end(); got != code {
		o.Errorf("exit code %d, want %d", got, code)
	}
	if said := o.run.stderr.String(); !strings.Contains(said, says) {
		o.Errorf("said %q, not %q", said, says)
	}
}

// checkTraffic ends it. The fault has lost and damaged nothing, and did not bring it to a halt.
func (o *ordeal) checkTraffic() {
	o.Helper()
	took := o.traffic.Await(paceRounds)
	for try := 1; took > paceFactor*o.pace && try < paceTries; try++ {
		took = o.traffic.Await(paceRounds)
	}
	if took > paceFactor*o.pace {
		o.Errorf("%d rounds took %v, and %v before", paceRounds, took, o.pace)
	}
	o.traffic.Stop()
	o.traffic = nil
}

// aftermath looks at what is left, and has the next run count.
func (o *ordeal) aftermath() {
	o.Helper()
	if o.traffic != nil {
		o.checkTraffic()
	}
	if o.traces != nil {
		o.traces.checkGone(o)
	}
	if diff := cmp.Diff(o.clean, o.ns.Attached()); diff != "" {
		o.Errorf("left behind (-before +after): %s", diff)
	}
	testkit.Quiesce(o.ns)
	next := startCounting(o, o.ns, o.args()...)
	before := o.ns.Device()
	foreign.CheckSee(o, o.ns, o.others)
	sendSome(o, o.ns)
	next.interrupt()
	parseDoc(o, next.stdout.Bytes()).checkExact(o, o.ns.Device().Sub(before))
}

// lasting is how long a fault lasts that could last for ever.
func lasting() time.Duration {
	if testkit.Long() {
		return 10 * time.Second
	}
	return time.Second / 2
}

func TestFaultsAreDocumented(t *testing.T) {
	var want []string
	for _, f := range faults {
		want = append(want, f.name)
	}
	got := firstCells(section(t, document(t, "docs/faults.md"), "## While it counts"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table in docs/faults.md (-tests +page): %s", diff)
	}
}
