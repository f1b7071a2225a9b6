package testkit

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// OpenTerminal makes a pseudo-terminal of that size: what is typed into typist, program reads, and what
// program draws, typist reads. It skips the test where there are none.
func OpenTerminal(tb testing.TB, columns, lines uint16) (typist, program *os.File) {
	tb.Helper()
	open := func(name string) *os.File {
		f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			tb.Skipf("no pseudo-terminals here: %v", err)
		}
		tb.Cleanup(func() { f.Close() })
		return f
	}
	typist = open("/dev/ptmx")
	fd := int(typist.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		tb.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		tb.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: lines, Col: columns}); err != nil {
		tb.Fatal(err)
	}
	return typist, open("/dev/pts/" + strconv.Itoa(number))
}
