package loader_test

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/testkit"
)

// foreign is a program of somebody else, which counts what it sees.
type foreign struct {
	name  string
	prog  *ebpf.Program
	count *ebpf.Map
}

// Verdicts of tc and of XDP programs.
const (
	tcxNext = -1
	tcOK    = 0
	xdpPass = 2
)

func newForeign(t *testing.T, name string, kind ebpf.ProgramType, verdict int32) *foreign {
	t.Helper()
	count, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { count.Close() })
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: kind, License: "GPL",
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
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { prog.Close() })
	return &foreign{name, prog, count}
}

func foreignTCX(t *testing.T, ns *testkit.Netns, name string, at ebpf.AttachType, anchor link.Anchor, verdict int32) *foreign {
	t.Helper()
	f := newForeign(t, name, ebpf.SchedCLS, verdict)
	var l link.Link
	err := ns.Do(func() (err error) {
		l, err = link.AttachTCX(link.TCXOptions{Interface: 1, Program: f.prog, Attach: at, Anchor: anchor})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return f
}

func foreignXDP(t *testing.T, ns *testkit.Netns) *foreign {
	t.Helper()
	f := newForeign(t, "xdp", ebpf.XDP, xdpPass)
	var l link.Link
	err := ns.Do(func() (err error) {
		l, err = link.AttachXDP(link.XDPOptions{Interface: 1, Program: f.prog, Flags: link.XDPGenericMode})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return f
}

func addClsact(t *testing.T, ns *testkit.Netns) {
	t.Helper()
	err := ns.Do(func() error {
		return netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: 1, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func foreignFilter(t *testing.T, ns *testkit.Netns, name string, parent uint32, priority, protocol uint16) *foreign {
	t.Helper()
	f := newForeign(t, name, ebpf.SchedCLS, tcOK)
	err := ns.Do(func() error {
		return netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: 1, Parent: parent, Handle: 1, Protocol: protocol, Priority: priority,
			},
			Fd: f.prog.FD(), Name: name, DirectAction: true,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// neighbours puts somebody else's program wherever the hook leaves room for one. What TC filters
// decide, no later filter hears of; so those say "let it pass" and must still come after ours.
func neighbours(t *testing.T, ns *testkit.Netns, hook loader.Hook) []*foreign {
	t.Helper()
	var all []*foreign
	if hook != loader.HookXDP {
		all = append(all, foreignXDP(t, ns))
	}
	addClsact(t, ns)
	all = append(all,
		foreignFilter(t, ns, "clsact egress", netlink.HANDLE_MIN_EGRESS, 1, unix.ETH_P_ALL),
		foreignFilter(t, ns, "clsact ingress", netlink.HANDLE_MIN_INGRESS, 1, unix.ETH_P_ALL))
	if hook == loader.HookTCX {
		all = append(all,
			foreignTCX(t, ns, "tcx egress", ebpf.AttachTCXEgress, link.Head(), tcxNext),
			foreignTCX(t, ns, "tcx ingress", ebpf.AttachTCXIngress, link.Head(), tcxNext))
	}
	return all
}

// checkSee sends a prime number of datagrams, of which every one of the programs must see each once.
func checkSee(t *testing.T, ns *testkit.Netns, all []*foreign) testkit.Sent {
	t.Helper()
	const datagrams = 1009
	before := make([]uint64, len(all))
	for i, f := range all {
		before[i] = f.seen(t)
	}
	sent, err := testkit.UDPCount(ns, 4, datagrams, 100)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Quiesce(ns)
	for i, f := range all {
		if saw := f.seen(t) - before[i]; saw != datagrams {
			t.Errorf("%s of somebody else saw %d of %d packets", f.name, saw, datagrams)
		}
	}
	return sent
}

func (f *foreign) seen(t *testing.T) uint64 {
	t.Helper()
	var n uint64
	if err := f.count.Lookup(uint32(0), &n); err != nil {
		t.Fatal(err)
	}
	return n
}
