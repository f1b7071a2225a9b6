package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	// instances of each program are measured: one differs from the next for its life, by where its maps are.
	instances = 6
	// A turn takes some ten milliseconds, so that a round has one of every instance before the machine changes.
	turnTrips = 1500
	warmTrips = 60
	slowTrips = 250 // of a turn, where each wakes the other CPU up both ways
	turnBytes = 32 << 20
	warmBytes = 2 << 20
)

// scenario is one kind of traffic, and the programs that are measured on it.
type scenario struct {
	name     string
	programs []*variant
	compare  []comparison
	connect  func() (pair, error)
	send     func(pair) error // a turn
	warm     func(pair) error // a little of the same, before it
	minRuns  uint64           // of a turn: a program that ran less often did not see the traffic
}

func scenarios() []scenario {
	pingPong := func(n int) func(pair) error { return func(c pair) error { return c.pingPong(n) } }
	stream := func(n int) func(pair) error { return func(c pair) error { return c.stream(n) } }
	bulk := []*variant{emptyTC, oursTC, countTC, reference, noOwnersTC, noTurnsTC, noHealthTC, headsTC}
	small := append(slices.Clone(bulk), samplesTC)
	apart := append(slices.Clone(small), dialogueTC)
	all := []scenario{
		{
			"TCP ping-pong", small, pingPongOnOne, oneCPU.at(tcpPair),
			pingPong(turnTrips), pingPong(warmTrips), 2 * turnTrips,
		},
		{
			"TCP ping-pong, two CPUs", apart, pingPongOnTwo, twoCPUs.at(tcpPair),
			pingPong(slowTrips), pingPong(slowTrips / 5), 2 * slowTrips,
		},
		{"UDP ping-pong", small, udp, oneCPU.at(udpPair), pingPong(turnTrips), pingPong(warmTrips), 2 * turnTrips},
		// No skb holds more than two maximal segments of 64 KiB.
		{"TCP bulk", bulk, tcpBulk, tcpPair, stream(turnBytes), stream(warmBytes), turnBytes >> 17},
		{
			"TCP ping-pong, XDP", []*variant{emptyXDP, oursXDP}, nil, oneCPU.at(tcpPair),
			pingPong(turnTrips), pingPong(warmTrips), 2 * turnTrips,
		},
	}
	if runtime.NumCPU() == 1 {
		all = slices.Delete(all, 1, 2)
	}
	return all
}

// Names of comparisons. The page has columns of some.
const (
	everythingToReference = "everything on, to the reference"
	countingToReference   = "counting, to the reference"
	ownersAdd             = "owners add"
	turnsAdd              = "turns add"
	healthAdds            = "health adds"
)

var (
	features = []comparison{
		adds(ownersAdd, oursTC, noOwnersTC, 10),
		adds(turnsAdd, oursTC, noTurnsTC, 20),
		adds(healthAdds, oursTC, noHealthTC, 10),
	}
	samples = []comparison{
		adds("message heads add", headsTC, oursTC, 150),
		adds("samples of every packet add", samplesTC, oursTC, 250),
	}

	pingPongOnOne = slices.Concat([]comparison{
		toReference(everythingToReference, oursTC, 0.55),
		toReference(countingToReference, countTC, 0.45),
		{what: "a whole run, to one of an empty program", of: oursTC.name, to: emptyTC.name, most: 2.5},
	}, features, samples)
	pingPongOnTwo = []comparison{
		toReference(everythingToReference, oursTC, 0.75),
		toReference(countingToReference, countTC, 0.5),
		adds(ownersAdd, oursTC, noOwnersTC, 10),
		adds(turnsAdd, oursTC, noTurnsTC, 0),
		adds("one cache line each way, and nothing else, adds", dialogueTC, emptyTC, 0),
		{
			what: "turns add, to one cache line each way", of: oursTC.name, less: noTurnsTC.name,
			to: dialogueTC.name, toLess: emptyTC.name, most: 1,
		},
		adds(healthAdds, oursTC, noHealthTC, 10),
		adds("message heads add", headsTC, oursTC, 0),
		// Not more than they did when they were first measured.
		{
			what: "message heads add, to the reference", of: headsTC.name, less: oursTC.name,
			to: reference.name, toLess: emptyTC.name, most: 1.14,
		},
		adds("samples of every packet add", samplesTC, oursTC, 250),
	}
	udp = slices.Concat([]comparison{
		toReference(everythingToReference, oursTC, 0.7),
		toReference(countingToReference, countTC, 0),
	}, features, samples)
	// In a ping-pong every packet is a head; here next to none is.
	tcpBulk = slices.Concat([]comparison{
		toReference(everythingToReference, oursTC, 0.6),
		toReference(countingToReference, countTC, 0),
	}, features, []comparison{adds("message heads add where there are none", headsTC, oursTC, 3)})
)

// toReference is what a program takes above an empty one, as a ratio to what the reference does.
func toReference(what string, of *variant, most float64) comparison {
	return comparison{what: what, of: of.name, less: emptyTC.name, to: reference.name, toLess: emptyTC.name, most: most}
}

func adds(what string, with, without *variant, most float64) comparison {
	return comparison{what: what, of: with.name, less: without.name, most: most}
}

// cost is what a scenario's programs took, by their names, in nanoseconds a run.
type cost struct {
	scenario
	took   map[string]series
	rounds int
}

func (c cost) figures() (all []figure) {
	for _, compare := range c.compare {
		all = append(all, compare.figure(c.name, c.took, c.rounds))
	}
	return all
}

// measureCost is what each packet costs at the hook, and what of that its sender feels.
func measureCost(ctx context.Context, p plan, binary string, only *selection) (report, error) {
	var wanted []scenario
	for _, s := range scenarios() {
		if only.has("cost", s.name) {
			wanted = append(wanted, s)
		}
	}
	costs, err := measureScenarios(ctx, wanted, p.rounds)
	if err != nil || !only.has("cost", taxName) {
		return costReport(costs), err
	}
	tax, err := measureTax(ctx, binary, p.taxRounds)
	return costReport(costs, tax...), err
}

func measureScenarios(ctx context.Context, wanted []scenario, rounds int) (costs []cost, err error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("switch run-time statistics on: %w", err)
	}
	defer func() { err = errors.Join(err, stats.Close()) }()
	crew, err := newCrew(wanted)
	defer func() { err = errors.Join(err, crew.Close()) }()
	if err != nil {
		return nil, err
	}
	for _, s := range wanted {
		fmt.Fprintf(os.Stderr, "bench: cost, %s\n", s.name)
		c, err := s.measure(ctx, crew, rounds)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		costs = append(costs, c)
	}
	return costs, nil
}

// measure has rounds in which every instance takes one turn, in an order by chance: what else the machine does hits all
// of them.
func (s scenario) measure(ctx context.Context, crew crew, rounds int) (c cost, err error) {
	turns := crew.of(s.programs)
	for _, in := range turns {
		if err := in.begin(s); err != nil {
			return c, err
		}
		defer func() { err = errors.Join(err, in.end(s)) }()
	}
	for range rounds {
		rand.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
		for _, in := range turns {
			if err := ctx.Err(); err != nil {
				return c, err
			}
			if err := in.turn(s); err != nil {
				return c, fmt.Errorf("%s: %w", in.name, err)
			}
		}
	}
	c = cost{scenario: s, took: make(map[string]series), rounds: rounds}
	for _, in := range turns {
		c.took[in.name] = append(c.took[in.name], in.took)
	}
	return c, nil
}
