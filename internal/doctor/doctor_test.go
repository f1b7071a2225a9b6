package doctor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/testkit"
)

// named finds one check.
func named(t *testing.T, checks []Check, name string) Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s among %+v", name, checks)
	return Check{}
}

func TestProbe(t *testing.T) {
	testkit.CheckFDs(t)
	ns := testkit.NewNetns(t)
	checks := Probe(ns.Path())
	for _, c := range checks {
		if c.Required && c.Status != StatusOK {
			t.Errorf("%+v", c)
		}
	}
	for _, name := range []string{"clsact", "xdp", "listeners", "attached", "leftovers", "drops"} {
		if c := named(t, checks, name); c.Status != StatusOK {
			t.Errorf("%+v", c)
		}
	}
	self, reasons := SelfCheck(ns.Path())
	if self.Status != StatusOK || reasons["counted"] == 0 {
		t.Errorf("%+v, reasons %v", self, reasons)
	}
	if got := ns.Device().RxPackets; reasons["counted"] > got {
		t.Errorf("%d packets counted, %d on the device", reasons["counted"], got)
	}
	ns.Run(t, func() { checkNothingOn(t, 1) })
}

// checkNothingOn fails unless the device is as if new.
func checkNothingOn(t *testing.T, ifindex int) {
	t.Helper()
	lo, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		t.Fatal(err)
	}
	device, err := hook.OpenDevice()
	if err != nil {
		t.Fatal(err)
	}
	there, err := device.Attached()
	if err = errors.Join(err, device.Close()); err != nil {
		t.Fatal(err)
	}
	if len(there.Others)+len(there.Leftovers) != 0 {
		t.Errorf("left: %+v", there)
	}
	qdiscs, err := netlink.QdiscList(lo)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range qdiscs {
		if q.Type() == "clsact" {
			t.Error("left: a clsact qdisc")
		}
	}
}

func TestProbeTCX(t *testing.T) {
	testkit.RequireKernel(t, "6.6", "tcx")
	ns := testkit.NewNetns(t)
	stop := attachTCX(t, ns, passes(t, "other_tcx"))
	defer stop()
	for range 2 { // the first one leaves it there
		checks := Probe(ns.Path())
		if c := named(t, checks, "attached"); c.Status != StatusOK || !strings.Contains(c.Found, "other_tcx") {
			t.Errorf("%+v", c)
		}
		if c := named(t, checks, "tcx"); c.Status != StatusOK {
			t.Errorf("%+v", c)
		}
	}
}

// passes is a program of somebody else that lets every packet go on.
func passes(t *testing.T, name string) *ebpf.Program {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         name,
		Type:         ebpf.SchedCLS,
		License:      "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program
}

func attachTCX(t *testing.T, ns *testkit.Netns, program *ebpf.Program) (stop func()) {
	t.Helper()
	var tcx link.Link
	ns.Run(t, func() {
		var err error
		tcx, err = link.AttachTCX(link.TCXOptions{Interface: 1, Program: program, Attach: ebpf.AttachTCXEgress})
		if err != nil {
			t.Fatal(err)
		}
	})
	return func() { tcx.Close() }
}

// deadMark names the filter of a lotrace of our number that was here before us.
func deadMark(t *testing.T) string {
	t.Helper()
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	clocks, err := os.Readlink("/proc/self/ns/time")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return fmt.Sprintf("lotrace/%d/0/%s%s/shared", os.Getpid(), pids, clocks)
}

// Filters of others under clsact, and those that a killed run has left, are told apart and left alone.
func TestProbeClsact(t *testing.T) {
	ns := testkit.NewNetns(t)
	dead := deadMark(t)
	program := passes(t, "other_clsact")
	ns.Run(t, func() {
		qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: 1, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		}}
		if err := netlink.QdiscAdd(qdisc); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"somebody's", dead} {
			if err := netlink.FilterAdd(&netlink.BpfFilter{
				FilterAttrs: netlink.FilterAttrs{
					LinkIndex: 1, Parent: netlink.HANDLE_MIN_EGRESS, Handle: uint32(i + 1), Protocol: unix.ETH_P_ALL, Priority: 7,
				},
				Fd: program.FD(), Name: name, DirectAction: true,
			}); err != nil {
				t.Fatal(err)
			}
		}
	})
	for range 2 {
		checks := Probe(ns.Path())
		if c := named(t, checks, "attached"); c.Found != "clsact egress: somebody's" {
			t.Errorf("%+v", c)
		}
		if c := named(t, checks, "leftovers"); c.Status != StatusWarn || !strings.Contains(c.Found, dead) || c.Fix == "" {
			t.Errorf("%+v", c)
		}
		if c := named(t, checks, "clsact"); c.Status != StatusOK {
			t.Errorf("%+v", c)
		}
	}
}

func TestProbeDown(t *testing.T) {
	ns := testkit.NewNetns(t)
	ns.Run(t, func() {
		if err := netlink.LinkSetDown(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}); err != nil {
			t.Fatal(err)
		}
	})
	if c := named(t, Probe(ns.Path()), "loopback"); c.Status != StatusWarn || c.Fix != "sudo ip link set lo up" {
		t.Errorf("%+v", c)
	}
	if c, reasons := SelfCheck(ns.Path()); c.Status != StatusWarn || reasons == nil {
		t.Errorf("%+v, reasons %v", c, reasons)
	}
}

func TestProbeNowhere(t *testing.T) {
	const name = "no-such-namespace"
	if c := named(t, Probe(name), "netns"); c.Status != StatusFail || !strings.Contains(c.Found, name) {
		t.Errorf("%+v", c)
	}
	if c, reasons := SelfCheck(name); c.Status != StatusFail || reasons != nil {
		t.Errorf("%+v, reasons %v", c, reasons)
	}
}

// Frames that pass the hook by are on the device and in no count: the self-check must say so.
func TestSelfCheckDisagrees(t *testing.T) {
	ns := testkit.NewNetns(t)
	stop := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		if err := ns.Do(func() error { return sendPastHook(stop) }); err != nil {
			t.Error(err)
		}
	})
	defer sender.Wait()
	defer close(stop)
	// One that slips between two readings is enough, but it takes a second CPU's time.
	for range 20 {
		c, reasons := SelfCheck(ns.Path())
		if c.Status == StatusFail && reasons != nil {
			return
		}
	}
	t.Error("agreed every time")
}

// sendPastHook sends ARP requests around the queueing layer.
func sendPastHook(stop <-chan struct{}) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return err
	}
	frame := testkit.Packet(testkit.ARP())
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: 1})
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return os.NewSyscallError("sendto", err)
		}
	}
}

func TestCheckKernel(t *testing.T) {
	for release, want := range map[string]Status{
		"6.18.44":        StatusOK,
		"6.1.0-9-amd64":  StatusOK,
		"10.0.0":         StatusOK,
		"6.0.19":         StatusWarn,
		"5.14.0-el9":     StatusWarn,
		"unknown":        StatusWarn,
		"5.13.19":        StatusFail,
		"4.18.0-553.el8": StatusFail,
	} {
		c := checkKernel(release)
		if c.Status != want || !strings.Contains(c.Found, release) || (c.Status == StatusFail) != (c.Fix == "use Linux 6.1 or newer") {
			t.Errorf("%s: %+v", release, c)
		}
	}
}

func TestCheckLockdown(t *testing.T) {
	for mode, want := range map[string]Status{
		"": StatusOK, "none": StatusOK, "integrity": StatusOK, "confidentiality": StatusFail,
	} {
		if c := checkLockdown(mode); c.Status != want {
			t.Errorf("%q: %+v", mode, c)
		}
	}
}

func TestCgroup2Mount(t *testing.T) {
	const hybrid = "tmpfs /sys/fs/cgroup tmpfs ro 0 0\n" +
		"cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n" +
		"cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
	const v1 = "cgroup2 /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
	for mounts, want := range map[string]string{hybrid: "/sys/fs/cgroup/unified", v1: "", "": ""} {
		if got := cgroup2Mount(mounts); got != want {
			t.Errorf("%q in %q", got, mounts)
		}
	}
}

func TestSoftnetDropped(t *testing.T) {
	const text = "0015aff3 00000010 00000001 00000000\n0015da85 0000000a 00000000 00000000\n"
	if got := softnetDropped(text); got != 26 {
		t.Errorf("%d dropped, want 26", got)
	}
}

func TestExplain(t *testing.T) {
	cause := &advice.Error{Doing: "attach tcx egress", Need: "Linux 6.6", Found: "this is 6.1", Fix: "use --hook clsact"}
	found, fix := explain(errors.Join(cause, errors.New("close: bad")))
	if found != "attach tcx egress: needs Linux 6.6, this is 6.1; close: bad" || fix != "use --hook clsact" {
		t.Errorf("%q, fix %q", found, fix)
	}
	if found, fix := explain(unix.EIO); found != unix.EIO.Error() || fix != "" {
		t.Errorf("%q, fix %q", found, fix)
	}
}
