package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ErrNetnsGone is returned by Alive when the watched network namespace's name leads nowhere.
var ErrNetnsGone = errors.New("the network namespace is gone")

// ErrRemoved is returned by Alive once somebody has taken our program from the device, or put another
// in its place.
var ErrRemoved = errors.New("somebody else removed or replaced our program")

// Error says what could not be done and what would help.
type Error struct {
	Doing string // verb phrase: "attach tcx egress"
	Need  string // what it takes: "Linux 6.6"; may be empty
	Found string // what is there instead: "this is 6.1"; may be empty
	Fix   string // what to do: "use --hook clsact"; may be empty
	Err   error  // the cause; may be nil
}

// Error gives the whole in one line: doing: needs, found: cause; fix.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Doing)
	switch {
	case e.Need != "" && e.Found != "":
		fmt.Fprintf(&b, ": needs %s, %s", e.Need, e.Found)
	case e.Need != "":
		fmt.Fprintf(&b, ": needs %s", e.Need)
	case e.Found != "":
		fmt.Fprintf(&b, ": %s", e.Found)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Fix != "" {
		fmt.Fprintf(&b, "; %s", e.Fix)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// setcapFix is the least that lets lotrace run as another user.
const setcapFix = "run as root, or: sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep $(command -v lotrace)"

// checkPrivileges names the capabilities that are missing before the kernel answers EPERM.
func checkPrivileges() error {
	missing, err := MissingCapabilities()
	if err != nil || len(missing) == 0 {
		return err
	}
	return &Error{Doing: "load programs", Need: strings.Join(missing, ", "), Fix: setcapFix}
}

// loadError turns what the kernel said to a load into advice.
func loadError(err error) error {
	e := &Error{Doing: "load programs", Err: err}
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier):
		e.Found = "the kernel's verifier refused them"
		e.Fix = "please report this with the output of -v"
	case errors.Is(err, unix.EPERM):
		e.Found = "refused although the capabilities are there"
		e.Fix = "look for kernel lockdown (/sys/kernel/security/lockdown), a seccomp profile or an LSM policy"
		if mode := Lockdown(); mode == "confidentiality" {
			e.Found = "kernel lockdown is in confidentiality mode"
			e.Fix = "boot with lockdown=integrity or none"
		}
	case errors.Is(err, unix.ENOMEM):
		e.Fix = "use a smaller --max-flows"
	}
	return e
}

// VerifierLog is what the kernel's verifier wrote about a program it refused, or "".
func VerifierLog(err error) string {
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) {
		return ""
	}
	return fmt.Sprintf("%+v", verifier)
}

// checkBTF asks for what relocation needs.
func checkBTF() error {
	const path = "/sys/kernel/btf/vmlinux"
	if _, err := os.Stat(path); err != nil {
		return &Error{
			Doing: "load programs",
			Need:  "the kernel's type information (" + path + ")",
			Fix:   "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
			Err:   err,
		}
	}
	return nil
}
