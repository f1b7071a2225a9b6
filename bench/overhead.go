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
	variants []variant // the empty one first
	compare  []comparison
	connect  func() (pair, error)
	send     func(pair) error
	warm     func(pair) error // a little of the same, before measuring
	minRuns  uint64           // a program that ran less often did not see the traffic
}

func scenarios(p plan) []scenario {
	pingPong := func(n int) func(pair) error { return func(c pair) error { return c.pingPong(n) } }
	stream := func(n int) func(pair) error { return func(c pair) error { return c.stream(n) } }
	tc := []variant{emptyTC, oursTC, reference, noOwnersTC, noTurnsTC, countTC}
	compare := []comparison{referenceRatio, ownersAdd, turnsAdd}
	trips := uint64(p.trips)
	// No skb holds more than two maximal segments of 64 KiB.
	skbs := uint64(p.bulkBytes >> 17)
	all := []scenario{
		{"TCP ping-pong", tc, compare, tcpPair, pingPong(p.trips), pingPong(p.trips / 20), 2 * trips},
		// A wake-up of the other CPU each way: several times as long as the others.
		{"TCP ping-pong, two CPUs", tc, compare, tcpPairApart, pingPong(p.trips / 4), pingPong(p.trips / 80), trips / 2},
		{"UDP ping-pong", tc, compare, udpPair, pingPong(p.trips), pingPong(p.trips / 20), 2 * trips},
		{"TCP bulk", tc, compare, tcpPair, stream(p.bulkBytes), stream(p.bulkBytes / 20), skbs},
		{
			"TCP ping-pong, XDP", []variant{emptyXDP, oursXDP}, nil,
			tcpPair, pingPong(p.trips), pingPong(p.trips / 20), 2 * trips,
		},
	}
	if runtime.NumCPU() == 1 {
		all = slices.Delete(all, 1, 2)
	}
	return all
}

// comparison is what two programs of one round say about a feature, and what it may be.
type comparison struct {
	what      string
	of, to    string // names of variants
	isRatio   bool   // of's cost to that of to, both above the empty program's; else the difference
	most      float64
	precision int
}

var (
	referenceRatio = comparison{"counting, to the reference", countTC.name, reference.name, true, 0.6, 2}
	ownersAdd      = comparison{"owners add, ns", oursTC.name, noOwnersTC.name, false, 10, 0}
	turnsAdd       = comparison{"turns add, ns", oursTC.name, noTurnsTC.name, false, 20, 0}
)

// in compares within each round, by the name of a program; emptyTC is the floor.
func (c comparison) in(ns map[string][]float64) spread {
	var values []float64
	for round, floor := range ns[emptyTC.name] {
		of, to := ns[c.of][round], ns[c.to][round]
		if c.isRatio {
			values = append(values, (of-floor)/(to-floor))
		} else {
			values = append(values, of-to)
		}
	}
	return spreadOf(values)
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
	compared   []spread // by the scenario's comparisons
}

// measure runs rounds in which every program takes one turn, each time in another order: what else the
// machine does hits all of them.
func (s scenario) measure(ctx context.Context, rounds int) (cost, error) {
	ns := make([][]float64, len(s.variants))
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "bench: %s, round %d of %d\n", s.name, round+1, rounds)
		for turn := range s.variants {
			if err := ctx.Err(); err != nil {
				return cost{}, err
			}
			i := (round + turn) % len(s.variants)
			v := s.variants[i]
			took, err := s.run(v)
			if err != nil {
				return cost{}, fmt.Errorf("%s: %w", v.name, err)
			}
			ns[i] = append(ns[i], took)
		}
	}
	return s.sum(ns), nil
}

// sum compares within each round.
func (s scenario) sum(ns [][]float64) cost {
	c := cost{scenario: s}
	byName := make(map[string][]float64)
	for i, v := range s.variants {
		byName[v.name] = ns[i]
		above := make([]float64, len(ns[i]))
		for round := range above {
			above[round] = ns[i][round] - ns[0][round]
		}
		c.ns = append(c.ns, spreadOf(ns[i]))
		c.aboveEmpty = append(c.aboveEmpty, spreadOf(above))
	}
	for _, comparison := range s.compare {
		c.compared = append(c.compared, comparison.in(byName))
	}
	return c
}

// run measures one program, alone on the device, in nanoseconds a run.
func (s scenario) run(v variant) (ns float64, err error) {
	program, err := v.attach()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, program.Close()) }()
	ends, err := s.connect()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ends.Close()) }()
	if err := s.warm(ends); err != nil {
		return 0, err
	}
	_, before, err := program.cost()
	if err != nil {
		return 0, err
	}
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return 0, fmt.Errorf("switch run-time statistics on: %w", err)
	}
	if err := errors.Join(s.send(ends), stats.Close()); err != nil {
		return 0, err
	}
	ns, after, err := program.cost()
	if runs := after - before; err == nil && (ns == 0 || runs < s.minRuns) {
		err = fmt.Errorf("did not see the traffic: %d runs, at least %d due", runs, s.minRuns)
	}
	return ns, err
}
