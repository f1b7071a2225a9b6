package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ClocksAhead says by how much CLOCK_MONOTONIC and CLOCK_BOOTTIME, as this process reads them, are ahead of
// those that the kernel stamps packets and processes with: in a time namespace they may be,
// time_namespaces(7).
func ClocksAhead() (monotonic, boottime time.Duration, err error) {
	const path = "/proc/self/timens_offsets"
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil // a kernel without such namespaces
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read clock offsets: %w", err)
	}
	defer file.Close()
	ahead := make(map[string]time.Duration)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var clock string
		var seconds, nanoseconds int64
		if _, err := fmt.Sscan(lines.Text(), &clock, &seconds, &nanoseconds); err != nil {
			return 0, 0, fmt.Errorf("read clock offsets: %q: %w", lines.Text(), err)
		}
		ahead[clock] = time.Duration(seconds)*time.Second + time.Duration(nanoseconds)
	}
	return ahead["monotonic"], ahead["boottime"], lines.Err()
}

// WallClock is the time since 1970 less CLOCK_MONOTONIC. Taken once, it makes no steps when the time of day does.
func WallClock() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("read clock: %w", err)
	}
	return time.Duration(time.Now().UnixNano() - ts.Nano()), nil
}
