package main

import (
	"errors"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// flow is what both programs must say of one flow, by sender.
type flow struct {
	Counters [2]model.Counters
	TCPFlags [2]uint8
	Client   uint8
	Role     reading.SlotRole
}

// A reference that counted less would be cheaper than it may be: on the same packets it must say what
// lotrace says, of every flow.
func TestReferenceCountsTheSame(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, "6.6", "tcx")
	ns := testkit.NewNetns(t)
	l, err := loader.Open(loader.Config{Netns: ns.Path(), Hook: hook.TCX})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at, err := hook.FindNetns(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	ref, err := reference.attach(at)
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Close()

	sendEverything(t, ns)
	testkit.Quiesce(ns)
	var r reading.Reading
	if err := l.Read(&r); err != nil {
		t.Fatal(err)
	}
	ours, theirs := flowsOf(l, &r), referenceFlows(t, ref.(*other))
	if len(ours) < 100 {
		t.Fatalf("only %d flows", len(ours))
	}
	if diff := cmp.Diff(ours, theirs); diff != "" {
		t.Errorf("flows (-lotrace +reference):\n%s", diff)
	}
}

func sendEverything(t *testing.T, ns *testkit.Netns) {
	t.Helper()
	for _, family := range []uint8{4, 6} {
		for _, send := range []func() (testkit.Sent, error){
			func() (testkit.Sent, error) { return testkit.PingPong(ns, family, 1009, message) },
			func() (testkit.Sent, error) { return testkit.TCPBulk(ns, family, 64<<20) },
			func() (testkit.Sent, error) { return testkit.UDPCount(ns, family, 1009, message) },
			func() (testkit.Sent, error) { return testkit.ICMPEcho(ns, family, 11, 56) },
			func() (testkit.Sent, error) { return testkit.ShortConnections(ns, family, 101, 16) },
		} {
			if _, err := send(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func flowsOf(l *loader.Loader, r *reading.Reading) map[reading.SlotKey]flow {
	flows := make(map[reading.SlotKey]flow)
	for count := range r.InUse() {
		s := reading.Slot{SlotCount: *count}
		l.ReadSlot(&s)
		flows[s.Key] = flow{
			Counters: [2]model.Counters{s.Dir[0].Counters, s.Dir[1].Counters},
			TCPFlags: s.TCPFlags,
			Client:   s.Client,
			Role:     s.Role,
		}
	}
	return flows
}

func referenceFlows(t *testing.T, o *other) map[reading.SlotKey]flow {
	t.Helper()
	flows := make(map[reading.SlotKey]flow)
	var key referenceLtKey
	var slot referenceLtSlot
	entries := o.Flows.Iterate()
	for entries.Next(&key, &slot) {
		f := flow{TCPFlags: slot.TcpFlags, Client: slot.Client, Role: reading.SlotRole(slot.Role)}
		for i, dir := range slot.Dir {
			f.Counters[i] = model.Counters{
				Packets: dir.Packets, Bytes: dir.Bytes, SKBs: dir.Skbs, PayloadBytes: dir.PayloadBytes,
				Retransmits: uint64(dir.Retransmits), RetransBytes: dir.RetransBytes,
			}
		}
		flows[reading.SlotKey{
			Addr: key.Addr, Port: key.Port, Site: key.Site, Proto: model.Proto(key.Proto),
		}] = f
	}
	if err := entries.Err(); err != nil {
		t.Fatal(err)
	}
	return flows
}

// Measured traffic must have been seen: a program with nothing to see is no result.
func TestUnseenTrafficIsNoResult(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, "6.6", "tcx")
	s := scenarios()[0]
	s.send, s.warm = func(pair) error { return nil }, func(pair) error { return nil }
	for _, v := range s.programs {
		in, err := newInstance(v)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if err := in.begin(s); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if err := in.turn(s); err == nil {
			t.Errorf("%s: measured without traffic", v.name)
		}
		in.took = []float64{1}
		if err := in.end(s); err == nil {
			t.Errorf("%s: its account is not asked for", v.name)
		}
		if err := errors.Join(in.program.Close(), in.namespace.Close()); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

// A round has a turn of every instance, and what is measured is the program at the hook.
func TestTurnsAreMeasured(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, "6.6", "tcx")
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	all := scenarios()
	for _, s := range []scenario{all[0], all[len(all)-1]} {
		all := make(crew)
		defer func() {
			if err := all.Close(); err != nil {
				t.Error(err)
			}
		}()
		for _, v := range s.programs {
			in, err := newInstance(v)
			if err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
			all[v] = []*instance{in}
		}
		const rounds = 3
		c, err := s.measure(t.Context(), all, rounds)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		for _, v := range s.programs {
			took := c.took[v.name]
			if len(took) != 1 || len(took[0]) != rounds || slices.Min(took[0]) <= 0 {
				t.Errorf("%s: %s took %v", s.name, v.name, took)
			}
		}
		if above := (comparison{of: oursTC.name, less: emptyTC.name}).measure(c.took, rounds); above.median <= 0 {
			t.Errorf("%s: lotrace takes %v beyond an empty program", s.name, above)
		}
	}
}
