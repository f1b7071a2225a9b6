package loader

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/refparse"
	"github.com/lotrace/lotrace/internal/testkit"
)

// bench is a loaded program that is attached nowhere and runs on frames handed to it.
type bench struct {
	*Loader
	program *ebpf.Program
	verdict uint32 // the one that lets a packet pass
}

// etherHeader is the shortest frame that the kernel takes for a test run, and that lo carries.
const etherHeader = 14

func newBench(tb testing.TB, c Config) *bench {
	tb.Helper()
	if err := c.setDefaults(); err != nil {
		tb.Fatal(err)
	}
	l := &Loader{kind: c.Hook, stages: c.Stages}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := l.load(c); err != nil {
		tb.Fatalf("%+v", err)
	}
	b := &bench{Loader: l, program: l.program}
	const tcxNext, xdpPass = ^uint32(0), 2
	b.verdict = tcxNext
	if c.Hook == hook.XDP {
		b.verdict = xdpPass
	}
	return b
}

// outcome is what one frame did.
type outcome struct {
	Verdict uint32
	Reasons map[string]model.Count // those that were counted
	Slots   []reading.Slot
}

// run passes one frame through the program, with the table as new.
func (b *bench) run(frame []byte) (outcome, error) {
	var out outcome
	before, err := b.reasonsNow()
	if err != nil {
		return out, err
	}
	out.Verdict, err = b.program.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		return out, err
	}
	after, err := b.reasonsNow()
	if err != nil {
		return out, err
	}
	out.Reasons = make(map[string]model.Count)
	for i := range after {
		if d := after[i].Sub(before[i]); d != (model.Count{}) {
			out.Reasons[reading.Reason(i).String()] = d
		}
	}
	var counted reading.Reading
	if err := b.table.read(&counted, false); err != nil {
		return out, err
	}
	out.Slots = b.table.slotsOf(&counted)
	return out, b.reset()
}

// reset empties table, index and fragments.
func (b *bench) reset() error {
	used, err := b.table.reach()
	if err != nil {
		return err
	}
	for i := range used {
		if err := b.table.index.Delete(b.table.slots.at[i].Key); err != nil {
			return fmt.Errorf("empty index: %w", err)
		}
		b.table.slots.at[i] = lotraceLtSlot{}
	}
	if err := b.table.pools.Set(lotraceLtPools{}); err != nil {
		return err
	}
	frags := b.coll.Maps["lt_frags"]
	key := make([]byte, frags.KeySize())
	for frags.NextKey(nil, &key) == nil {
		if err := frags.Delete(key); err != nil {
			return fmt.Errorf("empty fragments: %w", err)
		}
	}
	return nil
}

// refused reports that the kernel takes no such frame for a test run of a TC program: since 6.18 it
// wants the fixed part of the IP header to be there. XDP runs cover these, and so does the live test
// that sends them.
func (b *bench) refused(frame []byte, err error) bool {
	header := map[[2]byte]int{{0x08, 0x00}: 20, {0x86, 0xdd}: 40}[[2]byte(frame[12:])]
	return b.kind != hook.XDP && errors.Is(err, unix.EINVAL) && len(frame) < etherHeader+header
}

// check passes a frame through the program and compares with the reference parser.
func (b *bench) check(tb testing.TB, frame []byte) {
	tb.Helper()
	got, err := b.run(frame)
	if b.refused(frame, err) {
		return
	}
	if err != nil {
		tb.Fatalf("run % x: %v", frame, err)
	}
	want := refparse.Parse(frame)
	bytes := uint64(len(frame) - etherHeader)
	reason := want.Reason
	if reason == refparse.OK {
		reason = "counted"
	}
	wantReasons := map[string]model.Count{reason: {SKBs: 1, Packets: 1, Bytes: bytes}}
	if got.Verdict != b.verdict {
		tb.Errorf("verdict %d, want %d: % x", got.Verdict, b.verdict, frame)
	}
	if diff := cmp.Diff(wantReasons, got.Reasons); diff != "" {
		tb.Errorf("reasons (-want +got): %s% x", diff, frame)
	}
	if want.Reason != refparse.OK {
		if len(got.Slots) != 0 {
			tb.Errorf("%s made a flow: % x", want.Reason, frame)
		}
		return
	}
	if len(got.Slots) != 1 {
		tb.Fatalf("%d flows, want 1: % x", len(got.Slots), frame)
	}
	b.checkSlot(tb, frame, want, &got.Slots[0])
}

func (b *bench) checkSlot(tb testing.TB, frame []byte, want refparse.Result, slot *reading.Slot) {
	tb.Helper()
	key, side := want.Key(Site)
	got := model.Key{
		Netns: slot.Key.Site, Proto: slot.Key.Proto, A: slot.Key.Endpoint(0), B: slot.Key.Endpoint(1),
	}
	if got != key {
		tb.Errorf("key %v, want %v: % x", got, key, frame)
	}
	counters := model.Counters{
		Packets: 1, SKBs: 1, Bytes: uint64(len(frame) - etherHeader), PayloadBytes: uint64(want.Payload),
	}
	if diff := cmp.Diff(counters, slot.Dir[side].Counters); diff != "" {
		tb.Errorf("sender's counters (-want +got): %s% x", diff, frame)
	}
	if other := slot.Dir[1-side].Counters; other != (model.Counters{}) {
		tb.Errorf("the other end counted %+v: % x", other, frame)
	}
	if slot.TCPFlags[side] != want.TCPFlags {
		tb.Errorf("TCP flags %#x, want %#x: % x", slot.TCPFlags[side], want.TCPFlags, frame)
	}
	if slot.Dir[side].LastNS == 0 || slot.CreatedNS == 0 {
		tb.Errorf("no time: % x", frame)
	}
}

// eachHook runs f with the TC and with the XDP program.
func eachHook(t *testing.T, f func(t *testing.T, b *bench)) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, "6.1", "BPF_PROG_TEST_RUN")
	for _, kind := range []hook.Kind{hook.TCX, hook.XDP} {
		t.Run(string(kind), func(t *testing.T) { f(t, newBench(t, Config{Hook: kind, MaxFlows: MinFlows})) })
	}
}

func TestEveryPrefixOfEveryPacket(t *testing.T) {
	eachHook(t, func(t *testing.T, b *bench) {
		for _, packet := range testkit.Corpus() {
			for n := etherHeader; n <= len(packet.Frame); n++ {
				b.check(t, packet.Frame[:n])
				if t.Failed() {
					t.Fatalf("%s, first %d of %d bytes", packet.Name, n, len(packet.Frame))
				}
			}
		}
	})
}

func randomFrames() int {
	if testing.Short() {
		return 1000
	}
	return 20_000
}

func TestRandomBytes(t *testing.T) {
	eachHook(t, func(t *testing.T, b *bench) {
		corpus := testkit.Corpus()
		random := rand.New(rand.NewPCG(1, 2))
		for range randomFrames() {
			// A sound packet with some bytes changed gets further into the parser than noise.
			frame := append([]byte(nil), corpus[random.IntN(len(corpus))].Frame...)
			for range random.IntN(4) {
				frame[random.IntN(len(frame))] = byte(random.Uint32())
			}
			b.check(t, frame)
			if t.Failed() {
				return
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	if os.Getuid() != 0 {
		f.Skip("running BPF programs needs root")
	}
	for _, packet := range testkit.Corpus() {
		f.Add(packet.Frame)
	}
	tc := newBench(f, Config{Hook: hook.TCX, MaxFlows: MinFlows})
	xdp := newBench(f, Config{Hook: hook.XDP, MaxFlows: MinFlows})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < etherHeader || len(frame) > 2048 {
			return
		}
		tc.check(t, frame)
		xdp.check(t, frame)
	})
}

// A port pair used again in a full table: the old row keeps what it has, and the index never leads to a
// slot that is given away.
func TestPortsUsedAgainInFullTable(t *testing.T) {
	eachHook(t, func(t *testing.T, b *bench) {
		pass := func(options ...testkit.Option) {
			t.Helper()
			if _, err := b.program.Run(&ebpf.RunOptions{Data: testkit.Packet(options...)}); err != nil {
				t.Fatal(err)
			}
		}
		read := func() []reading.Slot {
			t.Helper()
			var counted reading.Reading
			if err := b.table.read(&counted, false); err != nil {
				t.Fatal(err)
			}
			return b.table.slotsOf(&counted)
		}
		reuse := func() { pass(testkit.IPv4(), testkit.TCP(testkit.SYN), testkit.Seq(1<<20)) }

		pass(testkit.IPv4(), testkit.TCP(testkit.SYN))
		pass(testkit.IPv4(), testkit.TCP(testkit.RST))
		for port := range MinFlows {
			pass(testkit.IPv4(), testkit.To(fmt.Sprintf("127.0.0.2:%d", port+1)), testkit.UDP())
		}
		reuse()
		full := read()
		if len(full) != MinFlows || full[0].State != reading.SlotLive || full[0].Dir[0].SKBs+full[0].Dir[1].SKBs != 2 {
			t.Fatalf("%d slots, the first %+v", len(full), full[0])
		}
		// The old slot and one other are freed: the key must be gone with it.
		if _, err := b.table.retire([]uint32{full[0].Index, full[1].Index}, nil); err != nil {
			t.Fatal(err)
		}
		reuse()
		reuse()
		var found []reading.Slot
		for _, slot := range read() {
			if slot.Key.Proto == model.ProtoTCP {
				found = append(found, slot)
			}
		}
		if len(found) != 1 || found[0].Dir[0].SKBs+found[0].Dir[1].SKBs != 2 {
			t.Errorf("the new connection's slots: %+v", found)
		}
	})
}

// pass runs the program on a frame.
func (b *bench) pass(tb testing.TB, frame []byte) {
	tb.Helper()
	if _, err := b.program.Run(&ebpf.RunOptions{Data: frame}); err != nil {
		tb.Fatal(err)
	}
}
