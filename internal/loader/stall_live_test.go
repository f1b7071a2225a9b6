package loader_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
	"github.com/lotrace/lotrace/internal/testkit/foreign"
)

// stuff sends more than the server's socket takes until its window is closed, and returns since when.
func (r *rig) stuff(t *testing.T, client, server net.Conn) (sent chan error, since uint64) {
	t.Helper()
	err := errors.Join(server.(*net.TCPConn).SetReadBuffer(64<<10), client.(*net.TCPConn).SetNoDelay(false))
	if err != nil {
		t.Fatal(err)
	}
	sent = make(chan error, 1)
	began := monotonic(t)
	go func() {
		_, err := client.Write(make([]byte, stuffing))
		sent <- err
	}()
	var sum healths
	r.await("closed window", func() bool {
		sum, _ = r.healths()
		return sum.Server.ClosedSinceNS != 0
	})
	since = sum.Server.ClosedSinceNS
	checkBetween(t, "closed", since, began, monotonic(t))
	return sent, since
}

// More than the socket takes, and less than a segment beyond it.
const stuffing = 128 << 10

func TestZeroWindow(t *testing.T) {
	onHooks(t, func(t *testing.T, r *rig, _ hook.Kind) {
		client, server := tcpPair(t, r.ns)
		var least, most uint64
		for range 3 {
			sent, since := r.stuff(t, client, server)
			_, slots := r.healths()
			for _, srtt := range slots[0].SRTT {
				if srtt > time.Second {
					t.Errorf("round trip of %v", srtt)
				}
			}
			time.Sleep(100 * time.Millisecond) // what a slow reader does
			least += monotonic(t) - since
			_, err := io.ReadFull(server, make([]byte, stuffing))
			if err := errors.Join(err, <-sent); err != nil {
				t.Fatal(err)
			}
			most += monotonic(t) - since
		}
		if err := errors.Join(client.Close(), server.Close()); err != nil {
			t.Fatal(err)
		}
		testkit.Quiesce(r.ns)
		sum, _ := r.healths()
		closed := sum.Server.ClosedNS
		want := healths{Server: reading.EndHealth{ZeroWindows: r.kernel("TcpExtTCPToZeroWindowAdv"), ClosedNS: closed}}
		if sum != want || r.kernel("TcpExtTCPFromZeroWindowAdv") != sum.Server.ZeroWindows {
			t.Errorf("%+v, want %+v", sum, want)
		}
		checkBetween(t, "closed for", closed, least, most)
	})
}

// A reset ends the wait for a window, whoever sends it.
func TestZeroWindowEndsWithReset(t *testing.T) {
	for _, byClient := range []bool{true, false} {
		t.Run(fmt.Sprintf("by client %v", byClient), func(t *testing.T) {
			onHooks(t, func(t *testing.T, r *rig, _ hook.Kind) {
				client, server := tcpPair(t, r.ns)
				sent, since := r.stuff(t, client, server)
				began := monotonic(t)
				if byClient {
					if err := client.(*net.TCPConn).SetLinger(0); err != nil {
						t.Fatal(err)
					}
					client, server = server, client
				}
				server.Close()
				<-sent
				client.Close()
				ended := monotonic(t)
				testkit.Quiesce(r.ns)
				sum, _ := r.healths()
				closed := sum.Server.ClosedNS
				resets := r.kernel("TcpOutRsts") // more than one where packets of the other end were on their way
				want := healths{Server: reading.EndHealth{ZeroWindows: 1, ClosedNS: closed, Resets: resets}}
				if byClient {
					want.Server.Resets, want.Client.Resets = 0, resets
				}
				if sum != want || closed < began-since || closed > ended-since {
					t.Errorf("%+v, want %+v, closed for %d to %d", sum, want, began-since, ended-since)
				}
			})
		})
	}
}

// dropLarge drops packets above 500 bytes on their way in, until it is called off.
func dropLarge(t *testing.T, ns *testkit.Netns) (off func()) {
	t.Helper()
	const tcShot = 2
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R1, asm.R1, 0, asm.Word), // skb->len
			asm.Mov.Imm(asm.R0, tcShot),
			asm.JGT.Imm(asm.R1, 500, "end"),
			asm.Mov.Imm(asm.R0, foreign.TCOK),
			asm.Return().WithSymbol("end"),
		},
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { prog.Close() })
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: 1, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1,
		},
		Fd: prog.FD(), Name: "drop", DirectAction: true,
	}
	foreign.AddClsact(t, ns)
	ns.Run(t, func() {
		if err := netlink.FilterAdd(filter); err != nil {
			t.Fatal(err)
		}
	})
	return func() {
		ns.Run(t, func() {
			if err := netlink.FilterDel(filter); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Of all that is sent again, lost tails that are probed for and what acknowledgements ask for included,
// timeouts are what the kernel calls so.
func TestTimeouts(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			testkit.RequireKernel(t, minimum(kind), "hook "+string(kind))
			ns := testkit.NewNetns(t)
			ns.SetMTU(1500)
			off := dropLarge(t, ns)
			r := newRigIn(t, ns, loader.Config{Hook: kind})
			client, server := tcpPair(t, ns)
			const size = 64 << 10
			sent := make(chan error, 1)
			go func() {
				_, err := client.Write(make([]byte, size))
				sent <- err
			}()
			r.await("timeout", func() bool { return r.kernel("TcpExtTCPTimeouts") >= 2 })
			off()
			_, err := io.ReadFull(server, make([]byte, size))
			if err := errors.Join(err, <-sent, client.Close(), server.Close()); err != nil {
				t.Fatal(err)
			}
			testkit.Quiesce(ns)
			sum, slots := r.healths()
			want := healths{Client: reading.EndHealth{Timeouts: r.kernel("TcpExtTCPTimeouts")}}
			if kind == hook.XDP {
				want = healths{} // only its socket knows why something is sent again
			}
			if sum != want {
				t.Errorf("%+v, want %+v", sum, want)
			}
			again, probes := slots[0].Dir[slots[0].Client].Retransmits, r.kernel("TcpExtTCPLossProbes")
			if probes == 0 || again <= uint64(probes+sum.Client.Timeouts) {
				t.Errorf("%d sent again, with %d probes", again, probes)
			}
		})
	}
}

// Write, write, read: with Nagle's algorithm the second write waits until the receiver, who waits for it,
// acknowledges the first at last. What leaves as late for other reasons has not stalled. Rounds take long
// where the machine is busy, too: what it spoilt is done again.
func TestNagle(t *testing.T) {
	for name, c := range map[string]manner{
		"write, write, read": {false, writeWriteRead, answerBoth, true},
		"without delay":      {true, writeWriteRead, answerBoth, false},
		"each is answered":   {false, writeWriteReadRead, answerEachSlowly, false},
		"it waits by itself": {false, writeAwaitWriteRead, answerBoth, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range allHooks {
				t.Run(string(kind), func(t *testing.T) {
					off := "not tried"
					for try := 0; off != "" && try < 8; try++ {
						off = newRig(t, loader.Config{Hook: kind}).nagle(t, c, kind != hook.XDP)
					}
					if off != "" {
						t.Error(off)
					}
				})
			}
		})
	}
}

type manner struct {
	noDelay bool
	round   func(client net.Conn) error
	serve   func(server net.Conn) error // one round
	stalls  bool                        // rounds over 20 ms are stalls
}

// nagle makes rounds and says what is off.
func (r *rig) nagle(t *testing.T, c manner, known bool) string {
	client, server := tcpPair(t, r.ns)
	if err := client.(*net.TCPConn).SetNoDelay(c.noDelay); err != nil {
		t.Fatal(err)
	}
	var slow uint32
	var waited time.Duration
	const rounds = 10
	converse(t, client, server, func() error {
		for range rounds {
			began := time.Now()
			if err := c.round(client); err != nil {
				return err
			}
			if took := time.Since(began); took > 20*time.Millisecond {
				slow++
				waited += took
			}
		}
		return nil
	}, func() error {
		for range rounds {
			if err := c.serve(server); err != nil {
				return err
			}
		}
		return nil
	})
	if c.stalls && slow == 0 {
		return "no round was slow"
	}
	if !c.stalls || !known {
		slow, waited = 0, 0
	}
	sum, _ := r.healths()
	stalled := time.Duration(sum.Client.StalledNS)
	want := healths{Client: reading.EndHealth{Stalls: slow, StalledNS: uint64(stalled)}}
	if sum != want || stalled > waited || waited-stalled > waited/10 {
		return fmt.Sprintf("%+v, want %+v; stalled for %v of %v", sum, want, stalled, waited)
	}
	return ""
}

const piece = 100

func writePiece(c net.Conn) error {
	_, err := c.Write(make([]byte, piece))
	return err
}

func readPieces(c net.Conn, pieces int) error {
	_, err := io.ReadFull(c, make([]byte, pieces*piece))
	return err
}

func writeWriteRead(client net.Conn) error {
	return errors.Join(writePiece(client), writePiece(client), readPieces(client, 1))
}

func writeWriteReadRead(client net.Conn) error {
	return errors.Join(writePiece(client), writePiece(client), readPieces(client, 2))
}

// writeAwaitWriteRead holds its second write back by itself, until the first is acknowledged.
func writeAwaitWriteRead(client net.Conn) error {
	if err := writePiece(client); err != nil {
		return err
	}
	raw, err := client.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	for unacked := 1; unacked > 0; {
		var outErr error
		err := raw.Control(func(fd uintptr) { unacked, outErr = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err := errors.Join(err, outErr); err != nil {
			return err
		}
	}
	return errors.Join(writePiece(client), readPieces(client, 1))
}

func answerBoth(server net.Conn) error { return errors.Join(readPieces(server, 2), writePiece(server)) }

// answerEachSlowly answers a write before its kernel acknowledges it by itself.
func answerEachSlowly(server net.Conn) error {
	for range 2 {
		if err := readPieces(server, 1); err != nil {
			return err
		}
		time.Sleep(25 * time.Millisecond)
		if err := writePiece(server); err != nil {
			return err
		}
	}
	return nil
}
