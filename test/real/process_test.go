//go:build real

package real

import (
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/services"
)

// patience bounds every wait; only a broken run meets it.
const patience = 20 * time.Second

// process is one that runs beside the test, and is killed when the test ends.
type process struct{ *services.Proc }

// start runs a command.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p, err := services.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return &process{p}
}

// await waits until the process has printed n lines that match, and returns their submatches.
func (p *process) await(t *testing.T, line *regexp.Regexp, n int) [][]string {
	t.Helper()
	found, err := p.Await(line, n)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// ask sends a line to the process, which may have sent others before, and awaits the nth answer.
func (p *process) ask(t *testing.T, question string, answer *regexp.Regexp, n int) []string {
	t.Helper()
	if err := p.Send(question); err != nil {
		t.Fatal(err)
	}
	return p.await(t, answer, n)[n-1]
}

// end closes the process's standard input, waits for it to succeed and returns what it printed.
func (p *process) end(t *testing.T) string {
	t.Helper()
	text, err := p.End()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// stop asks the process to end and waits until it has, however it does.
func (p *process) stop(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.Stop(signal); err != nil {
		t.Fatal(err)
	}
}
