package main

import (
	"context"
	"fmt"
	"os"
)

// maxLoss is by how many percent everything of ours may slow the ping-pong down.
const maxLoss = 2.0

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
func measureLoss(ctx context.Context, p plan, binary string, only *selection) ([]table, error) {
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
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		losses = append(losses, lost...)
	}
	return []table{lossTable(losses)}, nil
}

// measure runs rounds in which every watcher has a pair of runs, with it and without. The order within
// a pair alternates, and that of watchers changes: what the machine does hits all of them, and both sides.
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
			i := (round + turn) % len(beside)
			order := []watcher{nobody, beside[i]}
			watched := 1
			if (round+i)%2 == 1 {
				order[0], order[1], watched = order[1], order[0], 0
			}
			var took [2]float64
			for side, watcher := range order {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				share, err := watcher.during(func() (err error) { took[side], err = run(ctx); return err })
				if err != nil {
					return nil, fmt.Errorf("beside %s: %w", watcher.name, err)
				}
				if side == watched {
					pairs[i].saw = append(pairs[i].saw, 100*share)
				}
			}
			pairs[i].add(took[1-watched], took[watched])
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

func (r *runPairs) add(without, with float64) {
	r.without, r.with = append(r.without, without), append(r.with, with)
	r.slower = append(r.slower, 100*(with/without-1))
}

func (r *runPairs) sum(w workload, watcher watcher) loss {
	return loss{
		workload: w, watcher: watcher, pairs: len(r.slower),
		without: spreadOf(r.without), with: spreadOf(r.with), slower: spreadOf(r.slower), saw: spreadOf(r.saw),
	}
}
