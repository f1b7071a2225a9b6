package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// CheckFDs fails the test if descriptors are open at its end that were not when CheckFDs was
// called. Call it first, so that its check comes last, and not in parallel tests, which share
// the descriptor table.
func CheckFDs(tb testing.TB) {
	tb.Helper()
	if err := startPoller(); err != nil {
		tb.Fatalf("start poller: %v", err)
	}
	before, err := openFDs()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		after, err := openFDs()
		if err != nil {
			tb.Error(err)
		}
		for fd, target := range after {
			if before[fd] != target {
				tb.Errorf("file descriptor %s leaked: %s", fd, target)
			}
		}
	})
}

// startPoller makes the Go runtime open its own epoll and event descriptors, which it keeps.
func startPoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	r.Close()
	return w.Close()
}

// openFDs maps descriptor numbers to what they refer to.
func openFDs() (map[string]string, error) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list descriptors: %w", err)
	}
	fds := make(map[string]string, len(entries))
	for _, entry := range entries {
		// The directory's own descriptor is in the list, and closed by now.
		if target, err := os.Readlink(filepath.Join(dir, entry.Name())); err == nil {
			fds[entry.Name()] = target
		}
	}
	return fds, nil
}
