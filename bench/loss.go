package main

import (
	"context"
	"fmt"
	"os"
	"slices"
)

// loss is what a workload lost to a watcher.
type loss struct {
	workload      workload
	watcher       watcher
	without, with spread // seconds an operation
	slower        spread // percent, within pairs
	saw           spread // percent of the traffic
	pairs         int
}

// measureLoss is what services lose when somebody watches.
func measureLoss(ctx context.Context, p plan, binary string, only *selection) (report, error) {
	var losses []loss
	for _, w := range workloads {
		var beside []watcher
		for _, watcher := range watchers(binary) {
			if only.has("loss", w.name, watcher.name) {
				beside = append(beside, watcher)
			}
		}
		if len(beside) == 0 {
			continue
		}
		lost, err := w.measure(ctx, p, beside)
		if err != nil {
			return report{}, fmt.Errorf("%s: %w", w.name, err)
		}
		losses = append(losses, lost...)
	}
	return lossReport(losses), nil
}

// measure runs rounds in which every watcher has a pair of runs, with it and without. Which of them comes first
// alternates, and so does who begins a round: what the machine does hits all of them, and both sides.
func (w workload) measure(ctx context.Context, p plan, beside []watcher) ([]loss, error) {
	run, end, err := w.begin(p)
	defer end()
	if err != nil {
		return nil, err
	}
	pairs := make([]runPairs, len(beside))
	for round := range p.pairs {
		fmt.Fprintf(os.Stderr, "bench: loss, %s, pair %d of %d\n", w.name, round+1, p.pairs)
		for turn := range beside {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			i := (round + turn) % len(beside)
			timed := func(took *float64) func() error {
				return func() (err error) { *took, err = run(ctx); return err }
			}
			if err := pairs[i].measure(beside[i], (round+i)%2 == 0, timed); err != nil {
				return nil, fmt.Errorf("beside %s: %w", beside[i].name, err)
			}
		}
	}
	var losses []loss
	for i, watcher := range beside {
		losses = append(losses, pairs[i].sum(w, watcher))
	}
	return losses, nil
}

// runPairs are the runs with a watcher and those without, by pair.
type runPairs struct{ without, with, slower, saw []float64 }

// measure adds a pair of runs, that without the watcher first or last.
func (r *runPairs) measure(w watcher, withoutFirst bool, timed func(took *float64) func() error) error {
	var without, with, share float64
	sides := []func() error{
		timed(&without),
		func() (err error) { share, err = w.during(timed(&with)); return err },
	}
	if !withoutFirst {
		slices.Reverse(sides)
	}
	for _, side := range sides {
		if err := side(); err != nil {
			return err
		}
	}
	r.add(without, with, share)
	return nil
}

func (r *runPairs) add(without, with, share float64) {
	r.without, r.with = append(r.without, without), append(r.with, with)
	r.slower, r.saw = append(r.slower, 100*(with/without-1)), append(r.saw, 100*share)
}

func (r *runPairs) sum(w workload, watcher watcher) loss {
	return loss{
		workload: w, watcher: watcher, pairs: len(r.slower),
		without: spreadOf(r.without), with: spreadOf(r.with), slower: spreadOf(r.slower), saw: spreadOf(r.saw),
	}
}
