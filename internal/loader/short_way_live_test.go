package loader_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// usual makes a connection's packets usual ones: n requests of one byte with answers of two.
func usual(t *testing.T, client, server net.Conn, n int) {
	t.Helper()
	for range n {
		if err := errors.Join(exchange(client, server, 1, 1), exchange(server, client, 2, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// findSlot is the slot with an end at that address that has sent something, as it is at this moment; nil: none.
func (r *rig) findSlot(at net.Addr) *reading.Slot {
	r.Helper()
	var m reading.Reading
	if err := r.loader.ReadSlots(&m); err != nil {
		r.Fatal(err)
	}
	for _, s := range loader.SlotsForTest(r.loader, &m) {
		for i := range 2 {
			if s.Key.Endpoint(i) == at.(*net.TCPAddr).AddrPort() && s.Dir[i].Packets > 0 {
				return &s
			}
		}
	}
	return nil
}

// slotOf is the same once traffic rests.
func (r *rig) slotOf(at net.Addr) *reading.Slot {
	r.Helper()
	testkit.Quiesce(r.ns)
	slot := r.findSlot(at)
	if slot == nil {
		r.Fatalf("no slot of %v", at)
	}
	return slot
}

// A socket whose flow has lost its slot, which is another's by now, goes on in a slot of its own.
func TestSocketOutlivesItsSlot(t *testing.T) {
	r := newRig(t, loader.Config{})
	first, firstServer := tcpPairAt(t, r.ns, "127.0.0.1:0")
	usual(t, first, firstServer, 100)
	for round := range 3 {
		old := r.slotOf(first.LocalAddr()).Index
		if _, err := r.loader.Retire([]uint32{old}, nil); err != nil {
			t.Fatal(err)
		}
		second, secondServer := tcpPairAt(t, r.ns, "127.0.0.1:0") // takes the slot
		usual(t, second, secondServer, 100)
		// All that the first client sends is acknowledgements: payload would be out of sequence. None comes after a
		// silence, which would take the long way.
		for range 50 {
			usual(t, second, secondServer, 1)
			if err := exchange(firstServer, first, 2000, 1); err != nil {
				t.Fatal(err)
			}
		}
		slot := r.slotOf(second.LocalAddr())
		if sent := segmentsOf(t, second); slot.Index != old || slot.Dir[slot.Client].SKBs != sent {
			t.Errorf("round %d: slot %d has %d segments, slot %d was to have %d", round, slot.Index, slot.Dir[slot.Client].SKBs, old, sent)
		}
		usual(t, first, firstServer, 100)
		if err := errors.Join(second.Close(), secondServer.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(first.Close(), firstServer.Close()); err != nil {
		t.Fatal(err)
	}
}

// segmentsOf is how many segments a socket has sent.
func segmentsOf(t *testing.T, c net.Conn) uint64 {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	failed := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return uint64(info.Segs_out)
}

// One socket that is connected to one port after the other has a flow for each time.
func TestSocketConnectsAnew(t *testing.T) {
	r := newRig(t, loader.Config{})
	const n = 100
	listeners := []net.Listener{listenIn(t, r.ns), listenIn(t, r.ns)}
	var fd int
	err := r.ns.Do(func() (err error) { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for round := range 4 {
		listener := listeners[round%2]
		at := listener.Addr().(*net.TCPAddr).AddrPort()
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
			t.Fatal(err)
		}
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		in := make([]byte, 2)
		for range n {
			_, written := unix.Write(fd, in[:1])
			_, read := io.ReadFull(server, in[:1])
			_, answered := server.Write(in)
			if err := errors.Join(written, read, answered); err != nil {
				t.Fatal(err)
			}
			if got, err := unix.Read(fd, in); got != len(in) {
				t.Fatalf("%d bytes, %v", got, err)
			}
		}
		var nobody unix.RawSockaddr // of AF_UNSPEC: it disconnects
		if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nobody)), unix.SizeofSockaddrInet4); errno != 0 {
			t.Fatal(errno)
		}
		server.Close()
	}
	for _, l := range listeners {
		l.Close()
	}
	s := r.window()
	for _, f := range s.Flows.Slice() {
		if f.ToServer.PayloadBytes != n || f.ToClient.PayloadBytes != 2*n || f.Turn.Count != n {
			t.Errorf("%v: %d and %d bytes, %d turns", f.Server.AddrPort(), f.ToServer.PayloadBytes, f.ToClient.PayloadBytes, f.Turn.Count)
		}
	}
	if s.Flows.Len() != 4 {
		t.Errorf("%d flows, want 4", s.Flows.Len())
	}
}

// translate writes another source address into all packets from a port before they are counted, as NAT does whose rules
// change under a connection.
func translate(t *testing.T, ns *testkit.Netns, port uint16, to netip.Addr) (off func()) {
	t.Helper()
	const ipSource, tcpPorts = 26, 34
	addr := to.As4()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXEgress, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.Mov.Imm(asm.R2, tcpPorts),
			asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -8),
			asm.StoreImm(asm.RFP, -8, 0, asm.Word),
			asm.Mov.Imm(asm.R4, 2),
			asm.FnSkbLoadBytes.Call(),
			asm.LoadMem(asm.R1, asm.RFP, -8, asm.Half),
			asm.JNE.Imm(asm.R1, int32(port>>8|port<<8), "next"),
			asm.StoreImm(asm.RFP, -8, int64(*(*uint32)(unsafe.Pointer(&addr))), asm.Word),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, ipSource),
			asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -8),
			asm.Mov.Imm(asm.R4, 4),
			asm.Mov.Imm(asm.R5, 0),
			asm.FnSkbStoreBytes.Call(),
			asm.Mov.Imm(asm.R0, -1).WithSymbol("next"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { prog.Close() })
	var l link.Link
	err = ns.Do(func() (err error) {
		l, err = link.AttachTCX(link.TCXOptions{Interface: 1, Program: prog, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// NAT that begins in mid-life gives a connection's packets another tuple, and so another row.
func TestTupleChangesInMidLife(t *testing.T) {
	testkit.RequireKernel(t, minimum(hook.TCX), "hook tcx")
	r := newRig(t, loader.Config{Hook: hook.TCX})
	client, server := tcpPair(t, r.ns)
	usual(t, client, server, 100)
	before := r.slotOf(client.LocalAddr())
	end := int(before.Client)
	other := netip.MustParseAddr("127.0.0.9")
	off := translate(t, r.ns, before.Key.Port[end], other)
	if _, err := client.Write(make([]byte, 3)); err != nil { // nobody gets it at first
		t.Fatal(err)
	}
	at := &net.TCPAddr{IP: other.AsSlice(), Port: int(before.Key.Port[end])}
	r.await("translated packet", func() bool { return r.findSlot(at) != nil })
	if now := r.findSlot(client.LocalAddr()); now.Dir[end] != before.Dir[end] {
		t.Errorf("sent under its own address: %+v, then %+v", before.Dir[end], now.Dir[end])
	}
	off()
	if _, err := io.ReadFull(server, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	translated := r.slotOf(at)
	if sent := translated.Dir[translated.Client].PayloadBytes; sent != 3 {
		t.Errorf("%d bytes under the other address, want 3", sent)
	}
	usual(t, client, server, 100)
	after := r.slotOf(client.LocalAddr())
	if sent := after.Dir[end].PayloadBytes - before.Dir[end].PayloadBytes; sent != 100 && sent != 103 {
		t.Errorf("%d bytes under its own address, want 100 and perhaps what was sent again", sent)
	}
	if err := errors.Join(client.Close(), server.Close()); err != nil {
		t.Fatal(err)
	}
}

// A window that closes and opens between usual packets is seen each time. The server speaks while it does not read: of an
// acknowledgement alone the kernel would wait to be sure, and what comes after a silence takes the long way.
func TestWindowClosesInFastTraffic(t *testing.T) {
	r := newRig(t, loader.Config{})
	client, server := tcpPair(t, r.ns)
	if err := server.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		usual(t, client, server, 100)
		sent := make(chan error, 1)
		go func() { _, err := client.Write(make([]byte, stuffing)); sent <- err }()
		before := r.kernel("TcpExtTCPToZeroWindowAdv")
		r.await("closed window", func() bool {
			if err := exchange(server, client, 1, 1); err != nil {
				t.Fatal(err)
			}
			return r.kernel("TcpExtTCPToZeroWindowAdv") > before
		})
		if sum, _ := r.healths(); sum.Server.ZeroWindows != r.kernel("TcpExtTCPToZeroWindowAdv") {
			t.Errorf("%d closed windows, the kernel says %d", sum.Server.ZeroWindows, r.kernel("TcpExtTCPToZeroWindowAdv"))
		}
		_, err := io.ReadFull(server, make([]byte, stuffing))
		if err := errors.Join(err, <-sent); err != nil {
			t.Fatal(err)
		}
		r.await("open window", func() bool { sum, _ := r.healths(); return sum.Server.ClosedSinceNS == 0 })
	}
	usual(t, client, server, 100)
	if err := errors.Join(client.Close(), server.Close()); err != nil {
		t.Fatal(err)
	}
	testkit.Quiesce(r.ns)
	sum, _ := r.healths()
	if want := r.kernel("TcpExtTCPToZeroWindowAdv"); sum.Server.ZeroWindows != want || want < 5 {
		t.Errorf("%d closed windows, the kernel says %d", sum.Server.ZeroWindows, want)
	}
}

// IP options between the headers are no payload, even if they look like a TCP header that the socket might send.
func TestOptionsLookLikeTCP(t *testing.T) {
	r := newRig(t, loader.Config{})
	const low = 20 // a source port's lower half passes for the length of an option
	client, server := tcpPairFrom(t, r.ns, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 0x9c<<8 | low})
	usual(t, client, server, 100)
	before := r.slotOf(client.LocalAddr())
	end := int(before.Client)
	option := []byte{0x9c, low, 0, 80}
	option = append(option, u32(loader.NextSeqForTest(r.loader, before.Index, end))...)
	option = append(option, 0, 0, 0, 0, 5<<4, 0x10, 1, 1, 0, 0, 0, 0)
	raw, err := client.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_IP, unix.IP_OPTIONS, string(option))
	}); errors.Join(err, failed) != nil {
		t.Fatal(err)
	}
	if err := exchange(server, client, 2000, 50); err != nil { // of the client there are acknowledgements
		t.Fatal(err)
	}
	if after := r.slotOf(client.LocalAddr()); after.Dir[end].PayloadBytes != before.Dir[end].PayloadBytes {
		t.Errorf("%d bytes of payload in options", after.Dir[end].PayloadBytes-before.Dir[end].PayloadBytes)
	}
	if err := errors.Join(client.Close(), server.Close()); err != nil {
		t.Fatal(err)
	}
	r.window()
}

func u32(n uint32) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }

func tcpPairFrom(t *testing.T, ns *testkit.Netns, local net.Addr) (client, server net.Conn) {
	t.Helper()
	ns.Run(t, func() {
		l, err := net.Listen("tcp", "127.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		d := net.Dialer{LocalAddr: local}
		if client, err = d.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
	})
	return client, server
}
