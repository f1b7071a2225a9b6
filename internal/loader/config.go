package loader

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/machine"
	"github.com/lotrace/lotrace/internal/reading"
)

// Limits of Config.MaxFlows.
const (
	MinFlows     = 1 << 10
	MaxFlows     = 1 << 20
	DefaultFlows = 1 << 15
)

// Site is the number that every key has of the watched network namespace (model.Site).
const Site = 1

// Learn is a set of what to find out about packets.
type Learn uint8

// The things that can be learned.
const (
	LearnCounts    Learn = 1 << iota // how many there are; learned in any case
	LearnOwners                      // whose they are
	LearnHolders                     // who holds sockets that are silent; see Holders
	LearnTurns                       // requests and answers, and how long they take
	LearnHealth                      // what goes wrong
	LearnBreakdown                   // where the time of turns goes, if turns are learned

	LearnUsual = LearnCounts | LearnOwners | LearnHolders | LearnTurns | LearnHealth
)

// Config says what to watch. The zero value watches the caller's own namespace.
type Config struct {
	Netns    string               // NAME, PATH, PID or "self"; "" is "self"
	Hook     hook.Kind            // "" is hook.Auto
	MaxFlows int                  // slots; 0 is DefaultFlows
	Filter   reading.KernelFilter // nil: everything
	Stages   bool                 // count at TC ingress too, into a counter of its own
	Learn    Learn                // what to find out; 0 is LearnUsual
	Slow     time.Duration        // tell of turns that take as long, one by one; 0: of none
	Sample   reading.SampleConfig // what to copy to user space, for ReadSamples
	LongWay  bool                 // no packet takes the short way, which means the same
}

// Learns reports whether all of that is to be found out.
func (c *Config) Learns(what Learn) bool {
	learn := c.Learn
	if learn == 0 {
		learn = LearnUsual
	}
	return learn&what == what
}

func (c *Config) setDefaults() error {
	if c.Hook == "" {
		c.Hook = hook.Auto
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = DefaultFlows
	}
	if c.MaxFlows < MinFlows || c.MaxFlows > MaxFlows {
		return fmt.Errorf("max flows %d: outside %d to %d", c.MaxFlows, MinFlows, MaxFlows)
	}
	if len(c.Filter) > reading.MaxFilterTerms {
		return fmt.Errorf("filter: %d kernel terms, at most %d", len(c.Filter), reading.MaxFilterTerms)
	}
	if c.Stages && c.Hook == hook.XDP {
		return &advice.Error{Doing: "count stages", Need: "a tc hook", Fix: "leave out --hook xdp"}
	}
	return c.setSampleDefaults()
}

// takenOnTheLongWay is the policies that ask for packets which never take the short way.
const takenOnTheLongWay = reading.SampleErrors | reading.SampleConns

// programName is that of the program which counts.
func (c *Config) programName() string {
	switch {
	case c.Hook == hook.XDP:
		return "lotrace_xdp"
	case c.LongWay || c.Sample.Policies&^takenOnTheLongWay != 0:
		return "lotrace_egress_long"
	}
	return "lotrace_egress"
}

// programNames are those that a hook needs; what is not needed is not loaded.
func (c *Config) programNames() []string {
	if c.Stages {
		return []string{c.programName(), "lotrace_ingress"}
	}
	return []string{c.programName()}
}

// configure tells the programs what is wanted, and gives their maps the room for it.
func (l *Loader) configure(spec *ebpf.CollectionSpec, c *Config) error {
	for _, name := range []string{"lt_slots", "lt_lives", "lt_index", "lt_free"} {
		spec.Maps[name].MaxEntries = uint32(c.MaxFlows)
	}
	config := lotraceLtConfig{
		Netns: l.netns.Inode, Site: Site, MaxFlows: uint32(c.MaxFlows), Pidns: machine.PIDNamespace(),
	}
	if len(c.Filter) > 0 {
		config.HasFilter = 1
	}
	if !c.Learns(LearnOwners) {
		config.NoOwners = 1
	}
	if c.Learns(LearnTurns) {
		config.MaxExchanges = uint32(Exchanges(c.MaxFlows))
		spec.Maps["lt_exchanges"].MaxEntries = config.MaxExchanges + 1
		spec.Maps["lt_exchanges_free"].MaxEntries = config.MaxExchanges
	}
	if c.breaksDown() {
		config.HasBreakdown = 1
		spec.Maps["lt_breakdowns"].MaxEntries = config.MaxExchanges + 1
	}
	if c.Slow > 0 {
		config.SlowNs = uint64(c.Slow)
		spec.Maps["lt_slow_turns"].MaxEntries = slowBytes
	}
	if c.Learns(LearnHealth) {
		config.MaxHealth = uint32(HealthPlaces(c.MaxFlows))
		spec.Maps["lt_healths"].MaxEntries = config.MaxHealth + 1
		spec.Maps["lt_healths_free"].MaxEntries = config.MaxHealth
	}
	if err := c.setSampling(spec, &config); err != nil {
		return err
	}
	if err := spec.Variables["config"].Set(config); err != nil {
		return fmt.Errorf("set configuration: %w", err)
	}
	if err := spec.Variables["filter"].Set(encodeFilter(c.Filter)); err != nil {
		return fmt.Errorf("set filter: %w", err)
	}
	return nil
}

// encodeFilter is the kernel's form of a filter. v4 networks become v4-mapped ones.
func encodeFilter(f reading.KernelFilter) lotraceLtFilter {
	var out lotraceLtFilter
	for i, term := range f {
		to := &out.Term[i]
		to.Test = uint8(term.Test)
		to.OnTrue, to.OnFalse = term.OnTrue, term.OnFalse
		to.Lo, to.Hi = term.Lo, term.Hi
		if term.Test == reading.TestAddr {
			to.Addr = term.Addr.Addr().As16()
			to.PrefixLen = uint8(term.Addr.Bits())
			if term.Addr.Addr().Is4() {
				to.PrefixLen += 96
			}
		}
	}
	return out
}
