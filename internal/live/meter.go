package live

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

// meter measures what this process costs between two calls.
type meter struct {
	cpu time.Duration
	at  time.Time
}

// newMeter starts measuring.
func newMeter() *meter { return &meter{cpu: cpuTime(), at: time.Now()} }

// read returns the cost since the last call. What the system does not tell is zero.
func (m *meter) read() model.Self {
	cpu, at := cpuTime(), time.Now()
	self := model.Self{RSSBytes: residentBytes()}
	if passed := at.Sub(m.at); passed > 0 {
		self.CPUPercent = 100 * float64(cpu-m.cpu) / float64(passed)
	}
	m.cpu, m.at = cpu, at
	return self
}

func cpuTime() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// residentBytes is the second field of /proc/self/statm, proc_pid_statm(5).
func residentBytes() uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
