package testkit

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Environment of the kernel tier.
const (
	// envRequireKernel set to 1 turns skips for want of privileges into failures, so that a
	// runner that means to run the kernel tier cannot skip it unnoticed.
	envRequireKernel = "LOTRACE_REQUIRE_KERNEL"
	// envLedger names a file that gets a line for every requirement of every test:
	// "run TEST NEED KERNEL" or "skip TEST NEED KERNEL". A (TEST, NEED) that a matrix of kernels
	// only ever skipped is a test that ran nowhere.
	envLedger = "LOTRACE_TEST_LEDGER"
	// envInstructionClock set to 1 says that the machine's clock goes by executed instructions, one a nanosecond.
	envInstructionClock = "LOTRACE_INSTRUCTION_CLOCK"
	// envLong set to 1 asks for the long form of tests of faults.
	envLong = "LOTRACE_TEST_LONG"
	// envLongWay set to 1 has every packet take the long way through the programs.
	envLongWay = "LOTRACE_TEST_LONG_WAY"
)

// LongWay reports whether tests should load the programs that have no short way.
func LongWay() bool { return os.Getenv(envLongWay) == "1" }

// Long reports whether tests of faults should take their time.
func Long() bool { return os.Getenv(envLong) == "1" }

// RequireRoot skips the test unless it may make network namespaces and configure them.
func RequireRoot(tb testing.TB) {
	tb.Helper()
	missing, err := missingCapabilities()
	if err != nil {
		tb.Fatalf("read capabilities: %v", err)
	}
	if missing == "" {
		enter(tb, "run", "root")
		return
	}
	enter(tb, "skip", "root")
	if os.Getenv(envRequireKernel) == "1" {
		tb.Fatalf("needs root: %s missing, and %s=1 forbids to skip", missing, envRequireKernel)
	}
	tb.Skipf("needs root: %s missing", missing)
}

// OneKernel skips a test of what the kernel has no part in where time is short: on a matrix of kernels.
func OneKernel(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("the same on every kernel")
	}
}

// RequireInstructionClock skips the test but on the machine that scripts/test-kernels boots for it.
func RequireInstructionClock(tb testing.TB) {
	tb.Helper()
	if os.Getenv(envInstructionClock) != "1" {
		tb.Skip("this machine's clock does not go by instructions: scripts/test-kernels instructions")
	}
}

// RequireKernel skips the test on kernels before minimum ("6.6"); what names the feature.
func RequireKernel(tb testing.TB, minimum, what string) {
	tb.Helper()
	older, err := olderThan(kernelRelease(), minimum)
	if err != nil {
		tb.Fatal(err)
	}
	if older {
		enter(tb, "skip", minimum)
		tb.Skipf("%s needs Linux %s, this is %s", what, minimum, kernelRelease())
	}
	enter(tb, "run", minimum)
}

func missingCapabilities() (string, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return "", err
	}
	var missing []string
	for _, need := range []struct {
		bit  uint
		name string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}} {
		if sets[0].Effective&(1<<need.bit) == 0 {
			missing = append(missing, need.name)
		}
	}
	return strings.Join(missing, ", "), nil
}

func kernelRelease() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return ""
	}
	return unix.ByteSliceToString(uts.Release[:])
}

// olderThan compares the first two numbers of two kernel releases.
func olderThan(release, minimum string) (bool, error) {
	var have, need [2]int
	if _, err := fmt.Sscanf(release, "%d.%d", &have[0], &have[1]); err != nil {
		return false, fmt.Errorf("read kernel release %q: %w", release, err)
	}
	if _, err := fmt.Sscanf(minimum, "%d.%d", &need[0], &need[1]); err != nil {
		return false, fmt.Errorf("read minimum kernel %q: %w", minimum, err)
	}
	return have[0] < need[0] || have[0] == need[0] && have[1] < need[1], nil
}

// enter writes one line into the ledger, if there is one.
func enter(tb testing.TB, verb, need string) {
	tb.Helper()
	path := os.Getenv(envLedger)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		tb.Fatalf("open ledger: %v", err)
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "%s %s %s %s\n", verb, tb.Name(), need, kernelRelease()); err != nil {
		tb.Fatalf("write ledger: %v", err)
	}
}
