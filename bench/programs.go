package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
)

// loIndex is the ifindex of the loopback device; the kernel insists on it in every namespace.
const loIndex = 1

// attached is one program in its place.
type attached interface {
	// cost is the mean time of a run in nanoseconds, while the kernel's run-time statistics were on,
	// and how many runs there were so far.
	cost() (ns float64, runs uint64, err error)
	Close() error
}

// variant is a program to measure. attach works on the lo of the calling thread's namespace.
type variant struct {
	name   string
	attach func() (attached, error)
}

var (
	emptyTC    = variant{"empty", func() (attached, error) { return attachOther("empty") }}
	dialogueTC = variant{"dialogue", func() (attached, error) { return attachOther("dialogue") }}
	reference  = sizedReference(1 << 16)

	oursTC     = variant{"lotrace", func() (attached, error) { return attachOurs(loader.Config{}) }}
	noOwnersTC = variant{"lotrace without owners", func() (attached, error) {
		return attachOurs(loader.Config{Learn: loader.LearnUsual &^ loader.LearnOwners})
	}}
	noTurnsTC = variant{"lotrace without turns", func() (attached, error) {
		return attachOurs(loader.Config{Learn: loader.LearnUsual &^ loader.LearnTurns})
	}}
	noHealthTC = variant{"lotrace without health", func() (attached, error) {
		return attachOurs(loader.Config{Learn: loader.LearnUsual &^ loader.LearnHealth})
	}}
	countTC = variant{"lotrace, counting only", func() (attached, error) {
		return attachOurs(loader.Config{Learn: loader.LearnCounts | loader.LearnHolders})
	}}
	headsTC = variant{"lotrace with message heads", func() (attached, error) {
		return attachSampling(reading.SampleConfig{Policies: reading.SampleHeads, Snaplen: sampledBytes})
	}}
	samplesTC = variant{"lotrace with samples of every packet", func() (attached, error) {
		return attachSampling(reading.SampleConfig{Policies: reading.SampleAll, Snaplen: sampledBytes})
	}}

	emptyXDP = variant{"empty", func() (attached, error) { return attachOther("empty_xdp") }}
	oursXDP  = variant{"lotrace", func() (attached, error) { return attachOurs(loader.Config{Hook: hook.XDP}) }}
)

// sizedReference is the reference with room for so many flows.
func sizedReference(flows uint32) variant {
	return variant{"reference", func() (attached, error) {
		o := &other{}
		return o.attach("reference", o, func(spec *ebpf.CollectionSpec) { spec.Maps["flows"].MaxEntries = flows })
	}}
}

// other is a program of reference.bpf.c.
type other struct {
	alone
	Flows *ebpf.Map `ebpf:"flows"` // nil unless it is the reference
	link  link.Link
}

type alone struct {
	Program *ebpf.Program `ebpf:"program"`
}

// counting is the counter with what it counts.
type counting struct {
	alone
	Seen *ebpf.Map `ebpf:"seen"` // packets, by CPU
}

func attachOther(name string) (attached, error) {
	o := &other{}
	return o.attach(name, &o.alone, nil)
}

// attach loads what it needs into a struct of o's.
func (o *other) attach(name string, into any, change func(*ebpf.CollectionSpec)) (attached, error) {
	if err := loadOther(name, into, change); err != nil {
		return nil, err
	}
	var err error
	if o.Program.Type() == ebpf.XDP {
		o.link, err = link.AttachXDP(link.XDPOptions{
			Interface: loIndex, Program: o.Program, Flags: link.XDPGenericMode,
		})
	} else {
		o.link, err = attachEgress(o.Program)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach %s: %w", name, err), o.Close())
	}
	return o, nil
}

func attachEgress(program *ebpf.Program) (link.Link, error) {
	return link.AttachTCX(link.TCXOptions{
		Interface: loIndex, Program: program, Attach: ebpf.AttachTCXEgress, Anchor: link.Head(),
	})
}

// loadOther makes only what the struct has fields for: to make maps and free them is work that other measurements
// would feel.
func loadOther(name string, into any, change func(*ebpf.CollectionSpec)) error {
	spec, err := loadReference()
	if err != nil {
		return fmt.Errorf("read programs: %w", err)
	}
	if err := spec.Variables["config"].Set(referenceLtConfig{Site: loader.Site}); err != nil {
		return fmt.Errorf("set configuration: %w", err)
	}
	if change != nil {
		change(spec)
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{"program": spec.Programs[name]}
	if err := spec.LoadAndAssign(into, nil); err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	return nil
}

func (o *other) Close() error {
	var errs []error
	if o.link != nil {
		errs = append(errs, o.link.Close())
	}
	return errors.Join(append(errs, o.Program.Close(), o.Flows.Close())...)
}

func (o *other) cost() (float64, uint64, error) {
	stats, err := o.Program.Stats()
	if err != nil {
		return 0, 0, fmt.Errorf("read run-time statistics: %w", err)
	}
	if stats.RunCount == 0 {
		return 0, 0, nil
	}
	return float64(stats.Runtime.Nanoseconds()) / float64(stats.RunCount), stats.RunCount, nil
}

// ours is lotrace as users have it.
type ours struct {
	*loader.Loader
}

func attachOurs(config loader.Config) (attached, error) {
	l, err := loader.Open(config)
	if err != nil {
		return nil, err
	}
	return &ours{l}, nil
}

// sampledBytes is what is taken of each packet, as much as tcpdump is asked for in comparisons.
const sampledBytes = 96

// sampling is lotrace with somebody who takes its samples away.
type sampling struct {
	*ours
	stop  chan struct{}
	ended chan error
}

func attachSampling(config reading.SampleConfig) (attached, error) {
	l, err := loader.Open(loader.Config{Sample: config})
	if err != nil {
		return nil, err
	}
	s := &sampling{&ours{l}, make(chan struct{}), make(chan error, 1)}
	go s.read()
	return s, nil
}

func (s *sampling) read() {
	for {
		select {
		case <-s.stop:
			s.ended <- nil
			return
		default:
		}
		err := s.ReadSamples(time.Now().Add(50*time.Millisecond), func(*reading.Sample) error { return nil })
		if err != nil {
			s.ended <- err
			return
		}
	}
}

// Close fails if samples were lost: to refuse one is cheaper.
func (s *sampling) Close() error {
	close(s.stop)
	err := <-s.ended
	counts, countErr := s.SampleCounts()
	if lost := counts.Lost(); lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d samples were lost", lost, counts.Seen))
	}
	return errors.Join(err, countErr, s.ours.Close())
}

// cost counts runs by lotrace's own reasons: a packet that it ran for and did not count is missing.
func (o *ours) cost() (float64, uint64, error) {
	var r reading.Reading
	if err := o.Read(&r); err != nil {
		return 0, 0, err
	}
	return o.Cost(), r.Reasons[reading.ReasonCounted].SKBs, nil
}
