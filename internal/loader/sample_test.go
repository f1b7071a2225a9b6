package loader

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/refparse"
	"github.com/lotrace/lotrace/internal/testkit"
)

// repeat runs it n times or more: where a signal interrupts them, they are all run again.
func (b *bench) repeat(tb testing.TB, frame []byte, n uint32) {
	tb.Helper()
	if _, err := b.program.Run(&ebpf.RunOptions{Data: frame, Repeat: n}); err != nil {
		tb.Fatal(err)
	}
}

// runs is how often it ran.
func (b *bench) runs(tb testing.TB) uint64 {
	tb.Helper()
	count, err := b.hookCount()
	if err != nil {
		tb.Fatal(err)
	}
	return count.SKBs
}

// readSamples reads what there is, and keeps it.
func (b *bench) readSamples(tb testing.TB) (all []reading.Sample) {
	tb.Helper()
	err := b.ReadSamples(time.Time{}, func(s *reading.Sample) error {
		all = append(all, *s)
		all[len(all)-1].Data = bytes.Clone(s.Data)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func sampling(kind hook.Kind, s reading.SampleConfig) Config {
	return Config{Hook: kind, MaxFlows: MinFlows, Sample: s}
}

// eachSampling is eachHook with samples.
func eachSampling(t *testing.T, s reading.SampleConfig, filter reading.KernelFilter, f func(t *testing.T, b *bench)) {
	t.Helper()
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, "6.1", "BPF_PROG_TEST_RUN")
	for _, kind := range []hook.Kind{hook.TCX, hook.XDP} {
		t.Run(string(kind), func(t *testing.T) {
			config := sampling(kind, s)
			config.Filter = filter
			f(t, newBench(t, config))
		})
	}
}

// A frame of each kind that a policy tells apart, in the order in which they come.
var (
	back       = testkit.From("127.0.0.1:80")
	home       = testkit.To("127.0.0.1:40000")
	atClient   = testkit.From("127.0.0.1:40000")
	atServer   = testkit.To("127.0.0.1:80")
	sampleTape = []struct {
		name  string
		frame []byte
	}{
		{"syn", testkit.Packet(testkit.TCP(testkit.SYN))},
		{"syn-ack", testkit.Packet(back, home, testkit.TCP(testkit.SYN|testkit.ACK))},
		{"data", testkit.Packet(testkit.TCP(testkit.ACK), testkit.Seq(1), testkit.Payload(9))},
		{"data again", testkit.Packet(testkit.TCP(testkit.ACK), testkit.Seq(1), testkit.Payload(9))},
		{"fin", testkit.Packet(testkit.TCP(testkit.FIN|testkit.ACK), testkit.Seq(10))},
		{"rst", testkit.Packet(back, home, testkit.TCP(testkit.RST), testkit.Seq(1))},
		{"ask", testkit.Packet(atClient, atServer, testkit.UDP(), testkit.Payload(3))},
		{"ask on", testkit.Packet(atClient, atServer, testkit.UDP(), testkit.Payload(4))},
		{"answer", testkit.Packet(back, home, testkit.UDP(), testkit.Payload(5))},
		{"answer on", testkit.Packet(back, home, testkit.UDP(), testkit.Payload(6))},
		{"ask more", testkit.Packet(atClient, atServer, testkit.UDP(), testkit.Payload(7))},
		{"arp", testkit.Packet(testkit.ARP())},
		{"malformed", testkit.Packet(testkit.UDP(), testkit.IHL(4))},
	}
)

// samplePolicy is what to sample of sampleTape, and which policies are to have asked for which frame.
type samplePolicy struct {
	config reading.SampleConfig
	filter reading.KernelFilter
	want   map[string]reading.SamplePolicy
}

func samplePolicies() map[string]samplePolicy {
	const (
		all, random, flows, first = reading.SampleAll, reading.SampleRandom, reading.SampleFlows, reading.SampleFirst
		heads, errs, conns        = reading.SampleHeads, reading.SampleErrors, reading.SampleConns
	)
	every := func(why reading.SamplePolicy) map[string]reading.SamplePolicy {
		want := make(map[string]reading.SamplePolicy)
		for _, f := range sampleTape {
			want[f.name] = why
		}
		return want
	}
	keyed := every(flows)
	delete(keyed, "arp")
	delete(keyed, "malformed")
	both := every(all)
	both["syn"], both["syn-ack"], both["fin"] = all|conns, all|conns, all|conns
	both["data again"], both["rst"] = all|errs, all|errs|conns
	return map[string]samplePolicy{
		"all":            {config: reading.SampleConfig{Policies: all}, want: every(all)},
		"one in one":     {config: reading.SampleConfig{Policies: random, OneIn: 1}, want: every(random)},
		"every flow":     {config: reading.SampleConfig{Policies: flows, OneIn: 1}, want: keyed},
		"first of each":  {config: reading.SampleConfig{Policies: first, First: 1}, want: map[string]reading.SamplePolicy{"syn": first, "ask": first}},
		"first three":    {config: reading.SampleConfig{Policies: first, First: 3}, want: map[string]reading.SamplePolicy{"syn": first, "syn-ack": first, "data": first, "ask": first, "ask on": first, "answer": first}},
		"heads":          {config: reading.SampleConfig{Policies: heads}, want: map[string]reading.SamplePolicy{"data": heads, "ask": heads, "answer": heads, "ask more": heads}},
		"errors":         {config: reading.SampleConfig{Policies: errs}, want: map[string]reading.SamplePolicy{"data again": errs, "rst": errs}},
		"conns":          {config: reading.SampleConfig{Policies: conns}, want: map[string]reading.SamplePolicy{"syn": conns, "syn-ack": conns, "fin": conns, "rst": conns}},
		"together":       {config: reading.SampleConfig{Policies: all | errs | conns}, want: both},
		"heads of first": {config: reading.SampleConfig{Policies: heads | first, First: 1}, want: map[string]reading.SamplePolicy{"syn": first, "data": heads, "ask": heads | first, "answer": heads, "ask more": heads}},
		"filtered": {
			config: reading.SampleConfig{Policies: all},
			filter: reading.KernelFilter{{Test: reading.TestProto, Lo: 6, OnTrue: reading.FilterReject, OnFalse: reading.FilterAccept}},
			want:   map[string]reading.SamplePolicy{"ask": all, "ask on": all, "answer": all, "answer on": all, "ask more": all, "arp": all, "malformed": all},
		},
	}
}

// Each policy asks for its packets, and for no others.
func TestSamplePolicies(t *testing.T) {
	for name, c := range samplePolicies() {
		t.Run(name, func(t *testing.T) {
			eachSampling(t, c.config, c.filter, func(t *testing.T, b *bench) {
				got := make(map[string]reading.SamplePolicy)
				for _, f := range sampleTape {
					b.pass(t, f.frame)
					for _, s := range b.readSamples(t) {
						if got[f.name] != 0 {
							t.Errorf("%s was copied twice", f.name)
						}
						got[f.name] = s.Why
						checkSample(t, &s, f.frame)
						if s.OneIn != 1 || s.Retransmit != (f.name == "data again") || s.Drop != 0 || s.SegmentSize != 0 {
							t.Errorf("%s: %+v", f.name, s)
						}
					}
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("who asked (-want +got): %s", diff)
				}
				counts, err := b.SampleCounts()
				if want := uint64(len(c.want)); err != nil || counts != (model.SampleCounts{Seen: want, Taken: want}) {
					t.Errorf("%+v, want %d, all taken; %v", counts, want, err)
				}
			})
		})
	}
}

// checkSample compares what a sample says with the reference parser.
func checkSample(tb testing.TB, s *reading.Sample, frame []byte) {
	tb.Helper()
	if int(s.Length) != len(frame) || !bytes.Equal(s.Data, frame[:min(len(frame), len(s.Data))]) || s.MonoNS == 0 {
		tb.Errorf("%d bytes at %d: % x, want the beginning of % x", s.Length, s.MonoNS, s.Data, frame)
	}
	want := refparse.Parse(frame)
	if want.Reason != refparse.OK {
		if s.Slot != reading.NoSlot || s.Reason.String() != want.Reason || s.HeaderLen != etherHeader || s.Key != (reading.SlotKey{}) {
			tb.Errorf("%s: %+v", want.Reason, s)
		}
		return
	}
	_, side := want.Key(0)
	if s.Reason != reading.ReasonCounted || s.Slot == reading.NoSlot || int(s.HeaderLen) != len(frame)-want.Payload {
		tb.Errorf("slot %d, %v, %d bytes of headers; want %d: % x", s.Slot, s.Reason, s.HeaderLen, len(frame)-want.Payload, frame)
	}
	if from, to := s.Key.Endpoint(int(s.From)), s.Key.Endpoint(1-int(s.From)); from != want.Src || to != want.Dst || int(s.From) != side {
		tb.Errorf("from %v to %v: % x", from, to, frame)
	}
}

// Any frame, cut to any length.
func TestSampledBytes(t *testing.T) {
	for _, snaplen := range []uint32{1, 14, 60, 64, 129, 0} {
		t.Run(fmt.Sprint(snaplen), func(t *testing.T) {
			eachSampling(t, reading.SampleConfig{Policies: reading.SampleAll, Snaplen: snaplen}, nil, func(t *testing.T, b *bench) {
				frames := [][]byte{testkit.Packet(testkit.UDP(), testkit.Payload(1400))}
				for _, packet := range testkit.Corpus() {
					frames = append(frames, packet.Frame)
				}
				for _, frame := range frames {
					if _, err := b.run(frame); b.refused(frame, err) {
						continue
					} else if err != nil {
						t.Fatal(err)
					}
					all := b.readSamples(t)
					if len(all) != 1 {
						t.Fatalf("%d samples: % x", len(all), frame)
					}
					want := len(frame)
					if snaplen != 0 {
						want = min(want, int(snaplen))
					}
					if len(all[0].Data) != want {
						t.Errorf("%d bytes, want %d of % x", len(all[0].Data), want, frame)
					}
					if later := refparse.Parse(frame).FragLater; !later {
						checkSample(t, &all[0], frame)
					}
				}
			})
		})
	}
}

// Packets that the table has no room for are sampled all the same.
func TestSampleOfFullTable(t *testing.T) {
	eachSampling(t, reading.SampleConfig{Policies: reading.SampleAll}, nil, func(t *testing.T, b *bench) {
		for port := range MinFlows + 1 {
			b.pass(t, testkit.Packet(testkit.To(fmt.Sprintf("127.0.0.2:%d", port+1)), testkit.UDP()))
		}
		all := b.readSamples(t)
		if len(all) != MinFlows+1 {
			t.Fatalf("%d samples of %d packets", len(all), MinFlows+1)
		}
		last := all[MinFlows]
		if last.Slot != reading.NoSlot || last.Reason != reading.ReasonTableFull ||
			last.Key.Endpoint(1-int(last.From)).Port() != MinFlows+1 {
			t.Errorf("%+v", last)
		}
	})
}

// Packets that a full buffer refuses are counted, and reading makes room.
func TestSampleBufferFull(t *testing.T) {
	config := reading.SampleConfig{Policies: reading.SampleAll, Snaplen: 64, Buffer: MinSampleBuffer}
	eachSampling(t, config, nil, func(t *testing.T, b *bench) {
		frame := testkit.Packet(testkit.UDP(), testkit.Payload(100))
		const each = uint64(ringHeaderSize + sampleSize + 64)
		for round := range 3 {
			before, err := b.SampleCounts()
			if err != nil {
				t.Fatal(err)
			}
			runs := b.runs(t)
			b.repeat(t, frame, 1000)
			counts, err := b.SampleCounts()
			if err != nil {
				t.Fatal(err)
			}
			got, want := counts.Sub(before), model.SampleCounts{Seen: b.runs(t) - runs}
			want.Taken = (MinSampleBuffer - 1) / each
			want.Full = want.Seen - want.Taken
			if n := len(b.readSamples(t)); got != want || uint64(n) != want.Taken {
				t.Errorf("round %d: %d samples, %+v, want %+v", round, n, got, want)
			}
		}
	})
}

// Reading ends where its caller says, and goes on from there; it waits until then where there is little.
func TestReadSamples(t *testing.T) {
	testkit.RequireRoot(t)
	b := newBench(t, sampling(hook.TCX, reading.SampleConfig{Policies: reading.SampleAll, Snaplen: 64, Buffer: MinSampleBuffer}))
	frame := testkit.Packet(testkit.UDP())
	enough := errors.New("enough")
	seen := 0
	for range 3 {
		b.pass(t, frame)
	}
	for range 2 {
		err := b.ReadSamples(time.Time{}, func(*reading.Sample) error { seen++; return enough })
		if !errors.Is(err, enough) {
			t.Errorf("ended with %v", err)
		}
	}
	if rest := len(b.readSamples(t)); seen != 2 || rest != 1 {
		t.Errorf("%d and %d samples of 3", seen, rest)
	}

	const wait = 50 * time.Millisecond
	b.pass(t, frame)
	began, n := time.Now(), 0
	count := func(*reading.Sample) error { n++; return nil }
	if err := b.ReadSamples(began.Add(wait), count); err != nil || n != 1 || time.Since(began) < wait {
		t.Errorf("%d samples after %v, %v; want 1 after %v", n, time.Since(began), err, wait)
	}
	const quarter = MinSampleBuffer / 4 / (ringHeaderSize + sampleSize + etherHeader + 28 + 6)
	go func() {
		for range quarter + 1 {
			b.program.Run(&ebpf.RunOptions{Data: frame})
		}
	}()
	began, n = time.Now(), 0
	if err := b.ReadSamples(began.Add(time.Minute), count); err != nil || n < quarter || time.Since(began) > 30*time.Second {
		t.Errorf("%d samples after %v, %v; want %d at once", n, time.Since(began), err, quarter)
	}

	if err := newBench(t, Config{Hook: hook.TCX, MaxFlows: MinFlows}).ReadSamples(began, count); !errors.Is(err, ErrNotSampling) {
		t.Errorf("without policies: %v", err)
	}
}

func TestReadSamplesAllocatesNothing(t *testing.T) {
	testkit.RequireRoot(t)
	b := newBench(t, sampling(hook.TCX, reading.SampleConfig{Policies: reading.SampleAll}))
	frame := testkit.Packet(testkit.UDP(), testkit.Payload(1000))
	n := 0
	count := func(*reading.Sample) error { n++; return nil }
	allocations := func(records uint32) float64 {
		return testing.AllocsPerRun(1, func() {
			b.repeat(t, frame, records)
			if err := b.ReadSamples(time.Time{}, count); err != nil {
				t.Fatal(err)
			}
		})
	}
	one, many := allocations(10), allocations(5000)
	if n < 10_000 || many > one+100 {
		t.Errorf("%v allocations for 10 records, %v for 5000; %d read", one, many, n)
	}
}

func TestSampleConfig(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"policy":    {Config{Sample: reading.SampleConfig{Policies: 1 << 20}}, "sample packets: no such policy: 0x100000"},
		"one in":    {Config{Sample: reading.SampleConfig{Policies: reading.SampleRandom}}, "sample packets: one in 0; say one in how many, from 1 on"},
		"both":      {Config{Sample: reading.SampleConfig{Policies: reading.SampleRandom | reading.SampleFlows, OneIn: 2}}, "sample packets: one in so many packets and one in so many flows at once; choose one of the two"},
		"first":     {Config{Sample: reading.SampleConfig{Policies: reading.SampleFirst}}, "sample packets: the first 0 packets of each flow; say how many, from 1 on"},
		"heads":     {Config{Learn: LearnUsual &^ LearnTurns, Sample: reading.SampleConfig{Policies: reading.SampleHeads}}, "sample packets: where messages begin is unknown without turns; follow turns, or sample something else"},
		"buffer":    {Config{Sample: reading.SampleConfig{Policies: reading.SampleAll, Buffer: 100_000}}, "sample packets: a buffer of 100000 bytes; take a power of two from 65536 to 1073741824"},
		"too small": {Config{Sample: reading.SampleConfig{Policies: reading.SampleAll, Buffer: 256 << 10}}, "sample packets: a buffer of 262144 bytes has no room for two packets; use a larger buffer or a smaller snaplen"},
		"ahead":     {Config{Sample: reading.SampleConfig{Policies: reading.SampleAll, Ahead: 100_000}}, "sample packets: 100000 bytes to read ahead have no room for a packet; use more of them or a smaller snaplen"},
		"nothing":   {Config{Sample: reading.SampleConfig{Buffer: 3}}, "<nil>"},
		"heads, ok": {Config{Sample: reading.SampleConfig{Policies: reading.SampleHeads, Snaplen: 200}}, "<nil>"},
	} {
		if got := fmt.Sprint(c.config.setDefaults()); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
