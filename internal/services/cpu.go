package services

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnCPU runs f on a thread of its own on the nth of the CPUs that we may use. So do processes that f starts. Who shares
// a CPU waits for no other to wake up, and no two of them are at one socket at once.
func OnCPU(n int, f func() error) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("read CPU affinity: %w", err)
	}
	cpu := 0
	for seen := -1; ; cpu++ {
		if all.IsSet(cpu) {
			seen++
		}
		if seen == n {
			break
		}
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("bind to CPU %d: %w", cpu, err)
	}
	defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &all)) }()
	return f()
}
