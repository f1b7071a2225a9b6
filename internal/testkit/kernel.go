package testkit

import "testing"

// HasKernel reports whether this kernel is as new as minimum ("6.6"), for tests that do more where
// it is. One that does nothing otherwise wants RequireKernel.
func HasKernel(tb testing.TB, minimum string) bool {
	tb.Helper()
	older, err := olderThan(kernelRelease(), minimum)
	if err != nil {
		tb.Fatal(err)
	}
	return !older
}
