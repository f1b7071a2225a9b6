package main

import (
	"errors"
	"fmt"
	"os"
)

// instance is a program that was loaded for itself, in a network namespace for itself.
type instance struct {
	*variant
	namespace *namespace
	program   attached

	ends pair
	saw  uint64    // before ends were opened
	took []float64 // nanoseconds a run, by round
}

// crew is all instances, by program.
type crew map[*variant][]*instance

// newCrew loads the instances of all programs of the scenarios. Close must be called, even with an error.
func newCrew(of []scenario) (crew, error) {
	c := make(crew)
	for i := range instances {
		fmt.Fprintf(os.Stderr, "bench: loading instances %d of %d\n", i+1, instances)
		for _, s := range of {
			for _, program := range s.programs {
				if len(c[program]) > i {
					continue
				}
				in, err := newInstance(program)
				if err != nil {
					return c, fmt.Errorf("%s: %w", program.name, err)
				}
				c[program] = append(c[program], in)
			}
		}
	}
	return c, nil
}

func (c crew) of(programs []*variant) (all []*instance) {
	for _, program := range programs {
		all = append(all, c[program]...)
	}
	return all
}

func (c crew) Close() error {
	var errs []error
	for program, all := range c {
		for _, in := range all {
			if err := errors.Join(in.program.Close(), in.namespace.Close()); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", program.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func newInstance(v *variant) (*instance, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	program, err := v.attach(ns.Netns)
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return &instance{variant: v, namespace: ns, program: program}, nil
}

// begin opens a scenario's sockets in the instance's namespace.
func (in *instance) begin(s scenario) (err error) {
	in.took = nil
	if in.saw, err = in.program.seen(); err != nil {
		return err
	}
	return in.namespace.Do(func() (err error) { in.ends, err = s.connect(); return err })
}

// end fails if the instance did not see all of its turns.
func (in *instance) end(s scenario) error {
	saw, err := in.program.seen()
	if due := s.minRuns * uint64(len(in.took)); err == nil && saw-in.saw < due {
		err = fmt.Errorf("%s: saw %d skbs, at least %d due", in.name, saw-in.saw, due)
	}
	return errors.Join(err, in.ends.Close())
}

// turn sends a scenario's traffic, and adds what a run took meanwhile.
func (in *instance) turn(s scenario) error {
	if err := s.warm(in.ends); err != nil {
		return err
	}
	before, err := in.program.stats()
	if err != nil {
		return err
	}
	if err := s.send(in.ends); err != nil {
		return err
	}
	after, err := in.program.stats()
	if err != nil {
		return err
	}
	runs := after.RunCount - before.RunCount
	if runs < s.minRuns {
		return fmt.Errorf("did not see the traffic: %d runs, at least %d due", runs, s.minRuns)
	}
	in.took = append(in.took, float64(after.Runtime-before.Runtime)/float64(runs))
	return nil
}
