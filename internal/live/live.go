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
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/tap"
)

// Sinks take what there is, in the order of time and on the goroutine of Run. What one is given is its own until it
// returns. An error of one ends the run and is returned, but for model.ErrEnough, which is none.
type Sinks struct {
	Window func(*model.Window) error // the last may be cut short; nil: not wanted
	Packet func(*model.Packet) error // of what Config.Kernel samples; nil: not wanted

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
	Kernel   loader.Config  // but for Filter
	Filter   *filter.Filter // nil: all
	HideSelf bool           // rows with this process at an end are counted as hidden
	Rights   Rights
	Packets  tap.Options

	Warn     func(text string) // gets what a user should know beside the result; nil: nobody does
	Counting func(model.Site)  // called when counting has begun; may be nil
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
	listeners []model.Listener
	tap       *tap.Tap // nil: no packets

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
	l, err := loader.Open(c.Kernel)
	if err != nil {
		return nil, err
	}
	s := &Session{config: c, loader: l}
	if s.listeners, err = l.Listeners(); err != nil {
		s.warn("%v; roles of older connections are guessed", err)
	}
	return s, nil
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
		Sites:  []model.Site{{Number: 1, Netns: l.Netns(), Device: l.Device(), Hook: string(l.Hook())}},
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

// Run gives rights up and calls sinks until the context or the time ends, which is no error. Where the network
// namespace ends before, it returns loader.ErrNetnsGone after the sinks had what there was. It is called once.
func (s *Session) Run(ctx context.Context, sinks Sinks) error {
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
	engine, err := stats.Start(s.loader, s.counted(owners))
	if err != nil {
		return err
	}
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
	parts := Parts{Engine: engine, Alive: s.loader.Alive}
	if err := s.follow(&parts, engine, sinks); err != nil {
		return err
	}
	return Loop(ctx, s.config.Timing, parts, sinks)
}

// follow adds what makes something of samples.
func (s *Session) follow(parts *Parts, engine *stats.Engine, sinks Sinks) error {
	if sinks.Packet == nil {
		return nil
	}
	clock, err := machine.WallClock()
	if err != nil {
		return err
	}
	config := tap.Config{
		Options: s.config.Packets, Netns: s.loader.Netns(), WallClock: clock, DropReason: loader.DropReason,
	}
	if s.config.Filter != nil {
		config.Match = s.config.Filter.Match
	}
	s.tap = tap.New(engine, config, sinks.Packet)
	parts.Samples, parts.Tap = s.loader, s.tap
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
		MaxFlows:   flows,
		Exchanges:  loader.Exchanges(flows),
		Troubles:   loader.Troubles(flows),
		Origin:     s.Origin(),
		Listeners:  s.listeners,
		Slow:       s.config.Kernel.Slow,
		DropReason: loader.DropReason,
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
