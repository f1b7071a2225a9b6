package hook

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/rights"
)

// guardianCommand is the one argument of a guardian: a child of ours that sits in the watched
// namespace, reads a pipe whose other end only we have, and removes our clsact filters when the pipe
// ends, which even SIGKILL cannot prevent. A link needs none: it ends with its process.
const guardianCommand = "clsact-guardian"

// mayGuard says that this program's main calls Guard, so that starting it again makes a guardian.
var mayGuard bool

// Guard is for the first line of main. In a guardian it works and exits. In a program that does not
// call it, what a killed process leaves stays until clsact is used there again.
func Guard() {
	if len(os.Args) != 2 || os.Args[1] != guardianCommand {
		mayGuard = true
		return
	}
	if err := guard(os.Stdin); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// guardian is our end of the pipe; nil where there is none.
type guardian struct {
	child *exec.Cmd
	pipe  *os.File
}

// startGuardian must run inside the watched namespace, which the child inherits.
func startGuardian() (*guardian, error) {
	if !mayGuard {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start guardian: %w", err)
	}
	defer r.Close()
	child := exec.Command("/proc/self/exe", guardianCommand)
	child.Args[0] = os.Args[0]
	child.Dir = "/"
	child.Stdin = r
	// With no terminal in common it outlives what a terminal does to us.
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start guardian: %w", err), w.Close())
	}
	return &guardian{child, w}, nil
}

// charge tells the guardian what to remove.
func (g *guardian) charge(ifindex int, mark filterMark) error {
	if g == nil {
		return nil
	}
	if _, err := fmt.Fprintln(g.pipe, ifindex, mark); err != nil {
		return fmt.Errorf("charge guardian: %w", err)
	}
	return nil
}

// Close ends the guardian before the pipe does, so that it leaves alone what others make from now on.
func (g *guardian) Close() error {
	if g == nil {
		return nil
	}
	err := g.child.Process.Kill()
	var killed *exec.ExitError
	if waited := g.child.Wait(); !errors.As(waited, &killed) {
		err = errors.Join(err, waited)
	}
	return errors.Join(err, g.pipe.Close())
}

// guard is the guardian's life.
func guard(pipe io.Reader) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := rights.Keep(1 << unix.CAP_NET_ADMIN); err != nil {
		return err
	}
	charge, err := io.ReadAll(pipe)
	if err != nil {
		return err
	}
	var ifindex int
	var name string
	if _, err := fmt.Fscan(strings.NewReader(string(charge)), &ifindex, &name); err != nil {
		return err // ended before there was anything to remove
	}
	mark, ok := parseFilterMark(name)
	if !ok {
		return fmt.Errorf("no filter of ours: %q", name)
	}
	c, err := newClsact(ifindex)
	if err != nil {
		return err
	}
	c.mark = mark
	return c.locked(func() error { return c.remove(func(other filterMark) bool { return other == mark }) })
}
