package loader

import (
	"io"
	"net"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/testkit"
)

// The instructions that a packet of a client, and one of a server, may execute above an empty program: on a TCP
// connection that is known, everything on. They are what it takes now and a little more.
const (
	maxClientInstructions = 260
	maxServerInstructions = 390
)

// One packet in four looks for its owner, so four in a row are counted at once. What the kernel does meanwhile at a
// tick hits a few of these; the median is exact.
func TestInstructions(t *testing.T) {
	testkit.RequireInstructionClock(t)
	ns := testkit.NewNetns(t)
	l, err := Open(Config{Netns: ns.Path(), Hook: hook.TCX})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	empty := emptyProgram(t, ns)
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()

	const warm, inRow, rows = 200, 4, 250
	ends := connectedEnds(t, ns)
	for range warm {
		sendMessage(t, ends[0], ends[1])
		sendMessage(t, ends[1], ends[0])
	}
	var took [2][]float64
	for range rows {
		var row [2]float64
		for range inRow {
			for end := range ends {
				row[end] += timeOfRuns(t, l.coll.Programs["lotrace_egress"], empty, func() {
					sendMessage(t, ends[end], ends[1-end])
				})
			}
		}
		for end := range row {
			took[end] = append(took[end], row[end]/inRow)
		}
	}
	for end, most := range []float64{maxClientInstructions, maxServerInstructions} {
		slices.Sort(took[end])
		name, each := []string{"client", "server"}[end], took[end][rows/2]
		t.Logf("a packet of the %s executes %.0f instructions", name, each)
		if each > most || each < 1 {
			t.Errorf("a packet of the %s executes %.0f instructions above an empty program, at most %.0f are due", name, each, most)
		}
	}
}

// timeOfRuns is what one program takes beyond another during f, in which each has to run once.
func timeOfRuns(t *testing.T, program, beyond *ebpf.Program, f func()) float64 {
	t.Helper()
	programs := []*ebpf.Program{program, beyond}
	var before, took [2]*ebpf.ProgramStats
	read := func(into *[2]*ebpf.ProgramStats) {
		for i, p := range programs {
			var err error
			if into[i], err = p.Stats(); err != nil {
				t.Fatal(err)
			}
		}
	}
	read(&before)
	f()
	read(&took)
	for i := range programs {
		if runs := took[i].RunCount - before[i].RunCount; runs != 1 {
			t.Fatalf("%v ran %d times for one packet", programs[i], runs)
		}
	}
	return float64(took[0].Runtime - before[0].Runtime - (took[1].Runtime - before[1].Runtime))
}

// emptyProgram sees the same packets, and does nothing.
func emptyProgram(t *testing.T, ns *testkit.Netns) *ebpf.Program {
	t.Helper()
	const next = -1
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, next), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	var at link.Link
	err = ns.Do(func() (err error) {
		at, err = link.AttachTCX(link.TCXOptions{Interface: 1, Program: program, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { at.Close() })
	return program
}

// connectedEnds are the client's and the server's end of a connection.
func connectedEnds(t *testing.T, ns *testkit.Netns) (ends [2]net.Conn) {
	t.Helper()
	err := ns.Do(func() error {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer listener.Close()
		if ends[0], err = net.Dial("tcp4", listener.Addr().String()); err != nil {
			return err
		}
		ends[1], err = listener.Accept()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range ends {
		t.Cleanup(func() { end.Close() })
	}
	return ends
}

// sendMessage sends 64 bytes and has them read.
func sendMessage(t *testing.T, from io.Writer, to io.Reader) {
	t.Helper()
	var message [64]byte
	if _, err := from.Write(message[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, message[:]); err != nil {
		t.Fatal(err)
	}
}
