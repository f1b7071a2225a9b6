// Package live runs one count through time: it opens what counts, gives rights up, names owners, and hands what
// there is to sinks until time is up.
package live

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/machine"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/owner"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/tap"
	"github.com/lotrace/lotrace/internal/trace"
)

// Sinks take what there is, in the order of time and on the goroutine of Run. What one is given is its own until it
// returns. An error of one ends the run and is returned, but for model.ErrEnough, which is none: the others have what is
// left then.
type Sinks struct {
	Window func(*model.Window) error // the last may be cut short; nil: not wanted
	Packet func(*model.Packet) error // of what Config.Packets samples; nil: not wanted
	Turn   func(*model.Traced) error // as Config.Turns says; nil: not wanted

	// Rows returns the list that the next window's rows are put into, which stays the sink's. Nil: there is one list,
	// and it is emptied for every window.
	Rows func() *model.Flows

	// Round is called whenever the others had all that is known by now; may be nil.
	Round func(now time.Time) error
}

// Glance is the shortest run there is: its window is over at once.
const Glance time.Duration = 1

// Timing says for how long.
type Timing struct {
	For      time.Duration // 0: until the context ends
	Interval time.Duration // a window each; 0: one of the whole run
}

// Config says what is wanted, and for how long.
type Config struct {
	Timing
	Kernel   loader.Config  // but for Filter and Sample
	Filter   *filter.Filter // nil: all
	HideSelf bool           // rows with this process at an end are counted as hidden, and turns are left out
	Rights   Rights
	Packets  Packets       // for a sink that takes packets
	Turns    *trace.Config // for a sink that takes turns; nil: there is none

	Warn     func(text string) // gets what a user should know beside the result; nil: nobody does
	Counting func(model.Site)  // called when counting has begun; may be nil
}

// Packets says which packets are taken, and what is made of them.
type Packets struct {
	reading.SampleConfig // without policies there are none
	tap.Options
}

// Rights says what becomes of what the process may do, once all is open.
type Rights struct {
	KeepAll bool
	Keep    []uint // capabilities that the sinks need
}

// Session is one run. Its methods are for one goroutine.
type Session struct {
	config    Config
	loader    *loader.Loader
	listeners []reading.Listener
	tap       *tap.Tap      // nil: no packets
	turns     *trace.Turns  // nil: no turns
	slow      time.Duration // from where on windows list turns

	begun  bool // counting has
	denied bool // it was said that there are processes of which details are unknown
	blind  bool // what waits in sockets was unknown in the newest window
}

// Open begins to count, with all rights that there are. It fails as loader.Open does.
func Open(c Config) (*Session, error) {
	if c.Kernel.MaxFlows == 0 {
		c.Kernel.MaxFlows = loader.DefaultFlows
	}
	if c.Filter != nil {
		c.Kernel.Filter, _ = c.Filter.Kernel()
	}
	slow := c.Kernel.Slow
	c.Kernel.Sample = c.Packets.SampleConfig
	if c.Turns != nil {
		c.Kernel.Sample = together(c.Packets.SampleConfig, c.Turns.Sample())
		if c.Kernel.Learns(loader.LearnBreakdown) {
			c.Kernel.Slow = 1 // all of them: each comes with its parts
		}
	}
	l, err := loader.Open(c.Kernel)
	if err != nil {
		return nil, err
	}
	s := &Session{config: c, loader: l, slow: slow}
	if s.listeners, err = l.Listeners(); err != nil {
		s.warn("%v; roles of older connections are guessed", err)
	}
	return s, nil
}

// together is what to sample for packets and for turns at once.
func together(packets, turns reading.SampleConfig) reading.SampleConfig {
	if packets.Policies == 0 {
		return turns
	}
	packets.Policies |= turns.Policies
	if packets.Snaplen > 0 {
		packets.Snaplen = max(packets.Snaplen, turns.Snaplen)
	}
	if packets.PerSecond > 0 {
		packets.PerSecond += turns.PerSecond
	}
	packets.Buffer = max(packets.Buffer, turns.Buffer)
	return packets
}

// Close detaches and frees all that Open made.
func (s *Session) Close() error { return s.loader.Close() }

// Origin is what is counted, and where.
func (s *Session) Origin() model.Origin {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	l := s.loader
	origin := model.Origin{
		Host:   host,
		Kernel: machine.Release(),
		Sites:  []model.Site{{Number: loader.Site, Netns: l.Netns(), Device: l.Device(), Hook: string(l.Hook())}},
	}
	if s.config.Filter != nil {
		origin.Filter = s.config.Filter.String()
	}
	return origin
}

// SampleCounts is what became of packets that were to be sampled, so far.
func (s *Session) SampleCounts() (model.SampleCounts, error) { return s.loader.SampleCounts() }

// Packets is how many the sink had.
func (s *Session) Packets() uint64 {
	if s.tap == nil {
		return 0
	}
	return s.tap.Packets()
}

// Forgotten is how many requests were under way when others had to take their place.
func (s *Session) Forgotten() uint64 {
	if s.turns == nil {
		return 0
	}
	return s.turns.Forgotten()
}

// HasBegun reports whether Run has begun to count.
func (s *Session) HasBegun() bool { return s.begun }

// Run gives rights up and calls sinks until the context or the time ends, which is no error. Where the network
// namespace ends before, it returns loader.ErrNetnsGone after the sinks had what there was. It is called once.
func (s *Session) Run(ctx context.Context, sinks Sinks) error {
	if Poison {
		sinks = sinks.poisoned()
	}
	if !s.config.Rights.KeepAll {
		if err := s.loader.DropPrivileges(s.config.Rights.Keep...); err != nil {
			s.warn("warning: %v", err)
		}
	}
	for _, warning := range s.loader.Warnings() {
		s.warn("warning: %s", warning)
	}
	owners, err := s.openOwners()
	if err != nil {
		return err
	}
	if owners != nil {
		defer owners.Close()
	}
	counted := s.counted(owners)
	if sinks.Turn != nil {
		s.turns = trace.NewTurns(*s.config.Turns, shown(sinks.Turn, counted.Match, counted.Hide))
		counted.SlowTurn = s.turns.SlowTurn
	}
	engine, err := stats.Start(s.loader, counted)
	if err != nil {
		return err
	}
	s.begun = true
	if s.config.Counting != nil {
		origin := s.Origin()
		s.config.Counting(origin.Site())
	}
	if show := sinks.Window; show != nil {
		meter := newMeter()
		sinks.Window = func(w *model.Window) error {
			s.complete(w, meter, owners)
			return show(w)
		}
	}
	if err := s.openTap(engine, sinks.Packet); err != nil {
		return err
	}
	parts := Parts{Engine: engine, Alive: s.loader.Alive, Tap: s.tap, Turns: s.turns, Readings: engine}
	if s.tap != nil || s.turns != nil {
		parts.Samples = s.loader
	}
	return Loop(ctx, s.config.Timing, parts, sinks)
}

// shown is a sink for turns of flows that match, and of those that are not to be hidden; match and hide may be nil.
func shown(turn func(*model.Traced) error, match, hide func(*model.Flow) bool) func(*model.Traced) error {
	return func(t *model.Traced) error {
		if match != nil && !match(t.Flow) || hide != nil && hide(t.Flow) {
			return nil
		}
		return turn(t)
	}
}

func (s *Session) openTap(engine *stats.Engine, packet func(*model.Packet) error) error {
	if packet == nil {
		return nil
	}
	clock, err := machine.WallClock()
	if err != nil {
		return err
	}
	wanted := &s.config.Packets
	config := tap.Config{
		Options: wanted.Options, Policies: wanted.Policies, Snaplen: int(wanted.Snaplen),
		Netns: s.loader.Netns(), WallClock: clock, DropReason: loader.DropReason,
	}
	if s.config.Filter != nil {
		config.Match = s.config.Filter.Match
	}
	s.tap = tap.New(engine, config, packet)
	return nil
}

// openOwners returns nil where owners are not to be learned.
func (s *Session) openOwners() (*owner.Resolver, error) {
	learns := s.config.Kernel.Learns
	if !learns(loader.LearnOwners) {
		return nil, nil
	}
	monotonic, boottime, err := machine.ClocksAhead()
	if err != nil {
		return nil, err
	}
	config := owner.Config{MonotonicAhead: monotonic, BoottimeAhead: boottime}
	if learns(loader.LearnHolders) {
		config.Scan = s.loader.Holders
	}
	owners := owner.New(config)
	if err := owners.ScanNow(); err != nil {
		s.warn("%v; owners of older connections show when they speak", err)
	}
	return owners, nil
}

func (s *Session) counted(owners *owner.Resolver) stats.Config {
	flows := s.config.Kernel.MaxFlows
	config := stats.Config{
		MaxFlows:     flows,
		Exchanges:    loader.Exchanges(flows),
		HealthPlaces: loader.HealthPlaces(flows),
		Origin:       s.Origin(),
		Listeners:    s.listeners,
		Samples:      s.config.Kernel.Sample.Policies != 0,
		Slow:         s.slow,
		DropReason:   loader.DropReason,
	}
	if owners != nil {
		config.Owners = owners
	}
	if s.config.Filter != nil {
		config.Match = s.config.Filter.Match
	}
	if s.config.HideSelf {
		config.Hide = endsAt(uint32(os.Getpid()))
	}
	return config
}

// endsAt asks of a flow whether one of its ends is the process.
func endsAt(pid uint32) func(*model.Flow) bool {
	is := func(o *model.Owner) bool { return o != nil && o.PID == pid }
	return func(f *model.Flow) bool { return is(f.Client.Owner) || is(f.Server.Owner) }
}

// complete puts into a window what the engine does not know, and says what a user should know of it.
func (s *Session) complete(w *model.Window, meter *meter, owners *owner.Resolver) {
	w.Self = meter.read()
	w.Self.BPFNsPerPacket = s.loader.Cost()
	if owners != nil && !s.denied {
		if n := owners.Denied(); n > 0 {
			s.denied = true
			s.warn("details of %d processes of other users are unknown: run as root, or give the binary cap_sys_ptrace", n)
		}
	}
	s.sayQueues(w)
}

// sayQueues says why what waits in sockets is unknown in a window, and says it again only after it was known.
func (s *Session) sayQueues(w *model.Window) {
	if w.QueuesFailed != nil && !s.blind {
		s.warn("warning: %v: what waits in sockets is unknown until this succeeds", w.QueuesFailed)
	}
	s.blind = w.QueuesFailed != nil
}

func (s *Session) warn(format string, args ...any) {
	if s.config.Warn != nil {
		s.config.Warn(fmt.Sprintf(format, args...))
	}
}
