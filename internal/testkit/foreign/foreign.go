// Package foreign is what somebody else has on a loopback device: programs that count what they see, so
// that a test can tell whether they were disturbed.
package foreign

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// Program lives until its test ends, and what it is attached to as long or until the namespace does.
type Program struct {
	*ebpf.Program
	Count *ebpf.Map // of one uint64

	name string
}

// Verdicts of tc and of XDP programs.
const (
	TCXNext = -1
	TCOK    = 0
	XDPPass = 2
)

// New loads a program that counts its runs and returns the verdict. Nobody runs it yet.
func New(tb testing.TB, name string, kind ebpf.ProgramType, verdict int32) *Program {
	tb.Helper()
	count, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { count.Close() })
	var at ebpf.AttachType
	if kind == ebpf.XDP {
		at = ebpf.AttachXDP // a link takes no other in its program's place
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: kind, AttachType: at, License: "GPL",
		Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, count.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "end"),
			asm.Mov.Imm(asm.R1, 1),
			asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
			asm.Mov.Imm(asm.R0, verdict).WithSymbol("end"),
			asm.Return(),
		},
	})
	if err != nil {
		tb.Fatalf("%+v", err)
	}
	tb.Cleanup(func() { prog.Close() })
	return &Program{prog, count, name}
}

// TCX attaches a program through a link.
func TCX(tb testing.TB, ns *testkit.Netns, name string, at ebpf.AttachType, anchor link.Anchor, verdict int32) *Program {
	tb.Helper()
	f := New(tb, name, ebpf.SchedCLS, verdict)
	var l link.Link
	err := ns.Do(func() (err error) {
		l, err = link.AttachTCX(link.TCXOptions{Interface: 1, Program: f.Program, Attach: at, Anchor: anchor})
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return f
}

// XDP attaches a generic one through a link.
func XDP(tb testing.TB, ns *testkit.Netns) *Program {
	tb.Helper()
	f := New(tb, "xdp", ebpf.XDP, XDPPass)
	var l link.Link
	err := ns.Do(func() (err error) {
		l, err = link.AttachXDP(link.XDPOptions{Interface: 1, Program: f.Program, Flags: link.XDPGenericMode})
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return f
}

// AddClsact makes the qdisc that filters live in.
func AddClsact(tb testing.TB, ns *testkit.Netns) {
	tb.Helper()
	err := ns.Do(func() error {
		return netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: 1, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		}})
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// Filter puts a program into that qdisc, with the handle 1. It stays there.
func Filter(tb testing.TB, ns *testkit.Netns, name string, parent uint32, priority, protocol uint16) *Program {
	tb.Helper()
	f := New(tb, name, ebpf.SchedCLS, TCOK)
	err := ns.Do(func() error {
		return netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: 1, Parent: parent, Handle: 1, Protocol: protocol, Priority: priority,
			},
			Fd: f.Program.FD(), Name: name, DirectAction: true,
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// Neighbours puts a program wherever a hook (tcx, clsact or xdp) leaves room for one. What TC filters
// decide, no later filter hears of; so those say "let it pass" and must still come after ours.
func Neighbours(tb testing.TB, ns *testkit.Netns, hook string) []*Program {
	tb.Helper()
	var all []*Program
	if hook != "xdp" {
		all = append(all, XDP(tb, ns))
	}
	AddClsact(tb, ns)
	all = append(all,
		Filter(tb, ns, "clsact egress", netlink.HANDLE_MIN_EGRESS, 1, unix.ETH_P_ALL),
		Filter(tb, ns, "clsact ingress", netlink.HANDLE_MIN_INGRESS, 1, unix.ETH_P_ALL))
	if hook == "tcx" {
		all = append(all,
			TCX(tb, ns, "tcx egress", ebpf.AttachTCXEgress, link.Head(), TCXNext),
			TCX(tb, ns, "tcx ingress", ebpf.AttachTCXIngress, link.Head(), TCXNext))
	}
	return all
}

// CheckSee sends a prime number of datagrams, of which every one of the programs must see each once.
func CheckSee(tb testing.TB, ns *testkit.Netns, all []*Program) testkit.Sent {
	tb.Helper()
	const datagrams = 1009
	before := make([]uint64, len(all))
	for i, f := range all {
		before[i] = f.seen(tb)
	}
	sent, err := testkit.UDPCount(ns, 4, datagrams, 100)
	if err != nil {
		tb.Fatal(err)
	}
	testkit.Quiesce(ns)
	for i, f := range all {
		if saw := f.seen(tb) - before[i]; saw != datagrams {
			tb.Errorf("%s of somebody else saw %d of %d packets", f.name, saw, datagrams)
		}
	}
	return sent
}

func (f *Program) seen(tb testing.TB) uint64 {
	tb.Helper()
	var n uint64
	if err := f.Count.Lookup(uint32(0), &n); err != nil {
		tb.Fatal(err)
	}
	return n
}
