//go:build real

package real

import (
	"bytes"
	"io"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a process; only a broken one meets it.
const patience = 20 * time.Second

// process is one that runs beside the test, and is killed when the test ends.
type process struct {
	*exec.Cmd
	in    io.WriteCloser
	out   output
	ended chan struct{}
}

// output is what a process has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // something was added since it was last looked at
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	o.text.Write(p)
	o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs a command. What it prints becomes output, other than what the command says goes elsewhere.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd, ended: make(chan struct{})}
	p.out.more = make(chan struct{}, 1)
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	cmd.Stderr = &p.out
	cmd.WaitDelay = time.Second // what it forked may outlive it, until the namespace ends
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // whoever waits looks at the exit code
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// await waits until the process has printed n lines that match, and returns their submatches.
func (p *process) await(t *testing.T, line *regexp.Regexp, n int) [][]string {
	t.Helper()
	deadline := time.After(patience)
	for {
		if found := line.FindAllStringSubmatch(p.out.String(), -1); len(found) >= n {
			return found
		}
		select {
		case <-p.out.more:
		case <-p.ended:
			t.Fatalf("%v ended before it printed %v %d times: %s", p.Args, line, n, &p.out)
		case <-deadline:
			t.Fatalf("%v does not print %v %d times: %s", p.Args, line, n, &p.out)
		}
	}
}

// ask sends a line to the process, which may have sent others before, and awaits the nth answer.
func (p *process) ask(t *testing.T, question string, answer *regexp.Regexp, n int) []string {
	t.Helper()
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		t.Fatalf("%v: %v", p.Args, err)
	}
	return p.await(t, answer, n)[n-1]
}

// end closes the process's standard input, waits for it to succeed and returns what it printed.
func (p *process) end(t *testing.T) string {
	t.Helper()
	p.in.Close()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%v does not end: %s", p.Args, &p.out)
	}
	if !p.ProcessState.Success() {
		t.Fatalf("%v: %v: %s", p.Args, p.ProcessState, &p.out)
	}
	return p.out.String()
}

// stop asks the process to end and waits until it has, however it does.
func (p *process) stop(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		t.Fatalf("%v: %v", p.Args, err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%v does not stop: %s", p.Args, &p.out)
	}
}
