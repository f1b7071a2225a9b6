package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/services"
)

const (
	// fewFlows is what more flows are compared with, and how many are busy where not all are.
	fewFlows = 10
	// leastTrips are made in a run, however few flows there are.
	leastTrips = 20_000
	// maxGrowth is how much more a packet may cost with manyFlows than with fewFlows.
	maxGrowth = 1.3
	manyFlows = 100_000
)

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
	walk  walk
	flows []int
	run   []spread // nanoseconds
	above []spread // less the empty program's on the same packets
	ratio []spread // of that to fewFlows, within rounds

	reference []spread // the same of the reference
}

func measureGrowth(ctx context.Context, p plan, _ string, only *selection) ([]table, error) {
	var all []growth
	for _, w := range walks() {
		if !only.has("growth", w.name) {
			continue
		}
		g, err := w.measure(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		all = append(all, g)
	}
	return []table{growthTable(all)}, nil
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
	run, above, reference := make([][]float64, len(flows)), make([][]float64, len(flows)), make([][]float64, len(flows))
	for round := range p.growthRounds {
		fmt.Fprintf(os.Stderr, "bench: growth, %s, round %d of %d\n", w.name, round+1, p.growthRounds)
		for turn := range flows {
			if err := ctx.Err(); err != nil {
				return g, err
			}
			i := (round + turn) % len(flows)
			ns, err := w.run(steps, flows[i])
			if err != nil {
				return g, fmt.Errorf("%d flows: %w", flows[i], err)
			}
			run[i], above[i] = append(run[i], ns[1]), append(above[i], ns[1]-ns[0])
			reference[i] = append(reference[i], ns[2]-ns[0])
		}
	}
	return w.sum(flows, run, above, reference), nil
}

// run measures the empty program, lotrace and the reference on the same packets.
func (w walk) run(steps stepper, flows int) (ns []float64, err error) {
	speaking := flows
	if w.busy > 0 {
		speaking = min(w.busy, flows)
	}
	n := max(speaking, leastTrips)
	room := max(loader.DefaultFlows, roundUp(flows))
	lotrace := variant{"lotrace", func() (attached, error) { return attachOurs(loader.Config{MaxFlows: room}) }}
	variants := []variant{emptyTC, lotrace, sizedReference(uint32(room))}
	return onSamePackets(variants, uint64(n*w.packet), func() (traffic, error) {
		return traffic{
			warm:  func() error { return errors.Join(steps.around(flows, flows), steps.around(speaking, speaking)) },
			send:  func() error { return services.OnCPU(0, func() error { return steps.around(n, speaking) }) },
			Close: func() error { return nil },
		}, nil
	})
}

// roundUp is the next power of two.
func roundUp(n int) int {
	power := 1
	for power < n {
		power *= 2
	}
	return power
}

func (w walk) sum(flows []int, run, above, reference [][]float64) growth {
	g := growth{walk: w, flows: flows}
	few := slices.Index(flows, fewFlows)
	toFew := func(ns [][]float64, i int) spread {
		var ratios []float64
		for round := range ns[i] {
			ratios = append(ratios, ns[i][round]/ns[few][round])
		}
		return spreadOf(ratios)
	}
	for i := range flows {
		g.run, g.above = append(g.run, spreadOf(run[i])), append(g.above, spreadOf(above[i]))
		g.ratio, g.reference = append(g.ratio, toFew(above, i)), append(g.reference, toFew(reference, i))
	}
	return g
}
