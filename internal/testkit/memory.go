package testkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// MemoryGroup is a cgroup with a limit on memory, of either version, that lives until its test ends.
type MemoryGroup struct {
	tb    testing.TB
	dir   string
	files memoryFiles
}

// memoryFiles is what one version calls its files.
type memoryFiles struct{ usage, limit, swap, events string }

var memoryVersions = map[string]memoryFiles{
	"cgroup2": {"memory.current", "memory.max", "memory.swap.max", "memory.events"},
	"cgroup":  {"memory.usage_in_bytes", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"},
}

// NewMemoryGroup skips the test where no such cgroup can be made.
func NewMemoryGroup(tb testing.TB) *MemoryGroup {
	tb.Helper()
	root, version, err := findMemory(tb)
	m := &MemoryGroup{tb, filepath.Join(root, fmt.Sprintf("lotrace-test-%d", os.Getpid())), memoryVersions[version]}
	if err == nil {
		err = os.Mkdir(m.dir, 0o755)
	}
	if err != nil {
		enter(tb, "skip", "memory_cgroup")
		tb.Skipf("needs a memory cgroup: %v", err)
	}
	enter(tb, "run", "memory_cgroup")
	tb.Cleanup(m.remove)
	return m
}

// findMemory returns where a hierarchy with the controller is mounted, and of which version it is.
func findMemory(tb testing.TB) (root, version string, err error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	err = errors.New("no hierarchy has the controller")
	for line := range strings.Lines(string(mounts)) {
		mount, source, _ := strings.Cut(line, " - ")
		root := strings.Fields(mount)[4]
		switch fields := strings.Fields(source); {
		case fields[0] == "cgroup" && slices.Contains(strings.Split(fields[2], ","), "memory"):
			return root, fields[0], nil
		case fields[0] == "cgroup2" && hasWord(filepath.Join(root, "cgroup.controllers"), "memory"):
			if err = handDownMemory(tb, root); err == nil {
				return root, fields[0], nil
			}
		}
	}
	return "", "", err
}

// handDownMemory lets groups below root have the controller until the test ends.
func handDownMemory(tb testing.TB, root string) error {
	control := filepath.Join(root, "cgroup.subtree_control")
	if hasWord(control, "memory") {
		return nil
	}
	if err := os.WriteFile(control, []byte("+memory"), 0); err != nil {
		return err
	}
	tb.Cleanup(func() {
		if err := os.WriteFile(control, []byte("-memory"), 0); err != nil {
			tb.Error(err)
		}
	})
	return nil
}

func hasWord(path, word string) bool {
	text, err := os.ReadFile(path)
	return err == nil && slices.Contains(strings.Fields(string(text)), word)
}

// Add moves a process in. What it has allocated before counts elsewhere.
func (m *MemoryGroup) Add(pid int) {
	m.tb.Helper()
	m.write("cgroup.procs", strconv.Itoa(pid))
}

// Leave lets the group have so many more bytes than it has now, and none of them swapped out.
func (m *MemoryGroup) Leave(bytes int) {
	m.tb.Helper()
	usage, err := strconv.Atoi(strings.TrimSpace(m.read(m.files.usage)))
	if err != nil {
		m.tb.Fatal(err)
	}
	m.write(m.files.limit, strconv.Itoa(usage+bytes))
	if _, err := os.Stat(filepath.Join(m.dir, m.files.swap)); err != nil {
		return // swap is not counted here
	}
	swap := 0
	if strings.Contains(m.files.swap, "memsw") { // which is both together
		swap = usage + bytes
	}
	m.write(m.files.swap, strconv.Itoa(swap))
}

// Kills is how many processes of the group the kernel has killed for want of memory.
func (m *MemoryGroup) Kills() int {
	m.tb.Helper()
	for line := range strings.Lines(m.read(m.files.events)) {
		var kills int
		if _, err := fmt.Sscanf(line, "oom_kill %d", &kills); err == nil {
			return kills
		}
	}
	m.tb.Fatalf("%s does not count", m.files.events)
	return 0
}

func (m *MemoryGroup) read(file string) string {
	m.tb.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, file))
	if err != nil {
		m.tb.Fatal(err)
	}
	return string(text)
}

func (m *MemoryGroup) write(file, text string) {
	m.tb.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, file), []byte(text), 0); err != nil {
		m.tb.Fatal(err)
	}
}

// remove waits for the last process to be gone from it.
func (m *MemoryGroup) remove() {
	poll := time.NewTicker(quietPoll)
	defer poll.Stop()
	for deadline := time.Now().Add(quietWithin); ; <-poll.C {
		err := os.Remove(m.dir)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.tb.Error(err)
			return
		}
	}
}
