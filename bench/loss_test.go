package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"testing"

	"github.com/lotrace/lotrace/internal/testkit"
)

// The tools print this, cut to the lines that matter.
const (
	lotraceSays = `lotrace: counting on lo (tcx), network namespace 4026532177
{"schema":"lotrace/v1","totals":{"packets":12,"bytes":900},"device":{"packets":12,"agrees":true}}
{"schema":"lotrace/v1","totals":{"packets":30,"bytes":90},"device":{"packets":30,"agrees":true}}
`
	tcpdumpSays = `tcpdump: listening on lo, link-type EN10MB (Ethernet), snapshot length 262144 bytes
20 packets captured
40 packets received by filter
0 packets dropped by kernel
`
	tsharkSays = `Capturing on 'Loopback: lo'
 ** (tshark:16) 17:13:16.087179 [Main MESSAGE] -- Capture started.
509 packets captured
`
	iftopSays = `Listening on lo
Cumulative (sent/received/total):                      600B         0B       600B
Cumulative (sent/received/total):                    28.6KB         0B     1.50MB
`
	nethogsSays = `
Refreshing:
unknown TCP/0/0	0	0

Refreshing:
perl/8/0	4000	100
/usr/bin/redis-server/9/0	1.5e+03	0
unknown TCP/0/0	0.25	0
Unknown connection: 127.0.0.1:5037-127.0.0.1:54726

Refreshing:
`
	bpftraceSays = `Attaching 2 probes...
ready

@bytes[perl]: 83082
@packets[redis-server]: 20
@packets[wrk thread]: 681
@ready: 1
`
)

const captureSays = `lotrace: counting on lo (tcx), network namespace 4026532177
lotrace: 6,008 packets written to /dev/null
`

func TestWatchersProveWhatTheySaw(t *testing.T) {
	says := map[string]struct {
		text string
		saw  amount
	}{
		"a counter of packets":      {"counting\n4711 packets seen\n", amount{packets: 4711}},
		everything:                  {lotraceSays, amount{packets: 42}},
		"tcpdump":                   {tcpdumpSays, amount{packets: 20}},
		"tcpdump, 96 bytes":         {tcpdumpSays, amount{packets: 20}},
		"lotrace capture, 96 bytes": {captureSays, amount{packets: 6008}},
		"tshark":                    {tsharkSays, amount{packets: 509}},
		"iftop":                     {iftopSays, amount{bytes: 1.5 * (1 << 20)}},
		"nethogs":                   {nethogsSays, amount{bytes: 5600.25}},
		"bpftrace":                  {bpftraceSays, amount{packets: 701}},
	}
	for _, w := range watchers("lotrace") {
		if w.args == nil {
			continue
		}
		if got, err := w.saw(""); !errors.Is(err, errSawNothing) {
			t.Errorf("%s says nothing: %v, error %v", w.name, got, err)
		}
		said, ok := says[w.name]
		if !ok && w.ours {
			said = says[everything]
		}
		if got, err := w.saw(said.text); err != nil || got != said.saw {
			t.Errorf("%s: %v, error %v, want %v", w.name, got, err, said.saw)
		}
		if !w.ready.MatchString(said.text) && w.look == nil {
			t.Errorf("%s: not ready: %s", w.name, said.text)
		}
	}
}

func TestSilentWatchersSawNothing(t *testing.T) {
	for name, text := range map[string]string{
		everything: `{"totals":{"packets":0},"device":{"agrees":true}}`,
		"tcpdump":  "0 packets captured\n",
		"iftop":    "Cumulative (sent/received/total):  0B  0B  0B\n",
		"nethogs":  "\nRefreshing:\nunknown TCP/0/0\t0\t0\n",
		"bpftrace": "@ready: 1\n",
	} {
		all := watchers("lotrace")
		w := all[slices.IndexFunc(all, func(w watcher) bool { return w.name == name })]
		if got, err := w.saw(text); !errors.Is(err, errSawNothing) {
			t.Errorf("%s: %v, error %v", name, got, err)
		}
	}
	if _, err := sawByLotrace(`{"totals":{"packets":9},"device":{"agrees":false}}`); err == nil {
		t.Error("lotrace may disagree with the device")
	}
}

// A watcher that saw no traffic, or hardly any, fails the run.
func TestUnseenTrafficIsNoLoss(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequirePerl(t)
	ns := testkit.NewNetns(t)
	const trips = 1000
	for _, c := range []struct {
		says int
		fail bool
	}{{0, true}, {15, true}, {2 * trips, false}} {
		script := fmt.Sprintf(`$| = 1; $SIG{INT} = sub { print "%d packets captured\n"; exit }; print "ready\n"; <STDIN>`, c.says)
		w := watcher{
			args: []string{"perl", "-e", script}, ready: regexp.MustCompile(`ready`),
			saw: sawPackets(regexp.MustCompile(`(\d+) packets captured`)),
		}
		var share float64
		var err error
		ns.Run(t, func() {
			share, err = w.during(func() error {
				ends, err := tcpPair()
				if err != nil {
					return err
				}
				return errors.Join(ends.pingPong(trips), ends.Close())
			})
		})
		switch {
		case c.fail && !errors.Is(err, errSawNothing):
			t.Errorf("says %d packets: share %.3f, error %v", c.says, share, err)
		case !c.fail && (err != nil || share < 0.9 || share > 1):
			t.Errorf("says %d packets: share %.3f, error %v", c.says, share, err)
		}
	}
}

func TestLossesAreComparedWithinPairs(t *testing.T) {
	var r runPairs
	// The machine became ten times as slow, and the watcher costs a quarter throughout.
	for _, without := range []float64{1, 2, 10} {
		r.add(without, without*1.25, 1)
	}
	l := r.sum(workloads[0], nobody)
	if l.pairs != 3 || l.saw.median != 100 || l.without.median != 2 || l.with.median != 2.5 || l.slower != (spread{25, 25, 25}) {
		t.Errorf("%+v", l)
	}
}

// Half of the pairs begin without the watcher, the others with it.
func TestPairsAlternate(t *testing.T) {
	runs := 0
	w := workload{begin: func(plan) (func(context.Context) (float64, error), func(), error) {
		return func(context.Context) (float64, error) { runs++; return float64(runs), nil }, nothingToEnd, nil
	}}
	losses, err := w.measure(t.Context(), plan{pairs: 4}, []watcher{{name: "a"}, {name: "b"}})
	if err != nil || runs != 16 {
		t.Fatalf("%d runs, error %v", runs, err)
	}
	// Runs are numbered by when they were: the later one is the greater, and half of the pairs have each.
	for _, l := range losses {
		if l.slower.low >= 0 || l.slower.high <= 0 {
			t.Errorf("beside %s: %+v", l.watcher.name, l.slower)
		}
	}
}

func TestLessThanOthers(t *testing.T) {
	at := func(name string, ours bool, slower float64) loss {
		return loss{
			workload: workloads[0], watcher: watcher{name: name, ours: ours, args: []string{name}},
			slower: exactly(slower),
		}
	}
	us := at(everything, true, 1.5)
	noise := loss{workload: workloads[0], watcher: nobody}
	elsewhere := at("tcpdump", false, 0)
	elsewhere.workload = workloads[1]
	alone := []loss{us, noise, elsewhere, at("lotrace, counting only", true, 1)}
	if got := lessThanOthers(us, alone); got != nil {
		t.Errorf("without others: %v", got)
	}
	for least, want := range map[float64]string{2: "reached", 1.4: "missed", -20: "missed"} {
		all := append(slices.Clone(alone), at("tshark", false, 9), at("tcpdump", false, least))
		if got := lessThanOthers(us, all); len(got) != 1 || got[0].most != 1+least/100 || got[0].verdict() != want {
			t.Errorf("others lose %g: %+v", least, got)
		}
	}
}

func TestGrowthIsComparedWithinRounds(t *testing.T) {
	g := walk{}.sum([]int{1, 1000}, []steppedOn{
		{empty: []float64{10, 10}, ours: []float64{30, 50}, reference: []float64{50, 90}},
		// The machine became ten times as slow.
		{empty: []float64{50, 500}, ours: []float64{80, 800}, reference: []float64{90, 900}},
	})
	if g.ratio[0].median != 0.5 || g.ratio[1] != exactly(0.75) || g.run[1].median != 440 || g.reference[0].median != 60 {
		t.Errorf("%+v", g)
	}
}

// A crowd's and a fan's steps are packets of as many flows.
func TestStepsAreSeen(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, "6.6", "tcx")
	ns := testkit.NewNetns(t)
	p := plan{growthRounds: 1, peers: []int{1, fewFlows, 500}}
	for _, w := range walks()[2:] {
		var g growth
		var err error
		ns.Run(t, func() { g, err = w.measure(t.Context(), p) })
		if err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		for i, ratio := range g.ratio {
			if math.IsNaN(ratio.median) || g.above[i].median <= 0 || g.reference[i].median <= 0 {
				t.Errorf("%s: %d flows: %+v", w.name, g.flows[i], g)
			}
		}
	}
}

func TestSelection(t *testing.T) {
	for _, c := range []struct {
		only  string
		names []string
		has   bool
		met   bool
	}{
		{"", []string{"loss", "wrk"}, true, true},
		{"loss", []string{"loss", "wrk", "tcpdump"}, true, true},
		{"loss/wrk", []string{"loss"}, true, false},
		{"loss/wrk", []string{"loss", "wrk"}, true, true},
		{"loss/wrk", []string{"loss", "sockperf"}, false, false},
		{"loss/wrk/iftop", []string{"loss", "wrk", "iftop"}, true, true},
		{"nginx", []string{"loss"}, false, false},
	} {
		s := selected(c.only)
		if got := s.has(c.names...); got != c.has || s.met != c.met {
			t.Errorf("-only %q has %q: %v, met: %v", c.only, c.names, got, s.met)
		}
	}
}
