package loader

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MissingCapabilities names those of cap_bpf, cap_net_admin and cap_perfmon that this process
// lacks. cap_sys_admin stands in for the first and the last, as it does in the kernel.
func MissingCapabilities() ([]string, error) {
	effective, err := effectiveCapabilities()
	if err != nil {
		return nil, err
	}
	has := func(capability uint) bool { return effective&(1<<capability) != 0 }
	var missing []string
	if !has(unix.CAP_BPF) && !has(unix.CAP_SYS_ADMIN) {
		missing = append(missing, "cap_bpf")
	}
	if !has(unix.CAP_NET_ADMIN) {
		missing = append(missing, "cap_net_admin")
	}
	if !has(unix.CAP_PERFMON) && !has(unix.CAP_SYS_ADMIN) {
		missing = append(missing, "cap_perfmon")
	}
	return missing, nil
}

func effectiveCapabilities() (uint64, error) {
	f, err := os.Open("/proc/thread-self/status")
	if err != nil {
		return 0, fmt.Errorf("read own capabilities: %w", err)
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		if value, ok := strings.CutPrefix(scan.Text(), "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	return 0, errors.Join(errors.New("read own capabilities: no CapEff"), scan.Err())
}

// DropPrivileges gives up, on every thread and for good, the capabilities that counting does not
// need any more: all of them, but for the one that lets others' /proc/PID/exe be read and, with
// clsact, the one that removes the filter at Close. Those named in others (unix.CAP_CHOWN) stay as well.
// Nothing that is started from here on can have more, not even by a set-user-id bit (no_new_privs). Map
// access goes through open descriptors. Without AllThreadsSyscall (a cgo build) it returns an error and
// changes nothing.
func (l *Loader) DropPrivileges(others ...uint) error {
	l.source = nil
	keep := uint64(1 << unix.CAP_SYS_PTRACE)
	for _, capability := range others {
		keep |= 1 << capability
	}
	if l.hook == HookClsact {
		keep |= 1 << unix.CAP_NET_ADMIN
	}
	return keepCapabilities(keep)
}

// keepCapabilities drops, on every thread, all capabilities but those of keep, a set of bits, that the
// process has, and sees to it that none comes back.
func keepCapabilities(keep uint64) error {
	effective, err := effectiveCapabilities()
	if err != nil {
		return err
	}
	keep &= effective
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: uint32(keep), Permitted: uint32(keep)}}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno == 0 {
		_, _, errno = syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	}
	switch errno {
	case 0:
		return nil
	case unix.ENOTSUP:
		return &Error{
			Doing: "drop capabilities", Need: "a build without cgo", Fix: "build with CGO_ENABLED=0", Err: errno,
		}
	default:
		return fmt.Errorf("drop capabilities: %w", errno)
	}
}

// Lockdown returns the kernel's lockdown mode ("none", "integrity", "confidentiality"), or "" if
// it cannot be read.
func Lockdown() string {
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), "[")
	mode, _, _ := strings.Cut(rest, "]")
	return mode
}
