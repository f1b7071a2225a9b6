package loader

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Read takes a reading into r, reusing its memory. It takes a handful of system calls, however
// many flows there are.
func (l *Loader) Read(r *reading.Reading) (err error) {
	r.Changed = r.Changed[:0]
	if r.Device.Before, err = l.device.Count(); err != nil {
		return err
	}
	if l.kind == hook.XDP {
		if err := l.settle(r.Device.Before.Packets); err != nil {
			return err
		}
	}
	if err := l.readSlots(r, false); err != nil {
		return err
	}
	if r.Reasons, err = l.readReasons(); err != nil {
		return err
	}
	if l.kind != hook.XDP {
		r.Reasons[reading.ReasonCounted] = l.table.retired
		r.Reasons[reading.ReasonCounted].Add(r.Counted)
	}
	pools, err := l.table.readPools()
	if err != nil {
		return err
	}
	decodePools(r, &pools)
	if r.Samples, err = l.SampleCounts(); err != nil {
		return err
	}
	if l.stages {
		ingress, err := l.readIngress()
		if err != nil {
			return err
		}
		r.Ingress = &ingress
	}
	if l.kind != hook.XDP {
		if err := l.settle(r.Reasons.Sum().Packets); err != nil {
			return err
		}
	}
	r.Device.After, err = l.device.Count()
	return err
}

// Every packet reaches two counters, one shortly after the other: under TC the hook's and then the
// device's, under XDP the other way round. What leads and what trails differ by a constant, from the
// time before we came, and by the packets between the two.

func (l *Loader) leading() (uint64, error) {
	if l.kind == hook.XDP {
		device, err := l.device.Count()
		return device.Packets, err
	}
	hook, err := l.hookCount()
	return hook.Packets, err
}

func (l *Loader) trailing() (uint64, error) {
	if l.kind == hook.XDP {
		hook, err := l.hookCount()
		return hook.Packets, err
	}
	device, err := l.device.Count()
	return device.Packets + device.Dropped, err
}

// learnOffset finds the constant: the most by which the trailing counter, read first, was ever ahead of
// the leading one. It is found in any moment without a packet between the two; under XDP those are rarer.
func (l *Loader) learnOffset() error {
	const looks = 100
	longest := time.Duration(0)
	if l.kind == hook.XDP {
		longest = 50 * time.Millisecond
	}
	l.offset = math.MinInt64
	var first, leading uint64
	begin := time.Now()
	for n := 0; n < looks || leading != first && time.Since(begin) < longest; n++ {
		trailing, err := l.trailing()
		if err != nil {
			return err
		}
		if leading, err = l.leading(); err != nil {
			return err
		}
		if n == 0 {
			first = leading
		}
		l.offset = max(l.offset, int64(trailing-leading))
		hook.LetPass()
	}
	return nil
}

// settle waits until every packet that the leading counter had has reached the trailing one.
func (l *Loader) settle(leading uint64) error {
	for deadline := time.Now().Add(l.kind.SettleLimit()); ; hook.LetPass() {
		trailing, err := l.trailing()
		if err != nil || int64(trailing-leading) >= l.offset || time.Now().After(deadline) {
			return err
		}
	}
}

// ReadSlots reads the flow table and the slow turns alone, without the device's counters around them.
func (l *Loader) ReadSlots(r *reading.Reading) error { return l.readSlots(r, true) }

func (l *Loader) readSlots(r *reading.Reading, slotsOnly bool) (err error) {
	r.Changed = r.Changed[:0]
	if r.MonoNS, err = l.kernelClock(); err != nil {
		return err
	}
	r.Wall = time.Now()
	if err := l.table.read(r, slotsOnly); err != nil {
		return err
	}
	r.Slow, err = l.slow.read(r.Slow[:0])
	return err
}

// kernelClock is CLOCK_MONOTONIC as bpf_ktime_get_ns reads it, in nanoseconds.
func (l *Loader) kernelClock() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("read clock: %w", err)
	}
	return uint64(ts.Nano() - int64(l.ahead)), nil
}

func (l *Loader) hookCount() (model.Count, error) {
	reasons, err := l.reasonsNow()
	return reasons.Sum(), err
}

// reasonsNow is of all packets so far. Under TC those that are in a slot are counted there and nowhere else.
func (l *Loader) reasonsNow() (reading.ReasonCounts, error) {
	reasons, err := l.readReasons()
	if err != nil || l.kind == hook.XDP {
		return reasons, err
	}
	reasons[reading.ReasonCounted], err = l.table.counted()
	return reasons, err
}

// sumOf is what both ends of a slot have sent.
func sumOf(slot *reading.SlotCount) (sum model.Count) {
	for i := range slot.Dir {
		dir := &slot.Dir[i].Counters
		sum.Add(model.Count{SKBs: dir.SKBs, Packets: dir.Packets, Bytes: dir.Bytes})
	}
	return sum
}

// decodePools says what found no room.
func decodePools(to *reading.Reading, from *lotraceLtPools) {
	to.Unmeasured, to.Uncounted, to.SlowLost = from.Exchanges.Full, from.Healths.Full, from.SlowLost
}

// readReasons adds up every CPU's counters.
func (l *Loader) readReasons() (reading.ReasonCounts, error) {
	var perCPU []lotraceLtCounts
	if err := l.coll.Maps["lt_reasons"].Lookup(uint32(0), &perCPU); err != nil {
		return reading.ReasonCounts{}, fmt.Errorf("read reasons: %w", err)
	}
	return decodeReasons(perCPU), nil
}

func decodeReasons(perCPU []lotraceLtCounts) (out reading.ReasonCounts) {
	for i := range perCPU {
		for reason := range out {
			out[reason].Add(count(perCPU[i].By[reason]))
		}
	}
	return out
}

func (l *Loader) readIngress() (model.Count, error) {
	var total model.Count
	var perCPU []lotraceLtCount
	if err := l.coll.Maps["lt_ingress"].Lookup(uint32(0), &perCPU); err != nil {
		return total, fmt.Errorf("read ingress counter: %w", err)
	}
	for _, c := range perCPU {
		total.Add(count(c))
	}
	return total, nil
}

func count(c lotraceLtCount) model.Count {
	return model.Count{SKBs: c.Skbs, Packets: c.Packets, Bytes: c.Bytes}
}
