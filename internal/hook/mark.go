package hook

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A clsact filter outlives the process that made it, so its name says who that was and whether the
// qdisc is ours too: the next lotrace removes what a killed one left, and nothing else.
const filterPrefix = "lotrace"

// filterMark is what a filter of ours says in its name.
type filterMark struct {
	pid      int
	start    string // the process's start time, clock ticks since boot: tells a reused pid apart
	view     string // the namespaces, of PIDs and of clocks, in which pid and start mean something
	ownQdisc bool   // lotrace made the qdisc
}

func (m filterMark) String() string {
	qdisc := "shared"
	if m.ownQdisc {
		qdisc = "own"
	}
	return strings.Join([]string{filterPrefix, strconv.Itoa(m.pid), m.start, m.view, qdisc}, "/")
}

func parseFilterMark(name string) (filterMark, bool) {
	part := strings.Split(name, "/")
	if len(part) != 5 || part[0] != filterPrefix {
		return filterMark{}, false
	}
	pid, err := strconv.Atoi(part[1])
	return filterMark{pid: pid, start: part[2], view: part[3], ownQdisc: part[4] == "own"}, err == nil
}

func ownFilterMark() (filterMark, error) {
	start, err := processStart(os.Getpid())
	if err != nil {
		return filterMark{}, fmt.Errorf("read own start time: %w", err)
	}
	view, err := ownView()
	return filterMark{pid: os.Getpid(), start: start, view: view}, err
}

// ownView is "pid:[4026531836]time:[4026531834]", without the latter where the kernel has none.
func ownView() (string, error) {
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", fmt.Errorf("read own pid namespace: %w", err)
	}
	clocks, err := os.Readlink("/proc/self/ns/time")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read own time namespace: %w", err)
	}
	return pids + clocks, nil
}

// processStart is field 22 of /proc/PID/stat, proc_pid_stat(5).
func processStart(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The command's name, in brackets, may hold anything; fields count from behind it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
	}
	if state := fields[0]; state == "Z" {
		return "", fmt.Errorf("process %d has ended: %w", pid, os.ErrNotExist)
	}
	return fields[19], nil
}

// dead reports that the filter's maker is known to have ended. Whoever cannot be judged, because it
// lives in another namespace, is left alone.
func (m filterMark) dead() bool {
	if view, err := ownView(); err != nil || view != m.view {
		return false
	}
	start, err := processStart(m.pid)
	return errors.Is(err, os.ErrNotExist) || err == nil && start != m.start
}
