package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpuUse is the CPU time of a process: exactly in all, and as the kernel splits it, which may be by
// looking at every tick.
type cpuUse struct{ total, ticks, userTicks time.Duration }

func (u cpuUse) since(o cpuUse) cpuUse {
	return cpuUse{u.total - o.total, u.ticks - o.ticks, u.userTicks - o.userTicks}
}

// user is the part that was spent outside the kernel.
func (u cpuUse) user() time.Duration {
	if u.ticks == 0 {
		return u.total
	}
	return time.Duration(float64(u.total) * float64(u.userTicks) / float64(u.ticks))
}

// cpuUseOf reads a process's clocks, named as MAKE_PROCESS_CPUCLOCK of the kernel's posix-timers.h does it:
// CPUCLOCK_SCHED, CPUCLOCK_PROF and CPUCLOCK_VIRT.
func cpuUseOf(pid int) (use cpuUse, err error) {
	clock := func(kind int) time.Duration {
		t, failed := cpuTime(int32(^pid<<3 | kind))
		err = errors.Join(err, failed)
		return t
	}
	use = cpuUse{total: clock(2), ticks: clock(0), userTicks: clock(1)}
	return use, err
}

func cpuTime(clock int32) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
