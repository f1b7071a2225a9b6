// Package machine says facts about the machine and this process's view of it, and judges none of them.
package machine

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
)

// Release is what uname -r prints; "": unknown.
func Release() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return ""
	}
	return unix.ByteSliceToString(uts.Release[:])
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

// CheckTypes asks for what relocation needs.
func CheckTypes() error {
	const path = "/sys/kernel/btf/vmlinux"
	if _, err := os.Stat(path); err != nil {
		return &advice.Error{
			Doing: "load programs",
			Need:  "the kernel's type information (" + path + ")",
			Fix:   "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
			Err:   err,
		}
	}
	return nil
}

// PIDNamespace is the inode number of our PID namespace, whose numbers people see; 0: no process
// is visible from there.
func PIDNamespace() uint32 {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/pid", &st); err != nil {
		return 0
	}
	return uint32(st.Ino)
}
