// Package loader is the boundary to the kernel: it loads the programs, has them attached to the
// loopback device of one network namespace, reads what they count and gives slots back. It and hook are the
// only packages of the program that know the BPF library.
package loader

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/machine"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/rights"
)

// Loader holds the programs, their maps and their attachments. Its methods are for one goroutine
// at a time.
type Loader struct {
	netns  hook.Netns
	device *hook.Device
	at     *hook.Attachment
	kind   hook.Kind // of the attachment
	stages bool
	ahead  time.Duration // our CLOCK_MONOTONIC of the kernel's

	source  *source // nil: everything is loaded
	coll    *ebpf.Collection
	program *ebpf.Program // the one that counts
	table   *table

	scan    *scan    // nil: none
	queues  *queues  // nil: none
	slow    *slow    // nil: none
	samples *samples // nil: none

	offset int64 // between the device's counter and the hook's, see settle

	warnings []string
	cleanups []func() error // undone in reverse order by Close
}

// Open loads and attaches. When it returns, every packet that leaves its socket from now on is
// counted. Errors are of type *advice.Error where advice is possible. Close must be called.
func Open(c Config) (*Loader, error) {
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	l := &Loader{stages: c.Stages}
	if err := l.open(c); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Loader) open(c Config) (err error) {
	if l.netns, err = hook.FindNetns(c.Netns); err != nil {
		return err
	}
	if err := errors.Join(rights.Check(), machine.CheckTypes()); err != nil {
		return err
	}
	if l.ahead, _, err = machine.ClocksAhead(); err != nil {
		return err
	}
	if err := l.netns.Do(l.openDevice); err != nil {
		return err
	}
	if err := l.load(c); err != nil {
		return err
	}
	if c.Learns(LearnHolders) {
		l.openScan()
	}
	if c.Learns(LearnHealth) {
		l.openQueues(c.Hook)
	}
	l.openTracers(&c)
	if err := l.netns.Do(func() error { return l.attach(c.Hook) }); err != nil {
		return err
	}
	if err := l.begin(); err != nil || l.kind != hook.XDP {
		return err
	}
	if err := l.netns.Do(l.selfTestXDP); err != nil {
		return err
	}
	return l.empty()
}

// empty frees every slot and forgets every sample, so that what ran before counting began leaves none.
func (l *Loader) empty() error {
	var now reading.Reading
	if err := l.table.read(&now, true); err != nil {
		return err
	}
	var slots []uint32
	for count := range now.InUse() {
		slots = append(slots, count.Index)
	}
	if _, err := l.table.retire(slots, nil); err != nil {
		return err
	}
	return l.dropSamples()
}

func (l *Loader) openDevice() (err error) {
	if l.device, err = hook.OpenDevice(); err != nil {
		return err
	}
	l.onClose(l.device.Close)
	if !l.device.Up {
		l.warn("%s is down: nothing crosses it until `ip link set %[1]s up`.", l.device.Name)
	}
	return nil
}

// attach runs inside the watched namespace.
func (l *Loader) attach(kind hook.Kind) (err error) {
	if l.at, err = l.device.Attach(kind, l.programs()); err != nil {
		return err
	}
	l.onClose(l.at.Close)
	l.kind = l.at.Kind
	l.warnings = append(l.warnings, l.at.Warnings...)
	return nil
}

// programs are those that were loaded, for whichever hook.
func (l *Loader) programs() hook.Programs {
	return hook.Programs{Egress: l.program, XDP: l.program, Ingress: l.coll.Programs["lotrace_ingress"]}
}

// selfTestXDP runs inside the watched namespace.
func (l *Loader) selfTestXDP() error {
	warning, err := l.device.SelfTestXDP(func() (uint64, error) {
		count, err := l.hookCount()
		return count.Packets, err
	})
	if warning != "" {
		l.warn("%s", warning)
	}
	return err
}

func (l *Loader) load(c Config) error {
	var err error
	if l.source, err = readSource(); err != nil {
		return err
	}
	spec := l.source.only(c.programNames()...)
	if err := l.configure(spec, &c); err != nil {
		return err
	}
	if l.coll, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: l.source.kernel}); err != nil {
		return loadError(err)
	}
	l.onClose(func() error { l.coll.Close(); return nil })
	l.program = l.coll.Programs[c.programName()]
	if l.table, err = openTable(l.coll); err != nil {
		return err
	}
	l.onClose(l.table.Close)
	if c.Slow > 0 {
		if err := l.openSlow(); err != nil {
			return err
		}
	}
	if c.Sample.Policies != 0 {
		return l.openSamples(&c.Sample)
	}
	return nil
}

// begin waits until no packet is left that passed the hook's place before we were there.
func (l *Loader) begin() error {
	if err := l.table.grace(); err != nil {
		return err
	}
	return l.learnOffset()
}

// DropPrivileges gives up, on every thread and for good, the capabilities that counting does not
// need any more: all of them, but for the one that lets others' /proc/PID/exe be read and, with
// clsact, the one that removes the filter at Close. Those named in others (unix.CAP_CHOWN) stay as well.
// Nothing that is started from here on can have more, not even by a set-user-id bit (no_new_privs). Map
// access goes through open descriptors. An error says that some may be left.
func (l *Loader) DropPrivileges(others ...uint) error {
	l.source = nil
	keep := uint64(1 << unix.CAP_SYS_PTRACE)
	for _, capability := range others {
		keep |= 1 << capability
	}
	if l.kind == hook.Clsact {
		keep |= 1 << unix.CAP_NET_ADMIN
	}
	return rights.Keep(keep)
}

func (l *Loader) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// Warnings is what Open noticed that does not keep it from counting, a sentence each.
func (l *Loader) Warnings() []string { return l.warnings }

func (l *Loader) onClose(f func() error) { l.cleanups = append(l.cleanups, f) }

// Close detaches and frees everything of ours and nothing else. The counts are gone afterwards.
func (l *Loader) Close() error {
	var errs []error
	for _, f := range slices.Backward(l.cleanups) {
		errs = append(errs, f())
	}
	l.cleanups = nil
	// The library unmaps variables, and so frees their maps, when nothing refers to them any more.
	l.coll, l.table = nil, nil
	return errors.Join(errs...)
}

// Netns is the inode number of the watched network namespace.
func (l *Loader) Netns() uint32 { return l.netns.Inode }

// Device is the name the loopback device had at Open.
func (l *Loader) Device() string { return l.device.Name }

// Hook is where packets are counted; never hook.Auto.
func (l *Loader) Hook() hook.Kind { return l.kind }

// Cost is the mean run time of our program per packet at the hook in nanoseconds, or 0 where the
// kernel does not measure it (sysctl kernel.bpf_stats_enabled).
func (l *Loader) Cost() float64 {
	stats, err := l.program.Stats()
	if err != nil || stats.RunCount == 0 {
		return 0
	}
	return float64(stats.Runtime.Nanoseconds()) / float64(stats.RunCount)
}

// Alive returns ErrNetnsGone once the watched namespace's name leads nowhere or elsewhere, and
// ErrRemoved once a program of ours is not where Open has put it: nothing is counted any more then.
func (l *Loader) Alive() error {
	if !l.netns.IsOwn() && l.netns.Gone() {
		return fmt.Errorf("%s: %w", l.netns.Name, ErrNetnsGone)
	}
	if !l.at.IsPlaced() {
		return &advice.Error{Doing: "count on " + l.device.Name, Err: ErrRemoved, Fix: "start again"}
	}
	return nil
}
