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

// attached is one program in its place.
type attached interface {
	// stats is how long all runs took and how many there were, while the kernel's run-time statistics were on.
	stats() (*ebpf.ProgramStats, error)
	// seen is how many skbs the program saw by its own account; of one that keeps none, how often it ran.
	seen() (uint64, error)
	Close() error
}

// variant is a program to measure. attach puts one at lo of a network namespace.
type variant struct {
	name   string
	attach func(hook.Netns) (attached, error)
}

var (
	emptyTC    = otherVariant("empty", "empty")
	dialogueTC = otherVariant("dialogue", "dialogue")
	reference  = sizedReference(1 << 16)

	oursTC     = oursVariant("lotrace", loader.Config{})
	noOwnersTC = oursVariant("lotrace without owners", loader.Config{Learn: loader.LearnUsual &^ loader.LearnOwners})
	noTurnsTC  = oursVariant("lotrace without turns", loader.Config{Learn: loader.LearnUsual &^ loader.LearnTurns})
	noHealthTC = oursVariant("lotrace without health", loader.Config{Learn: loader.LearnUsual &^ loader.LearnHealth})
	countTC    = oursVariant("lotrace, counting only", loader.Config{Learn: loader.LearnCounts | loader.LearnHolders})
	headsTC    = oursVariant("lotrace with message heads", sampled(reading.SampleHeads))
	samplesTC  = oursVariant("lotrace with samples of every packet", sampled(reading.SampleAll))

	emptyXDP = otherVariant("empty", "empty_xdp")
	oursXDP  = oursVariant("lotrace", loader.Config{Hook: hook.XDP})
)

func otherVariant(name, program string) *variant {
	return &variant{name, func(ns hook.Netns) (attached, error) {
		o := &other{}
		return o.attach(ns, program, &o.alone, nil)
	}}
}

func oursVariant(name string, config loader.Config) *variant {
	return &variant{name, func(ns hook.Netns) (attached, error) { return attachOurs(ns, config) }}
}

// sampledBytes is what is taken of each packet, as much as tcpdump is asked for in comparisons.
const sampledBytes = 96

func sampled(policy reading.SamplePolicy) loader.Config {
	return loader.Config{Sample: reading.SampleConfig{Policies: policy, Snaplen: sampledBytes}}
}

// sizedReference is the reference with room for so many flows.
func sizedReference(flows uint32) *variant {
	return &variant{"reference", func(ns hook.Netns) (attached, error) {
		o := &other{}
		return o.attach(ns, "reference", o, func(spec *ebpf.CollectionSpec) { spec.Maps["flows"].MaxEntries = flows })
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

// attach loads what it needs into a struct of o's.
func (o *other) attach(ns hook.Netns, name string, into any, change func(*ebpf.CollectionSpec)) (attached, error) {
	if err := loadOther(name, into, change); err != nil {
		return nil, err
	}
	err := ns.Do(func() (err error) {
		if o.Program.Type() == ebpf.XDP {
			o.link, err = link.AttachXDP(link.XDPOptions{
				Interface: loIndex, Program: o.Program, Flags: link.XDPGenericMode,
			})
		} else {
			o.link, err = attachEgress(o.Program)
		}
		return err
	})
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

func (o *other) stats() (*ebpf.ProgramStats, error) { return o.Program.Stats() }

func (o *other) seen() (uint64, error) {
	stats, err := o.Program.Stats()
	if err != nil {
		return 0, fmt.Errorf("read run-time statistics: %w", err)
	}
	return stats.RunCount, nil
}

// ours is lotrace as users have it.
type ours struct {
	*loader.Loader
	program *ebpf.Program // at the hook
	stop    chan struct{} // nil: it takes no samples
	ended   chan error
}

func attachOurs(ns hook.Netns, config loader.Config) (_ attached, err error) {
	o := &ours{}
	config.Netns = ns.Name
	if o.Loader, err = loader.Open(config); err != nil {
		return nil, err
	}
	if err := ns.Do(func() (err error) { o.program, err = hooked(config.Hook); return err }); err != nil {
		return nil, errors.Join(err, o.Loader.Close())
	}
	if config.Sample.Policies != 0 {
		o.stop, o.ended = make(chan struct{}), make(chan error, 1)
		go o.takeSamples()
	}
	return o, nil
}

// hooked is the program that sees a packet first at lo of the calling thread's namespace.
func hooked(kind hook.Kind) (*ebpf.Program, error) {
	if kind == hook.XDP {
		device, err := hook.OpenDevice()
		if err != nil {
			return nil, err
		}
		program, err := ebpf.NewProgramFromID(device.XDP)
		return program, errors.Join(err, device.Close())
	}
	found, err := link.QueryPrograms(link.QueryOptions{Target: loIndex, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		return nil, fmt.Errorf("find program at the hook: %w", err)
	}
	return ebpf.NewProgramFromID(found.Programs[0].ID)
}

// takeSamples takes the samples away, as somebody does who asked for them.
func (o *ours) takeSamples() {
	for {
		select {
		case <-o.stop:
			o.ended <- nil
			return
		default:
		}
		err := o.ReadSamples(time.Now().Add(50*time.Millisecond), func(*reading.Sample) error { return nil })
		if err != nil {
			o.ended <- err
			return
		}
	}
}

func (o *ours) stats() (*ebpf.ProgramStats, error) { return o.program.Stats() }

// seen leaves out a packet that the program ran for and did not count.
func (o *ours) seen() (uint64, error) {
	var r reading.Reading
	err := o.Read(&r)
	return r.Reasons[reading.ReasonCounted].SKBs, err
}

// Close fails if samples were lost: to refuse one is cheaper.
func (o *ours) Close() error {
	var err error
	if o.stop != nil {
		close(o.stop)
		err = <-o.ended
		counts, countErr := o.SampleCounts()
		if lost := counts.Lost(); lost > 0 {
			err = errors.Join(err, fmt.Errorf("%d of %d samples were lost", lost, counts.Seen))
		}
		err = errors.Join(err, countErr)
	}
	return errors.Join(err, o.program.Close(), o.Loader.Close())
}
