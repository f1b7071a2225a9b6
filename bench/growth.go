package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/services"
)

const (
	// fewFlows are busy where not all are.
	fewFlows = 10
	// leastTrips are made in a run, however few flows there are.
	leastTrips = 20_000
	// maxToReference is what a packet may cost, as a ratio to the reference, with any of goalFlows.
	maxToReference = 0.8
)

var goalFlows = []int{1000, 10_000, 100_000}

// walk is a way over flows that live.
type walk struct {
	name   string
	flows  func(plan) []int
	packet int // at least so many a step
	busy   int // only so many speak while it is measured; 0: all
	open   func(flows int) (stepper, error)
}

// stepper makes steps over the first flows, one flow after the other.
type stepper interface {
	around(steps, flows int) error
	Close() error
}

func walks() []walk {
	connections := func(p plan) []int { return p.connections }
	peers := func(p plan) []int { return p.peers }
	crowd := func(flows int) (stepper, error) { return newCrowd(flows) }
	fan := func(int) (stepper, error) { return newFanout() }
	return []walk{
		{"TCP connections, each in turn", connections, 2, 0, crowd},
		{"TCP connections, ten busy", connections, 2, fewFlows, crowd},
		{"UDP socket, each peer in turn", peers, 1, 0, fan},
		{"UDP socket, ten peers busy", peers, 1, fewFlows, fan},
	}
}

// growth is what a packet costs as flows become more.
type growth struct {
	walk      walk
	flows     []int
	run       []spread // nanoseconds
	above     []spread // less the empty program's on the same packets
	reference []spread // the same of the reference
	ratio     []spread // of the one to the other, within rounds
}

func measureGrowth(ctx context.Context, p plan, _ string, only *selection) (report, error) {
	var all []growth
	for _, w := range walks() {
		if !only.has("growth", w.name) {
			continue
		}
		g, err := w.measure(ctx, p)
		if err != nil {
			return report{}, fmt.Errorf("%s: %w", w.name, err)
		}
		all = append(all, g)
	}
	return growthReport(all), nil
}

// measure runs rounds in which every number of flows has one turn. The sockets are there throughout; a flow
// lives once it spoke to the program that is measured.
func (w walk) measure(ctx context.Context, p plan) (g growth, err error) {
	flows := w.flows(p)
	steps, err := w.open(slices.Max(flows))
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, steps.Close()) }()
	all := make([]steppedOn, len(flows))
	for round := range p.growthRounds {
		fmt.Fprintf(os.Stderr, "bench: growth, %s, round %d of %d\n", w.name, round+1, p.growthRounds)
		for turn := range flows {
			if err := ctx.Err(); err != nil {
				return g, err
			}
			i := (round + turn) % len(flows)
			if err := w.run(steps, flows[i], round%2 == 0, &all[i]); err != nil {
				return g, fmt.Errorf("%d flows: %w", flows[i], err)
			}
		}
	}
	return w.sum(flows, all), nil
}

// steppedOn is what the programs took with so many flows, in nanoseconds a run, by round.
type steppedOn struct{ empty, ours, reference []float64 }

// run adds what the programs take on the same packets. The program that runs first has the caches cold, so that is
// the reference in half of the rounds.
func (w walk) run(steps stepper, flows int, referenceFirst bool, took *steppedOn) error {
	speaking := flows
	if w.busy > 0 {
		speaking = min(w.busy, flows)
	}
	n := max(speaking, leastTrips)
	room := max(loader.DefaultFlows, roundUp(flows))
	// The program that is attached last runs first.
	variants := []*variant{emptyTC, oursVariant(oursTC.name, loader.Config{MaxFlows: room}), sizedReference(uint32(room))}
	places := [3]*[]float64{&took.empty, &took.ours, &took.reference}
	if !referenceFirst {
		variants[1], variants[2] = variants[2], variants[1]
		places[1], places[2] = places[2], places[1]
	}
	ns, err := onSamePackets(variants, uint64(n*w.packet), func() error {
		return errors.Join(steps.around(flows, flows), steps.around(speaking, speaking))
	}, func() error {
		return services.OnCPU(0, func() error { return steps.around(n, speaking) })
	})
	if err != nil {
		return err
	}
	for i, place := range places {
		*place = append(*place, ns[i])
	}
	return nil
}

// onSamePackets attaches programs at once, sends a little to warm them, and measures while send sends.
func onSamePackets(variants []*variant, minRuns uint64, warm, send func() error) (ns []float64, err error) {
	self, err := hook.FindNetns("self")
	if err != nil {
		return nil, err
	}
	var programs []attached
	var before []uint64
	for _, v := range variants {
		program, err := v.attach(self)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		defer func() { err = errors.Join(err, program.Close()) }()
		programs = append(programs, program)
	}
	if err := warm(); err != nil {
		return nil, err
	}
	for _, program := range programs {
		saw, err := program.seen()
		if err != nil {
			return nil, err
		}
		before = append(before, saw)
	}
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("switch run-time statistics on: %w", err)
	}
	if err := errors.Join(send(), stats.Close()); err != nil {
		return nil, err
	}
	for i, program := range programs {
		saw, err := program.seen()
		if err != nil {
			return nil, err
		}
		took, err := program.stats()
		if err != nil {
			return nil, err
		}
		if saw -= before[i]; took.RunCount == 0 || saw < minRuns {
			return nil, fmt.Errorf("%s: did not see the traffic: %d skbs, at least %d due", variants[i].name, saw, minRuns)
		}
		ns = append(ns, float64(took.Runtime)/float64(took.RunCount))
	}
	return ns, nil
}

// roundUp is the next power of two.
func roundUp(n int) int {
	power := 1
	for power < n {
		power *= 2
	}
	return power
}

// sum compares within each round.
func (w walk) sum(flows []int, all []steppedOn) growth {
	g := growth{walk: w, flows: flows}
	for _, took := range all {
		var above, reference, ratio []float64
		for round, empty := range took.empty {
			above = append(above, took.ours[round]-empty)
			reference = append(reference, took.reference[round]-empty)
			ratio = append(ratio, above[round]/reference[round])
		}
		g.run, g.above = append(g.run, spreadOf(took.ours)), append(g.above, spreadOf(above))
		g.reference, g.ratio = append(g.reference, spreadOf(reference)), append(g.ratio, spreadOf(ratio))
	}
	return g
}
