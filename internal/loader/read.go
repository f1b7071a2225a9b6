package loader

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

// settleLimit bounds the wait for packets between the hook and the device's counters. They are
// there for microseconds, with bottom halves off; a virtual CPU may be taken away meanwhile.
const settleLimit = 20 * time.Millisecond

// Read takes a reading into r, reusing its memory. It takes a handful of system calls, however
// many flows there are.
func (l *Loader) Read(r *model.Reading) (err error) {
	if r.Before, err = l.stats.read(); err != nil {
		return err
	}
	if l.hook == HookXDP {
		// Here the device counts first: wait until the hook has seen what the device had.
		if err := l.settleHook(r.Before); err != nil {
			return err
		}
	}
	if err := l.ReadSlots(r); err != nil {
		return err
	}
	if r.Reasons, err = l.readReasons(); err != nil {
		return err
	}
	if l.stages {
		ingress, err := l.readIngress()
		if err != nil {
			return err
		}
		r.Ingress = &ingress
	}
	r.After, err = l.settleDevice(sum(r.Reasons))
	return err
}

// ReadSlots reads the flow table alone, without the device's counters around it.
func (l *Loader) ReadSlots(r *model.Reading) (err error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return fmt.Errorf("read clock: %w", err)
	}
	r.MonoNS, r.Wall = uint64(ts.Nano()), time.Now()
	r.Slots, err = l.table.read(r.Slots[:0])
	return err
}

// settleDevice reads the device's counters once they include every packet of hook, which the hook
// has counted.
func (l *Loader) settleDevice(hook model.Count) (model.DeviceCount, error) {
	deadline := time.Now().Add(settleLimit)
	for {
		now, err := l.stats.read()
		if err != nil {
			return now, err
		}
		arrived := now.Packets - l.baseDevice.Packets + now.Dropped - l.baseDevice.Dropped
		if arrived >= hook.Packets-l.baseHook.Packets || time.Now().After(deadline) {
			return now, nil
		}
	}
}

// settleHook waits until the hook has seen every packet that device counts.
func (l *Loader) settleHook(device model.DeviceCount) error {
	deadline := time.Now().Add(settleLimit)
	for {
		seen, err := l.hookCount()
		if err != nil {
			return err
		}
		if seen.Packets-l.baseHook.Packets >= device.Packets-l.baseDevice.Packets || time.Now().After(deadline) {
			return nil
		}
	}
}

func (l *Loader) hookCount() (model.Count, error) {
	reasons, err := l.readReasons()
	return sum(reasons), err
}

func sum(reasons [model.ReasonCount]model.Count) model.Count {
	var total model.Count
	for _, c := range reasons {
		total.Add(c)
	}
	return total
}

// readReasons adds up every CPU's counters.
func (l *Loader) readReasons() ([model.ReasonCount]model.Count, error) {
	var out [model.ReasonCount]model.Count
	var perCPU []lotraceLtCounts
	if err := l.coll.Maps["lt_reasons"].Lookup(uint32(0), &perCPU); err != nil {
		return out, fmt.Errorf("read reasons: %w", err)
	}
	for i := range perCPU {
		for reason := range out {
			out[reason].Add(count(perCPU[i].By[reason]))
		}
	}
	return out, nil
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
