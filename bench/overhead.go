package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// scenario is one kind of traffic and the programs measured on it.
type scenario struct {
	name     string
	variants []variant // the empty one first; then ours, and what it is compared with
	all      float64   // at most so much may lotrace take above the empty one; 0: no matter
	ratio    *ratio    // nil: none
	features []feature
	connect  func() (pair, error)
	send     func(pair) error
	warm     func(pair) error // a little of the same, before measuring
	minRuns  uint64           // a program that ran less often did not see the traffic
}

func scenarios(p plan) []scenario {
	pingPong := func(n int) func(pair) error { return func(c pair) error { return c.pingPong(n) } }
	stream := func(n int) func(pair) error { return func(c pair) error { return c.stream(n) } }
	tc := []variant{emptyTC, oursTC, countTC, reference}
	ours := []feature{ownersAdd, turnsAdd, healthAdds, headsAdd, samplesAdd}
	bulk := []feature{ownersAdd, turnsAdd, healthAdds, noHeadsAdd}
	trips := uint64(p.trips)
	// No skb holds more than two maximal segments of 64 KiB.
	skbs := uint64(p.bulkBytes >> 17)
	apart := append(slices.Clone(ours), dialogueAdds)
	all := []scenario{
		{"TCP ping-pong", tc, maxAll, &toReference, ours, oneCPU.at(tcpPair), pingPong(p.trips), pingPong(p.trips / 20), 2 * trips},
		// A wake-up of the other CPU each way: several times as long as the others.
		{"TCP ping-pong, two CPUs", tc, 0, &toReference, apart, twoCPUs.at(tcpPair), pingPong(p.trips / 2), pingPong(p.trips / 40), trips},
		{"UDP ping-pong", tc, 0, &toReference, ours, oneCPU.at(udpPair), pingPong(p.trips), pingPong(p.trips / 20), 2 * trips},
		{"TCP bulk", tc, 0, &toReference, bulk, tcpPair, stream(p.bulkBytes), stream(p.bulkBytes / 20), skbs},
		{
			"TCP ping-pong, XDP", []variant{emptyXDP, oursXDP}, 0, nil, nil,
			oneCPU.at(tcpPair), pingPong(p.trips), pingPong(p.trips / 20), 2 * trips,
		},
	}
	if runtime.NumCPU() == 1 {
		all = slices.Delete(all, 1, 2)
	}
	return all
}

// maxAll is what everything that is on by default may add to an empty program, in nanoseconds.
const maxAll = 75

// ratio is what one program costs to what another does, both above the empty one's, by their places.
type ratio struct {
	what   string
	of, to int
	most   float64
}

var toReference = ratio{"counting, to the reference", 2, 3, 0.6}

// feature is what one thing that lotrace does adds.
type feature struct {
	what    string
	with    variant
	without variant // the same, but for that
	most    float64 // nanoseconds; 0: no target
}

var (
	ownersAdd  = feature{"owners add, ns", oursTC, noOwnersTC, 10}
	turnsAdd   = feature{"turns add, ns", oursTC, noTurnsTC, 20}
	healthAdds = feature{"health adds, ns", oursTC, noHealthTC, 10}

	// In a ping-pong every packet is a message; in bulk traffic next to none is.
	headsAdd   = feature{"message heads add, ns", headsTC, oursTC, 150}
	noHeadsAdd = feature{"message heads add where there are none, ns", headsTC, oursTC, 3}
	samplesAdd = feature{"samples of every packet add, ns", samplesTC, oursTC, 250}

	// A program that follows turns reads what the other end's CPU has just written.
	dialogueAdds = feature{"one cache line each way, and nothing else, adds, ns", dialogueTC, emptyTC, 0}
)

// measureCost is what each packet costs at the hook.
func measureCost(ctx context.Context, p plan, _ string, only *selection) ([]table, error) {
	var costs []cost
	for _, s := range scenarios(p) {
		if !only.has("cost", s.name) {
			continue
		}
		c, err := s.measure(ctx, p.rounds)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		costs = append(costs, c)
	}
	return []table{costTable(costs), comparisonTable(costs)}, nil
}

// spread is a median with the quartiles around it.
type spread struct{ median, low, high float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	at := func(quarter int) float64 {
		n := (len(sorted) - 1) * quarter
		return (sorted[n/4] + sorted[(n+3)/4]) / 2
	}
	return spread{at(2), at(1), at(3)}
}

// cost is what a scenario's programs took, by variant in its order.
type cost struct {
	scenario   scenario
	ns         []spread // a run, in nanoseconds
	aboveEmpty []spread // less the empty program's of the same round
	ratio      spread
	features   []spread // by the scenario's
}

// measure runs rounds in which every program takes one turn, each time in another order: what else the
// machine does hits all of them.
func (s scenario) measure(ctx context.Context, rounds int) (cost, error) {
	ns := make([][]float64, len(s.variants))
	added := make([][]float64, len(s.features))
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "bench: %s, round %d of %d\n", s.name, round+1, rounds)
		for turn := range s.variants {
			if err := ctx.Err(); err != nil {
				return cost{}, err
			}
			i := (round + turn) % len(s.variants)
			took, err := s.run(s.variants[i])
			if err != nil {
				return cost{}, err
			}
			ns[i] = append(ns[i], took[0])
		}
		for i, feature := range s.features {
			adds, err := s.add(feature)
			if err != nil {
				return cost{}, err
			}
			added[i] = append(added[i], adds)
		}
	}
	return s.sum(ns, added), nil
}

// add measures a feature by two programs on the same packets, with and without it: so nothing that the
// machine does comes between them. Who runs first warms the caches for the other, so both do.
func (s scenario) add(f feature) (float64, error) {
	first, err := s.run(f.with, f.without)
	if err != nil {
		return 0, err
	}
	second, err := s.run(f.without, f.with)
	if err != nil {
		return 0, err
	}
	return (first[0] - first[1] + second[1] - second[0]) / 2, nil
}

// sum compares within each round.
func (s scenario) sum(ns, added [][]float64) cost {
	c := cost{scenario: s}
	above := make([][]float64, len(ns))
	for i := range ns {
		for round := range ns[i] {
			above[i] = append(above[i], ns[i][round]-ns[0][round])
		}
		c.ns = append(c.ns, spreadOf(ns[i]))
		c.aboveEmpty = append(c.aboveEmpty, spreadOf(above[i]))
	}
	if s.ratio != nil {
		var ratios []float64
		for round := range above[0] {
			ratios = append(ratios, above[s.ratio.of][round]/above[s.ratio.to][round])
		}
		c.ratio = spreadOf(ratios)
	}
	for _, values := range added {
		c.features = append(c.features, spreadOf(values))
	}
	return c
}

// run measures programs on the same packets, in nanoseconds a run.
func (s scenario) run(variants ...variant) (ns []float64, err error) {
	return onSamePackets(variants, s.minRuns, func() (traffic, error) {
		ends, err := s.connect()
		return traffic{
			warm:  func() error { return s.warm(ends) },
			send:  func() error { return s.send(ends) },
			Close: ends.Close,
		}, err
	})
}

// traffic is what programs are measured on.
type traffic struct {
	warm  func() error // before measuring
	send  func() error
	Close func() error
}

// onSamePackets attaches programs, then opens traffic and measures, in nanoseconds a run.
func onSamePackets(variants []variant, minRuns uint64, open func() (traffic, error)) (ns []float64, err error) {
	var programs []attached
	for _, v := range variants {
		program, err := v.attach()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		defer func() { err = errors.Join(err, program.Close()) }()
		programs = append(programs, program)
	}
	packets, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, packets.Close()) }()
	if err := packets.warm(); err != nil {
		return nil, err
	}
	before := make([]uint64, len(programs))
	for i, program := range programs {
		if _, before[i], err = program.cost(); err != nil {
			return nil, err
		}
	}
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("switch run-time statistics on: %w", err)
	}
	if err := errors.Join(packets.send(), stats.Close()); err != nil {
		return nil, err
	}
	for i, program := range programs {
		took, runs, err := program.cost()
		if err != nil {
			return nil, err
		}
		if runs -= before[i]; took == 0 || runs < minRuns {
			return nil, fmt.Errorf("%s: did not see the traffic: %d runs, at least %d due", variants[i].name, runs, minRuns)
		}
		ns = append(ns, took)
	}
	return ns, nil
}
