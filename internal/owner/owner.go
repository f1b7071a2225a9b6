// Package owner names who is behind a socket. It turns the record that the kernel made of a process
// into an owner that people can read (executable, command line, cgroup, unit, container), and finds
// owners among everybody's open files for the ends that the kernel has not seen.
//
// Nobody who asks ever waits: an answer is what is known so far, and goroutines of the package's own
// look for the rest.
package owner

import (
	"container/list"
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Config says where owners are looked for. The zero value is a good one.
type Config struct {
	Proc         string                           // root of procfs; "": /proc
	Scan         func() ([]reading.Holder, error) // walks everybody's open files, one call at a time; nil: no scans
	Engines      []string                         // unix sockets of container engines; nil: the usual ones of Docker and Podman
	MaxProcesses int                              // kept at once; 0: 16384

	// By how much our clocks are ahead of those that the source's stamps are of, as in a time namespace.
	MonotonicAhead, BoottimeAhead time.Duration
}

const (
	defaultProc         = "/proc"
	defaultMaxProcesses = 16384
)

// The resolver's clock is coarse, so that asking costs no reading of a clock.
const (
	tick        = time.Second
	refreshTick = 2 // a process may call exec or rename itself
	staleTick   = 5 // sockets come and go
)

// Resolver finds and remembers owners. Its methods may be called from any goroutine.
type Resolver struct {
	config    Config
	clock     func(id int32) uint64 // nanoseconds
	suspended uint64                // CLOCK_BOOTTIME less CLOCK_MONOTONIC, nanoseconds

	stop    context.CancelFunc
	stopped <-chan struct{}
	running sync.WaitGroup

	work

	mu        sync.Mutex
	now       uint64 // ticks since New
	version   uint64 // of all answers
	processes map[model.ProcessID]*list.Element
	recent    *list.List // of *entry; the one asked for last is in front
	names     map[string]string
	sockets   *sockets
	scanErr   error
	denied    int
	underWay
}

// work is the work that waits. Senders hold the resolver's lock and never wait.
type work struct {
	first     chan *entry // never looked up; these may be short-lived
	again     chan *entry
	wantNames chan struct{}
	wantScan  chan struct{}
	scanNow   chan chan error
}

// underWay is the work that waits or runs, behind the resolver's lock.
type underWay struct {
	pending int  // lookups
	naming  bool // a question to the engines
	wanted  bool // a scan
	resting bool // after a scan: the next must wait
	settled chan struct{}
}

// New starts a resolver. It holds three goroutines until Close.
func New(config Config) *Resolver { return start(config, readClock) }

func start(config Config, clock func(id int32) uint64) *Resolver {
	if config.Proc == "" {
		config.Proc = defaultProc
	}
	if config.Engines == nil {
		config.Engines = usualEngines()
	}
	if config.MaxProcesses <= 0 {
		config.MaxProcesses = defaultMaxProcesses
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Resolver{
		config:  config,
		clock:   clock,
		stop:    stop,
		stopped: ctx.Done(),
		work: work{
			first:     make(chan *entry, config.MaxProcesses),
			again:     make(chan *entry, config.MaxProcesses),
			wantNames: make(chan struct{}, 1),
			wantScan:  make(chan struct{}, 1),
			scanNow:   make(chan chan error),
		},
		processes: make(map[model.ProcessID]*list.Element),
		recent:    list.New(),
		names:     make(map[string]string),
	}
	// The machine may sleep later, and a flow is dated by the clock that stands still meanwhile. The
	// least difference errs on the side of "started after the flow", which names nobody.
	boot := clock(unix.CLOCK_BOOTTIME) - uint64(config.BoottimeAhead)
	r.suspended = boot - min(boot, r.monotonic())

	r.running.Go(r.lookUp)
	r.running.Go(func() { r.askEngines(ctx) })
	r.running.Go(r.scan)
	return r
}

// monotonic is CLOCK_MONOTONIC of the stamps' kind, in nanoseconds.
func (r *Resolver) monotonic() uint64 {
	return r.clock(unix.CLOCK_MONOTONIC) - uint64(r.config.MonotonicAhead)
}

func readClock(id int32) uint64 {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0 // which makes every flow younger than the scan
	}
	return uint64(t.Nano())
}

// Close ends the resolver's goroutines and waits for them, for a scan under way too. Owners stay
// valid; nothing new is learnt.
func (r *Resolver) Close() error {
	r.stop()
	r.running.Wait()
	return nil
}

// Which of a process's owners: they differ in their source only.
const (
	seen = iota
	scanned
	sources
)

// entry is one process in the cache.
type entry struct {
	process *reading.Process
	owners  [sources]*model.Owner // nil until asked for
	known   facts
	due     uint64 // tick from which it may be looked up again
	pending bool   // in a queue, or being looked up
	final   bool   // nothing more can be learnt
	gone    bool   // it has ended
	denied  bool
}

// kernel is what all traffic without a process has in common.
var kernel = &model.Owner{Comm: model.KernelComm, Source: model.OwnerKernel}

// Owner returns what is known of the process so far; nil only for nil. It never waits. The same
// pointer comes back until something has changed, so owners of one process can be compared by it.
// The first answer is made from the record alone; the rest follows within milliseconds, if the
// process lives that long, and is read again every other second while it is asked for.
func (r *Resolver) Owner(p *reading.Process) *model.Owner {
	if p == nil {
		return nil
	}
	if p.IsKernel() {
		return kernel
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owner(p, seen)
}

func (r *Resolver) owner(p *reading.Process, source int) *model.Owner {
	e := r.entry(p)
	if !e.pending && !e.final && r.now >= e.due {
		r.enqueue(e)
	}
	if e.owners[source] == nil {
		e.owners[source] = e.describe(source)
	}
	return e.owners[source]
}

// entry finds the process in the cache or makes room for it.
func (r *Resolver) entry(p *reading.Process) *entry {
	if element, ok := r.processes[p.ProcessID]; ok {
		r.recent.MoveToFront(element)
		return element.Value.(*entry)
	}
	if len(r.processes) >= r.config.MaxProcesses {
		oldest := r.recent.Remove(r.recent.Back()).(*entry)
		delete(r.processes, oldest.process.ProcessID)
	}
	e := &entry{process: p}
	r.processes[p.ProcessID] = r.recent.PushFront(e)
	return e
}

// enqueue has the process looked up, unless too many others wait: then a later call does it.
func (r *Resolver) enqueue(e *entry) {
	queue := r.again
	if e.due == 0 {
		queue = r.first
	}
	select {
	case queue <- e:
		e.pending = true
		r.pending++
	default:
	}
}

func (e *entry) describe(source int) *model.Owner {
	o := &model.Owner{
		ProcessID:     e.process.ProcessID,
		PID:           e.process.PID,
		Comm:          e.process.Comm,
		Exe:           e.known.exe,
		Cmdline:       e.known.cmdline,
		UID:           e.process.UID,
		Cgroup:        e.known.cgroup,
		Unit:          e.known.unit,
		Container:     e.known.container,
		ContainerName: e.known.containerName,
		Source:        model.OwnerKernel,
	}
	if e.known.comm != "" {
		o.Comm = e.known.comm
	}
	if e.known.hasUID {
		o.UID = e.known.uid // the record may be from before the process gave up root's
	}
	if source == scanned {
		o.Source = model.OwnerScan
	}
	return o
}

// update replaces those owners that what is known now makes different.
func (r *Resolver) update(e *entry) {
	for source, old := range e.owners {
		if old == nil {
			continue
		}
		if o := e.describe(source); *o != *old {
			e.owners[source] = o
			r.version++
		}
	}
}

// Process returns what Owner does and whether the process was seen to have ended. A young death may go unnoticed for
// two seconds.
func (r *Resolver) Process(p *reading.Process) (owner *model.Owner, gone bool) {
	if p.IsKernel() {
		return kernel, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	owner = r.owner(p, seen)
	return owner, r.entry(p).gone
}

// Version is another one whenever Owner, Process or Holder may answer otherwise than before.
func (r *Resolver) Version() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version
}

// Settle waits until no lookup is under way, nor a scan that may begin, but at most so long.
func (r *Resolver) Settle(d time.Duration) {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		if !r.busy() {
			r.mu.Unlock()
			return
		}
		if r.settled == nil {
			r.settled = make(chan struct{})
		}
		settled := r.settled
		r.mu.Unlock()
		select {
		case <-settled:
		case <-timeout.C:
			return
		case <-r.stopped:
			return
		}
	}
}

// busy reports whether an answer is on its way.
func (r *Resolver) busy() bool { return r.pending > 0 || r.naming || r.wanted && !r.resting }

// wake tells those in Settle when nothing is under way any more.
func (r *Resolver) wake() {
	if !r.busy() && r.settled != nil {
		close(r.settled)
		r.settled = nil
	}
}

// Denied returns of how many processes something could not be read for want of permission.
func (r *Resolver) Denied() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.denied
}
