// Package services runs servers and clients that people use, from Debian's packages, for tests and
// measurements. Whoever starts one gives it namespaces of its own: what a server forked may outlive it.
package services

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// patience bounds every wait for a process; only a broken one meets it.
const patience = 20 * time.Second

// insistence is how long Insist waits before it asks again.
const insistence = 2 * time.Second

// Proc is a running one. Its methods are for one goroutine at a time.
type Proc struct {
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

// Start runs a command. What it prints becomes Output, other than what the command says goes elsewhere. Send
// and End are for those that have no standard input yet.
// Kill must be called.
func Start(cmd *exec.Cmd) (*Proc, error) {
	p := &Proc{Cmd: cmd, ended: make(chan struct{})}
	p.out.more = make(chan struct{}, 1)
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.out
	}
	cmd.WaitDelay = time.Second // what it forked may hold its output open
	if cmd.Stdin == nil {
		var err error
		if p.in, err = cmd.StdinPipe(); err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // whoever waits looks at the exit code
		close(p.ended)
	}()
	return p, nil
}

// Output is what the process has printed so far.
func (p *Proc) Output() string { return p.out.String() }

// Await waits until the process has printed n lines that match, and returns their submatches.
func (p *Proc) Await(line *regexp.Regexp, n int) ([][]string, error) {
	deadline := time.After(patience)
	for {
		if found := line.FindAllStringSubmatch(p.Output(), -1); len(found) >= n {
			return found, nil
		}
		select {
		case <-p.out.more:
		case <-p.ended:
			// The process may have printed its last lines after the look above.
			if found := line.FindAllStringSubmatch(p.Output(), -1); len(found) >= n {
				return found, nil
			}
			return nil, fmt.Errorf("%v ended before it printed %v %d times: %s", p.Args, line, n, &p.out)
		case <-deadline:
			return nil, fmt.Errorf("%v does not print %v %d times: %s", p.Args, line, n, &p.out)
		}
	}
}

// Send writes a line to the process's standard input.
func (p *Proc) Send(line string) error {
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		return fmt.Errorf("%v: %w", p.Args, err)
	}
	return nil
}

// End closes the process's standard input, waits for it to succeed and returns what it printed.
func (p *Proc) End() (string, error) {
	p.in.Close()
	if err := p.wait(); err != nil {
		return "", err
	}
	if !p.ProcessState.Success() {
		return "", fmt.Errorf("%v: %v: %s", p.Args, p.ProcessState, &p.out)
	}
	return p.Output(), nil
}

// Stop asks the process to end and waits until it has, however it does.
func (p *Proc) Stop(signal syscall.Signal) error {
	if err := p.Process.Signal(signal); err != nil {
		return fmt.Errorf("%v: %w", p.Args, err)
	}
	return p.wait()
}

// Insist is Stop for a process that may miss a signal: it is asked again.
func (p *Proc) Insist(signal syscall.Signal) error {
	for range patience / insistence {
		if err := p.Process.Signal(signal); err != nil {
			break // it has ended
		}
		select {
		case <-p.ended:
			return nil
		case <-time.After(insistence):
		}
	}
	return p.wait()
}

func (p *Proc) wait() error {
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%v does not end: %s", p.Args, &p.out)
	}
}

// Kill ends the process, unless it has ended, and waits for that.
func (p *Proc) Kill() {
	_ = p.Process.Kill() // it may have ended
	<-p.ended
}
