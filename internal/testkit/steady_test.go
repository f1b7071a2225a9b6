package testkit

import (
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tamper overwrites four bytes at the offset of every packet on lo that is longer, or drops it.
func tamper(t *testing.T, ns *Netns, proto, offset int32, drop bool) {
	t.Helper()
	const ethernet, ipProto, shot = 14, 9, 2
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.LoadAbs(ethernet+ipProto, asm.Byte),
			asm.JNE.Imm(asm.R0, proto, "pass"),
			asm.LoadMem(asm.R1, asm.R6, 0, asm.Word), // __sk_buff.len
			asm.JLE.Imm(asm.R1, offset+4, "pass"),
			asm.StoreImm(asm.RFP, -4, 0x55555555, asm.Word),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, offset),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, -4),
			asm.Mov.Imm(asm.R4, 4),
			asm.Mov.Imm(asm.R5, 0),
			asm.FnSkbStoreBytes.Call(),
			asm.Mov.Imm(asm.R0, map[bool]int32{true: shot}[drop]),
			asm.Return(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("pass"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer prog.Close()
	err = ns.Do(func() error {
		qdisc := netlink.QdiscAttrs{LinkIndex: 1, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
		if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: qdisc}); err != nil {
			return err
		}
		return netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: 1, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1,
			},
			Fd: prog.FD(), Name: "tamper", DirectAction: true,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Traffic that is left alone comes through; what is damaged or lost is noticed.
func TestSteadyNotices(t *testing.T) {
	for _, test := range []struct {
		name   string
		proto  int32
		drop   bool
		offset int32 // in the frame; 0: nobody does anything
		want   string
	}{
		{"nothing", 0, false, 0, ""},
		{"a damaged stream", unix.IPPROTO_TCP, false, 200, "what arrived over TCP is not what was sent"},
		{"a damaged datagram", unix.IPPROTO_UDP, false, 100, "another datagram came back than was sent"},
		{"a lost datagram", unix.IPPROTO_UDP, true, 100, "a datagram was lost"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := NewNetns(t)
			s := startSteady(t, ns, false, time.Second)
			s.Await(5)
			if test.offset > 0 {
				tamper(t, ns, test.proto, test.offset, test.drop)
				if test.proto == unix.IPPROTO_UDP {
					<-s.ended
				} else {
					s.Await(5)
				}
			} else {
				s.Await(100)
			}
			err := s.finish()
			if err == nil && test.want != "" || err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("noticed %v, want %q", err, test.want)
			}
		})
	}
}
