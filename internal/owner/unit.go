package owner

import (
	"slices"
	"strconv"
	"strings"
)

// unitOf returns the innermost systemd unit on a cgroup's path: of a user's service that one, not the
// user@.service around it. Slices only group; one is returned where nothing else is there. "" if none.
func unitOf(cgroup string) string {
	names := strings.Split(cgroup, "/")
	slice := ""
	for _, name := range slices.Backward(names) {
		// systemd puts a "_" before names that could be mistaken for the kernel's own files.
		name = strings.TrimPrefix(name, "_")
		switch kind := unitKind(name); {
		case kind == "slice" && slice == "":
			slice = name
		case kind != "slice" && kind != "":
			return name
		}
	}
	return slice
}

// unitKind returns the suffix of a unit's name if it is of a kind that has a cgroup, else "".
func unitKind(name string) string {
	const maxName = 255
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || len(name) > maxName || strings.ContainsFunc(name, notInUnits) {
		return ""
	}
	switch kind := name[dot+1:]; kind {
	case "service", "scope", "socket", "mount", "swap", "slice":
		return kind
	}
	return ""
}

func notInUnits(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(`:-_.\@`, r))
}

// containerOf returns the id of the innermost container on a cgroup's path, "" if there is none.
// LXC and systemd-nspawn know their containers by name: there, name is the id.
func containerOf(cgroup string) (id, name string) {
	names := strings.Split(cgroup, "/")
	for i := len(names) - 1; i > 0; i-- {
		inner := ""
		if i+1 < len(names) {
			inner = names[i+1]
		}
		if name := systemContainer(names[i-1], names[i], inner); name != "" {
			return name, name
		}
		if id := applicationContainer(names[i-1], names[i]); id != "" {
			return id, ""
		}
	}
	return "", ""
}

// systemContainer returns the name of the LXC or nspawn container whose cgroup this is. What watches
// over a container is not in it.
func systemContainer(outer, name, inner string) string {
	if container, ok := strings.CutPrefix(name, "lxc.payload."); ok {
		return container // LXC 4 and LXD
	}
	if outer == "lxc" || outer == "lxc.payload" {
		return name // LXC 1 to 3, Proxmox
	}
	if inner == "supervisor" {
		return ""
	}
	machine := between(name, "machine-", ".scope")
	if machine == "" && inner == "payload" {
		machine = between(name, "systemd-nspawn@", ".service")
	}
	machine = unescapeUnit(machine)
	if strings.HasPrefix(machine, "qemu-") {
		return "" // libvirt's virtual machine: the process is the emulator
	}
	return machine
}

// runtimes put ids shorter than 64 digits into the names of cgroups.
var runtimes = []string{"docker", "cri-containerd", "containerd", "nerdctl", "crio", "libpod"}

// applicationContainer returns the id in names such as docker-ID.scope, ID below docker or a pod,
// crio-ID, and parent.slice:cri-containerd:ID.
func applicationContainer(outer, name string) string {
	name = strings.TrimSuffix(name, ".scope")
	mark := strings.LastIndexAny(name, "-:")
	prefix, id := name[:max(mark, 0)], name[mark+1:]
	if strings.HasSuffix(prefix, "conmon") {
		return "" // the monitor beside a container of Podman or CRI-O
	}
	short := slices.Contains(runtimes, prefix) ||
		prefix == "" && (outer == "docker" || strings.HasPrefix(outer, "pod"))
	if len(id) < 32 || len(id) > 64 || len(id) != 64 && !short || strings.Trim(id, "0123456789abcdef") != "" {
		return ""
	}
	return id
}

func between(s, prefix, suffix string) string {
	s, hasPrefix := strings.CutPrefix(s, prefix)
	s, hasSuffix := strings.CutSuffix(s, suffix)
	if !hasPrefix || !hasSuffix {
		return ""
	}
	return s
}

// unescapeUnit undoes the \xHH of systemd.unit(5).
func unescapeUnit(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
