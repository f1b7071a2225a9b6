package loader_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
	"github.com/lotrace/lotrace/internal/testkit/foreign"
)

// envCount makes this test binary count with the hook it names until it is killed.
const envCount = "LOTRACE_TEST_COUNT"

func TestMain(m *testing.M) {
	testkit.RunRole()
	kind := os.Getenv(envCount)
	if kind == "" {
		os.Exit(m.Run())
	}
	l, err := loader.Open(loader.Config{Hook: hook.Kind(kind)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("counting")
	err = unix.Pause()
	fmt.Println(err, l.Close())
	os.Exit(1)
}

// counter is another process that counts, without a guardian.
type counter struct {
	*exec.Cmd
	held []testkit.BPFObject
}

func startCounter(t *testing.T, ns *testkit.Netns, kind hook.Kind) *counter {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envCount+"="+string(kind))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	c := &counter{Cmd: cmd}
	t.Cleanup(c.kill)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "counting\n" {
		t.Fatalf("the other process said %q: %v", line, err)
	}
	c.held = testkit.HeldBPF(t, cmd.Process.Pid)
	return c
}

// kill does not ask. It may be called again.
func (c *counter) kill() {
	_ = c.Process.Kill()
	_ = c.Wait()
}

// countOnce ends the window, in which our own numbers must be the sender's.
func (r *rig) countOnce(sent testkit.Sent) {
	r.Helper()
	r.checkSent(r.window(), sent)
}

func checkAttached(t *testing.T, ns *testkit.Netns, want testkit.Attached, when string) {
	t.Helper()
	if diff := cmp.Diff(want, ns.Attached()); diff != "" {
		t.Errorf("%s (-want +got): %s", when, diff)
	}
}

func TestNeighboursNoticeNothing(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			testkit.RequireRoot(t)
			testkit.RequireKernel(t, minimum(kind), "hook "+string(kind))
			ns := testkit.NewNetns(t)
			all := foreign.Neighbours(t, ns, string(kind))
			foreign.CheckSee(t, ns, all)
			before := ns.Attached()

			r := newRigIn(t, ns, loader.Config{Hook: kind, Stages: kind != hook.XDP})
			r.countOnce(foreign.CheckSee(t, ns, all))
			if err := r.loader.Close(); err != nil {
				t.Fatal(err)
			}
			checkAttached(t, ns, before, "after Close")
			foreign.CheckSee(t, ns, all)

			startCounter(t, ns, kind).kill()
			if kind != hook.Clsact {
				checkAttached(t, ns, before, "after SIGKILL")
			}
			foreign.CheckSee(t, ns, all)
		})
	}
}

// Ours goes before those that are there, so that one which lets a packet pass at once hides none from
// us; a program that came after us and put itself first sees what we see.
func TestOrder(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, minimum(hook.TCX), "hook tcx")
	ns := testkit.NewNetns(t)
	behind := foreign.TCX(t, ns, "tcx behind us", ebpf.AttachTCXEgress, link.Head(), foreign.TCOK)
	r := newRigIn(t, ns, loader.Config{Hook: hook.TCX})
	before := foreign.TCX(t, ns, "tcx before us", ebpf.AttachTCXEgress, link.Head(), foreign.TCXNext)
	r.countOnce(foreign.CheckSee(t, ns, []*foreign.Program{before, behind}))
}

// A filter for one protocol that has the first priority keeps ours from it. That is said.
func TestFilterBeforeOurs(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	foreign.AddClsact(t, ns)
	foreign.Filter(t, ns, "ip only", netlink.HANDLE_MIN_EGRESS, 1, unix.ETH_P_IP)
	before := ns.Attached()
	r := newRigIn(t, ns, loader.Config{Hook: hook.Clsact})
	if warnings := strings.Join(r.loader.Warnings(), "\n"); !strings.Contains(warnings, "comes first") {
		t.Errorf("warnings: %q", warnings)
	}
	if err := r.loader.Close(); err != nil {
		t.Fatal(err)
	}
	checkAttached(t, ns, before, "after Close")
}

// An ingress qdisc sits where clsact would.
func TestIngressQdiscIsLeftAlone(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	err := ns.Do(func() error {
		return netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: 1, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
	before := ns.Attached()
	checkRefused(t, ns, hook.Clsact, "use --hook tcx, or remove that qdisc")
	checkAttached(t, ns, before, "after the refusal")
}

// checkRefused opens the hook, which must fail with that advice.
func checkRefused(t *testing.T, ns *testkit.Netns, kind hook.Kind, fix string) {
	t.Helper()
	l, err := loader.Open(loader.Config{Netns: ns.Path(), Hook: kind})
	if err == nil {
		t.Fatal(errors.Join(errors.New("opened"), l.Close()))
	}
	var advised *advice.Error
	if !errors.As(err, &advised) || advised.Fix != fix {
		t.Errorf("%v", err)
	}
}

func TestOneXDPProgramOnly(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, minimum(hook.XDP), "hook xdp")
	ns := testkit.NewNetns(t)
	theirs := foreign.XDP(t, ns)
	before := ns.Attached()
	checkRefused(t, ns, hook.XDP, "use --hook auto")
	checkAttached(t, ns, before, "after the refusal")
	foreign.CheckSee(t, ns, []*foreign.Program{theirs})
}

// Two that count at once are both exact, and one that ends leaves the other alone.
func TestTwoAtOnce(t *testing.T) {
	for _, first := range allHooks {
		for _, second := range allHooks {
			if first == hook.XDP && second == hook.XDP {
				continue // a device takes one
			}
			t.Run(fmt.Sprintf("%s and %s", first, second), func(t *testing.T) {
				a := newRig(t, loader.Config{Hook: first})
				testkit.RequireKernel(t, minimum(second), "hook "+string(second))
				before := a.ns.Attached()
				b := newRigIn(t, a.ns, loader.Config{Hook: second})
				if _, err := a.engine.Window(new(model.Flows)); err != nil { // what attaching the second one sent
					t.Fatal(err)
				}
				sent := foreign.CheckSee(t, a.ns, nil)
				a.countOnce(sent)
				b.countOnce(sent)
				if err := b.loader.Close(); err != nil {
					t.Fatal(err)
				}
				checkAttached(t, a.ns, before, "after the second ended")
				a.countOnce(foreign.CheckSee(t, a.ns, nil))
			})
		}
	}
}

// A qdisc that was there before us stays, though nobody uses it.
func TestForeignQdiscStays(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	foreign.AddClsact(t, ns)
	before := ns.Attached()
	openAndClose(t, ns)
	checkAttached(t, ns, before, "after Close")
	startCounter(t, ns, hook.Clsact).kill()
	openAndClose(t, ns)
	checkAttached(t, ns, before, "after SIGKILL and the next one")
}

// The one that ends first made the qdisc; the other one goes on, and takes it away in the end.
func TestQdiscOutlivesItsMaker(t *testing.T) {
	a := newRig(t, loader.Config{Hook: hook.Clsact})
	b := newRigIn(t, a.ns, loader.Config{Hook: hook.Clsact})
	if err := a.loader.Close(); err != nil {
		t.Fatal(err)
	}
	b.countOnce(foreign.CheckSee(t, b.ns, nil))
	if err := b.loader.Close(); err != nil {
		t.Fatal(err)
	}
	checkAttached(t, b.ns, testkit.Attached{Qdiscs: []string{"noqueue"}}, "after both")
}

// A next run removes what a killed one has left: filters of the dead, and nothing else.
func TestSweep(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			testkit.RequireRoot(t)
			ns := testkit.NewNetns(t)
			var theirs []*foreign.Program
			if shared {
				theirs = foreign.Neighbours(t, ns, string(hook.Clsact))
			}
			before := ns.Attached()
			living := startCounter(t, ns, hook.Clsact)
			beside := ns.Attached()
			dead := startCounter(t, ns, hook.Clsact)
			dead.kill()
			if left := ns.Attached(); len(left.Filters) != len(beside.Filters)+1 {
				t.Fatalf("SIGKILL left %+v beside %+v: nothing to sweep", left, beside)
			}
			openAndClose(t, ns)
			testkit.CheckBPFGone(t, dead.held)
			checkAttached(t, ns, beside, "the living one remains")
			foreign.CheckSee(t, ns, theirs)

			living.kill()
			openAndClose(t, ns)
			testkit.CheckBPFGone(t, living.held)
			checkAttached(t, ns, before, "after the last")
			foreign.CheckSee(t, ns, theirs)
		})
	}
}

func openAndClose(t *testing.T, ns *testkit.Netns) {
	t.Helper()
	l, err := loader.Open(loader.Config{Netns: ns.Path(), Hook: hook.Clsact})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// After Close and after SIGKILL the kernel holds no program, map or link of ours.
func TestNothingStaysInTheKernel(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind})
			held := testkit.HeldBPF(t, os.Getpid())
			if err := r.loader.Close(); err != nil {
				t.Fatal(err)
			}
			runtime.GC() // unmaps what the BPF library keeps of closed maps
			testkit.CheckBPFGone(t, held)
			checkAttached(t, r.ns, testkit.Attached{Qdiscs: []string{"noqueue"}}, "after Close")

			killed := startCounter(t, r.ns, kind)
			killed.kill()
			if kind == hook.Clsact {
				openAndClose(t, r.ns)
			}
			testkit.CheckBPFGone(t, killed.held)
			checkAttached(t, r.ns, testkit.Attached{Qdiscs: []string{"noqueue"}}, "after SIGKILL")
		})
	}
}

// Coming and going again and again disturbs neither traffic nor neighbours, and adds up to nothing.
func TestManyCycles(t *testing.T) {
	cycles := 100
	if testkit.Long() {
		cycles = 1000
	}
	if testing.Short() {
		cycles = 12
	}
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			testkit.RequireRoot(t)
			testkit.RequireKernel(t, minimum(kind), "hook "+string(kind))
			ns := testkit.NewNetns(t)
			testkit.CheckFDs(t)
			theirs := foreign.Neighbours(t, ns, string(kind))
			before := ns.Attached()
			traffic := testkit.NewSteady(t, ns, false)
			var held []testkit.BPFObject
			others := testkit.ListBPF(t, os.Getpid())
			for range cycles / len(allHooks) {
				l, err := loader.Open(loader.Config{Netns: ns.Path(), Hook: kind})
				if err != nil {
					t.Fatal(err)
				}
				held = append(held, testkit.HeldBPF(t, os.Getpid())...)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			traffic.Stop()
			runtime.GC() // unmaps what the BPF library keeps of closed maps
			held = slices.DeleteFunc(held, func(o testkit.BPFObject) bool { return slices.Contains(others, o) })
			testkit.CheckBPFGone(t, held)
			checkAttached(t, ns, before, "after the last")
			foreign.CheckSee(t, ns, theirs)
			r := newRigIn(t, ns, loader.Config{Hook: kind})
			r.countOnce(foreign.CheckSee(t, ns, theirs))
		})
	}
}
