package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

const (
	taxName = "tax"
	// taxTrips is a turn: few, so that many turns have a CPU for themselves.
	taxTrips = 200
	counter  = "a counter of packets"
	maxTax   = 1.5
)

// taxed is a connection in a network namespace for itself, beside a watcher or nobody.
type taxed struct {
	watcher
	namespace *namespace

	ends    pair
	release chan struct{}
	ended   chan error
	took    []float64 // nanoseconds a round trip, by round
}

// measureTax is how much longer a round trip on one CPU takes, everything of ours included, and how that compares to
// the least that a watcher of packets can be. Its watchers run all at once and have short turns.
func measureTax(ctx context.Context, binary string, rounds int) (figures []figure, err error) {
	fmt.Fprintln(os.Stderr, "bench: cost, "+taxName)
	all, err := newTaxed(binary)
	defer func() {
		for _, t := range all {
			err = errors.Join(err, t.end())
		}
	}()
	if err != nil {
		return nil, err
	}
	for range rounds {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, t := range all {
			if err := errors.Join(ctx.Err(), t.turn()); err != nil {
				return nil, fmt.Errorf("beside %s: %w", t.name, err)
			}
		}
	}
	took := make(map[string]series)
	for _, t := range all {
		took[t.name] = append(took[t.name], []float64{undisturbed(t.took)})
	}
	for _, c := range []comparison{
		{what: "a round trip", of: nobody.name},
		{what: counter + " adds", of: counter, less: nobody.name},
		{what: everything + " adds", of: everything, less: nobody.name},
		{what: everything + " adds, to " + counter, of: everything, less: nobody.name, to: counter, toLess: nobody.name, most: maxTax},
	} {
		figures = append(figures, c.figure("tax on TCP ping-pong", took, 1))
	}
	return figures, nil
}

// undisturbed is what a turn takes that has its CPU for itself: less than that took one in ten.
func undisturbed(took []float64) float64 { return slices.Sorted(slices.Values(took))[len(took)/10] }

// newTaxed starts them. Each must be ended, even with an error.
func newTaxed(binary string) (all []*taxed, err error) {
	watchers := watchers(binary)
	for range instances {
		for _, name := range []string{nobody.name, counter, everything} {
			i := slices.IndexFunc(watchers, func(w watcher) bool { return w.name == name })
			t := &taxed{watcher: watchers[i], release: make(chan struct{}), ended: make(chan error, 1)}
			if t.namespace, err = newNamespace(); err != nil {
				return all, err
			}
			all = append(all, t)
			if err := t.begin(); err != nil {
				return all, fmt.Errorf("beside %s: %w", name, err)
			}
		}
	}
	return all, nil
}

// begin returns when the watcher watches. The watcher has to prove at its end that it saw the traffic.
func (t *taxed) begin() error {
	ready := make(chan error, 1)
	go func() {
		t.ended <- t.namespace.Do(func() error {
			_, err := t.during(func() (err error) {
				t.ends, err = oneCPU.at(tcpPair)()
				ready <- err
				<-t.release
				return errors.Join(err, t.ends.Close())
			})
			return err
		})
	}()
	select {
	case err := <-ready:
		return err
	case err := <-t.ended:
		t.ended <- err
		return err
	}
}

func (t *taxed) end() error {
	close(t.release)
	return errors.Join(<-t.ended, t.namespace.Close())
}

func (t *taxed) turn() error {
	if err := t.ends.pingPong(warmTrips); err != nil {
		return err
	}
	start := time.Now()
	err := t.ends.pingPong(taxTrips)
	t.took = append(t.took, float64(time.Since(start))/taxTrips)
	return err
}
