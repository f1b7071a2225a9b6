package owner

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// parseCgroup returns the path that says most in /proc/PID/cgroup, cgroups(7): that of version 2, else
// systemd's, else the deepest; "" if there is none. Paths are relative to our own cgroup namespace,
// so they may begin with "/..".
func parseCgroup(file []byte) string {
	// A file that was cut short ends in half a line.
	whole := bytes.LastIndexByte(file, '\n') + 1
	var unified, systemd, deepest string
	for line := range strings.Lines(string(file[:whole])) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok || !strings.HasPrefix(path, "/") {
			continue
		}
		path = strings.TrimSuffix(path, deletedSuffix)
		switch {
		case controllers == "":
			unified = path
		case controllers == "name=systemd":
			systemd = path
		case depth(path) > depth(deepest):
			deepest = path
		}
	}
	for _, path := range []string{unified, systemd, deepest} {
		if depth(path) > 0 {
			return path
		}
	}
	if unified+systemd+deepest != "" {
		return "/"
	}
	return ""
}

// depth is the number of names in a path: 0 for "" and "/".
func depth(path string) int {
	if path == "/" {
		return 0
	}
	return strings.Count(path, "/")
}

const (
	maxCgroups = 20_000
	walkPause  = 2 * time.Second
)

// cgroups finds the path of a version 2 cgroup by its id, which is the inode number of its directory,
// for processes that ended before they were looked up. It is for one goroutine.
type cgroups struct {
	proc   string
	paths  map[uint64]string // "": it is no more
	walked time.Time
}

func newCgroups(proc string) *cgroups {
	return &cgroups{proc: proc, paths: make(map[uint64]string)}
}

// path returns "" if there is no such cgroup. settled is false if that may change, because the tree
// was walked only a moment ago.
func (c *cgroups) path(id uint64) (path string, settled bool) {
	if path, ok := c.paths[id]; ok || id == 0 {
		return path, true
	}
	if time.Since(c.walked) < walkPause {
		return "", false
	}
	c.walk()
	c.walked = time.Now()
	if _, ok := c.paths[id]; !ok {
		c.paths[id] = "" // ids are not used twice
	}
	return c.paths[id], true
}

// walk learns the ids of all cgroups. Those that it knew and that are gone stay known.
func (c *cgroups) walk() {
	if len(c.paths) > maxCgroups {
		clear(c.paths)
	}
	top, root, hybrid := findCgroup2(c.proc)
	if top == "" {
		return
	}
	// Breadth first, so that the limit cuts off what lies deepest.
	names := []string{""}
	for i := 0; i < len(names); i++ {
		dir := top + names[i]
		var stat unix.Stat_t
		if unix.Stat(dir, &stat) != nil {
			continue
		}
		path := strings.TrimSuffix(root, "/") + names[i]
		switch {
		case path != "":
			c.paths[stat.Ino] = path
		case !hybrid: // where version 1 is in use, the top of version 2 says nothing
			c.paths[stat.Ino] = "/"
		}
		for _, child := range subdirectories(dir) {
			if len(names) < maxCgroups {
				names = append(names, names[i]+"/"+child)
			}
		}
	}
}

func subdirectories(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, _ := f.ReadDir(-1) // what could be read before an error is returned with it
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

// findCgroup2 finds where the hierarchy of version 2 is mounted ("" if nowhere), which of its
// cgroups is seen there, and whether version 1 is mounted too.
func findCgroup2(proc string) (mountPoint, root string, hybrid bool) {
	f, err := os.Open(filepath.Join(proc, "self", "mountinfo"))
	if err != nil {
		return "", "", false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// proc_pid_mountinfo(5): ID parent major:minor root mount-point options [tags…] - type …
		mount, filesystem, _ := strings.Cut(lines.Text(), " - ")
		kind, _, _ := strings.Cut(filesystem, " ")
		fields := strings.Fields(mount)
		switch {
		case len(fields) < 5:
		case kind == "cgroup":
			hybrid = true
		case kind == "cgroup2" && (mountPoint == "" || fields[3] == "/"):
			mountPoint, root = unescapeMount(fields[4]), unescapeMount(fields[3])
		}
	}
	return mountPoint, root, hybrid
}

// unescapeMount undoes the \ooo of mountinfo.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
