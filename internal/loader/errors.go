package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/machine"
)

// ErrNetnsGone is returned by Alive when the watched network namespace's name leads nowhere.
var ErrNetnsGone = errors.New("the network namespace is gone")

// ErrRemoved is returned by Alive once somebody has taken our program from the device, or put another
// in its place.
var ErrRemoved = errors.New("somebody else removed or replaced our program")

// loadError turns what the kernel said to a load into advice.
func loadError(err error) error {
	e := &advice.Error{Doing: "load programs", Err: err}
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier):
		e.Found = "the kernel's verifier refused them"
		e.Fix = "please report this with the output of -v"
	case errors.Is(err, unix.EPERM):
		e.Found = "refused although the capabilities are there"
		e.Fix = "look for kernel lockdown (/sys/kernel/security/lockdown), a seccomp profile or an LSM policy"
		if mode := machine.Lockdown(); mode == "confidentiality" {
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
