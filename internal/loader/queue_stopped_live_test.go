package loader_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/testkit"
	"github.com/lotrace/lotrace/internal/testkit/foreign"
)

func tcpInfo(tb testing.TB, c syscall.Conn) (info *unix.TCPInfo) {
	tb.Helper()
	control(tb, c, func(fd int) (err error) {
		info, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		return err
	})
	return info
}

func awaitState(t *testing.T, c syscall.Conn, state uint8) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); tcpInfo(t, c).State != state; {
		if time.Now().After(deadline) {
			t.Fatalf("state %d, want %d", tcpInfo(t, c).State, state)
		}
	}
}

// A receiver that does not read stops its sender, and both ends tell as much as the sockets themselves.
func TestUnacknowledgedBytes(t *testing.T) { onHooks(t, testUnacknowledgedBytes) }

func testUnacknowledgedBytes(t *testing.T, r *rig, _ hook.Kind) {
	client, server := tcpEnds(t, r.ns, "tcp", "127.0.0.1:80", "127.0.0.1:80")
	fill(t, client)
	r.checkStopped(client, server, 0)
	// Its end waits behind all the bytes.
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.checkStopped(client, server, 1)
}

// fill writes until the socket takes no more.
func fill(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for failed == nil {
			_, failed = unix.Write(int(fd), make([]byte, 1<<16))
		}
		return true
	})
	if err != nil || !errors.Is(failed, unix.EAGAIN) {
		t.Fatal(err, failed)
	}
}

// checkStopped compares both ends' queues with what the sockets say, in a moment in which that is the same
// before and after. The sender's own number counts its end.
func (r *rig) checkStopped(sender, receiver *net.TCPConn, end uint32) {
	r.Helper()
	ask := func() [2]uint32 {
		return [2]uint32{inQueue(r, sender, unix.SIOCOUTQ), inQueue(r, receiver, unix.SIOCINQ)}
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		before := ask()
		got, _ := r.queues()
		if ask() != before {
			continue
		}
		if before[0] <= end || before[1] == 0 {
			r.Fatalf("%d unacknowledged, %d unread: nothing is stopped", before[0], before[1])
		}
		want := map[netip.AddrPort]queue{local(sender): {Send: before[0] - end}, local(receiver): {Receive: before[1]}}
		r.compareQueues(want, got)
		return
	}
	r.Fatal("the queues never rested")
}

// dropFifth lets the fifth large skb that arrives on lo vanish.
func dropFifth(t *testing.T, ns *testkit.Netns) {
	t.Helper()
	f := foreign.New(t, "drop", ebpf.SchedCLS, foreign.TCXNext) // for its map
	const large, drop = 10_000, 2
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R1, asm.R1, 0, asm.Word), // __sk_buff.len
			asm.JLT.Imm(asm.R1, large, "pass"),
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, f.Count.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "pass"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
			asm.JNE.Imm(asm.R1, 5, "pass"),
			asm.Mov.Imm(asm.R0, drop),
			asm.Return(),
			asm.Mov.Imm(asm.R0, foreign.TCXNext).WithSymbol("pass"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { prog.Close() })
	var l link.Link
	err = ns.Do(func() (err error) {
		l, err = link.AttachTCX(link.TCXOptions{Interface: 1, Program: prog, Attach: ebpf.AttachTCXIngress})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func TestOutOfOrder(t *testing.T) {
	testkit.RequireKernel(t, minimum(hook.TCX), "dropping by "+string(hook.TCX))
	onHooks(t, testOutOfOrder)
}

func testOutOfOrder(t *testing.T, r *rig, _ hook.Kind) {
	dropFifth(t, r.ns)
	client, server := tcpEnds(t, r.ns, "tcp", "127.0.0.1:80", "127.0.0.1:80")
	const n = 8 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(make([]byte, n))
		sent <- err
	}()
	if _, err := io.ReadFull(server, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	want := tcpInfo(t, server).Rcv_ooopack
	if want == 0 {
		t.Fatal("everything came in order")
	}
	r.checkQueues(map[netip.AddrPort]queue{local(server): {OutOfOrder: want}})
}
