// Package rights is what this process may do: the capabilities that counting takes, and giving them up.
package rights

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"github.com/lotrace/lotrace/internal/advice"
)

// Missing names those of cap_bpf, cap_net_admin and cap_perfmon that this process
// lacks. cap_sys_admin stands in for the first and the last, as it does in the kernel.
func Missing() ([]string, error) {
	effective, err := Effective()
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

// Effective returns the calling thread's effective capabilities, a set of bits (1<<unix.CAP_BPF).
func Effective() (uint64, error) {
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

// Fix is the least that lets lotrace run as another user.
const Fix = "run as root, or: sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep $(command -v lotrace)"

// Check names the capabilities that are missing before the kernel answers EPERM.
func Check() error {
	missing, err := Missing()
	if err != nil || len(missing) == 0 {
		return err
	}
	return &advice.Error{Doing: "load programs", Need: strings.Join(missing, ", "), Fix: Fix}
}

// Keep drops, on every thread, all capabilities but those of keep, a set of bits, that the
// process has, and sees to it that none comes back.
func Keep(keep uint64) error {
	effective, err := Effective()
	if err != nil {
		return err
	}
	keep &= effective
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: uint32(keep), Permitted: uint32(keep)}}
	// Package syscall refuses AllThreadsSyscall where cgo may have made threads; psx has a way for those as well.
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno == 0 {
		_, _, errno = psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	}
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}
