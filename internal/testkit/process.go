package testkit

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Environment of a test binary that plays a role.
const (
	envRole = "LOTRACE_TESTKIT_ROLE" // which; its arguments are the role's
	envPID  = "LOTRACE_TESTKIT_PID"  // unless empty, the only PID with which it may
)

// lastPID is where the kernel says after which PID it will look for the next free one.
const lastPID = "/proc/sys/kernel/ns_last_pid"

// pidTries is how often StartWithPID tries: whoever starts a thread or a process in between takes
// the PID away.
const pidTries = 100

var (
	roles     = map[string]func(args []string) error{}
	rolesLive bool // RunRole was called
)

// RegisterRole names what the test binary does when Start runs it as a process of its own. A role
// talks to its test by lines on its standard input and output. Call it before RunRole.
func RegisterRole(name string, role func(args []string) error) { roles[name] = role }

// RunRole plays the role that this process was started for, and then exits; otherwise it returns.
// It is the first thing TestMain does, after the roles are registered.
func RunRole() {
	name := os.Getenv(envRole)
	if name == "" {
		rolesLive = true
		return
	}
	if pid := os.Getenv(envPID); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		os.Exit(0)
	}
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", name)
		os.Exit(2)
	}
	if err := role(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Child is a process to start: a role of the test binary, or a Perl script.
type Child struct {
	Role  string
	Perl  string // the script's text; used when not empty
	Args  []string
	Files []*os.File          // its descriptors from 3 on; the caller keeps its own
	Attr  syscall.SysProcAttr // such as Cloneflags for a PID namespace of its own, or a cgroup

	pid int // to have; 0: any
}

// Proc is a running process inside a namespace. It is killed when its test ends, and when the test
// binary does. Its methods other than Kill fail the test on error, so they belong on the test's
// goroutine.
type Proc struct {
	PID int // as the test sees it

	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *os.File
	said *bufio.Reader
}

// Start runs the test binary in a role inside the namespace. A role takes some milliseconds to
// start; Perl takes two.
func (n *Netns) Start(tb testing.TB, role string, args ...string) *Proc {
	tb.Helper()
	return n.StartChild(tb, Child{Role: role, Args: args})
}

// StartWithPID is Start with a PID that was free a moment ago, to use one twice. It fails the test
// when others are faster too often. The role is not played under any other PID.
func (n *Netns) StartWithPID(tb testing.TB, pid int, role string, args ...string) *Proc {
	tb.Helper()
	return n.StartChild(tb, Child{Role: role, Args: args, pid: pid})
}

// Perl runs a script inside the namespace, with each line that it prints sent at once. Scripts that
// have to start fast do without modules: Socket alone costs seven milliseconds. It skips the test
// where RequirePerl does.
func (n *Netns) Perl(tb testing.TB, script string, args ...string) *Proc {
	tb.Helper()
	return n.StartChild(tb, Child{Perl: script, Args: args})
}

// StartChild is Start and Perl for everything they have no argument for.
func (n *Netns) StartChild(tb testing.TB, c Child) *Proc {
	tb.Helper()
	if c.Perl != "" {
		RequirePerl(tb)
	} else if !rolesLive {
		tb.Fatal("start a role: TestMain must call testkit.RunRole first")
	}
	for range pidTries {
		p, err := n.start(&c)
		if err != nil {
			tb.Fatalf("start process: %v", err)
		}
		if c.pid == 0 || p.PID == c.pid {
			tb.Cleanup(p.Kill)
			return p
		}
		p.Kill()
	}
	tb.Fatalf("start process: PID %d was taken %d times", c.pid, pidTries)
	return nil
}

func (n *Netns) start(c *Child) (*Proc, error) {
	cmd, err := c.command()
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	defer childOut.Close()
	cmd.Stdout = childOut
	// The new process gets the namespace of the thread that makes it.
	err = n.Do(func() error {
		if c.pid != 0 {
			if err := os.WriteFile(lastPID, []byte(strconv.Itoa(c.pid-1)), 0); err != nil {
				return err
			}
		}
		return cmd.Start()
	})
	if err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	p := &Proc{PID: cmd.Process.Pid, cmd: cmd, in: in, out: out, said: bufio.NewReader(out)}
	p.name = fmt.Sprintf("%s (PID %d)", cmp.Or(c.Role, "perl"), p.PID)
	return p, nil
}

func (c *Child) command() (*exec.Cmd, error) {
	var cmd *exec.Cmd
	if c.Perl != "" {
		cmd = exec.Command("perl", append([]string{"-e", "$| = 1;", "-e", c.Perl, "--"}, c.Args...)...)
	} else {
		binary, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd = exec.Command(binary, c.Args...)
		cmd.Env = append(os.Environ(), envRole+"="+c.Role)
		if c.pid != 0 {
			cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", envPID, c.pid))
		}
	}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = c.Files
	attr := c.Attr
	// The signal comes when the thread ends that made the process. Go ends no thread, other than that
	// of a goroutine which ends locked to it.
	attr.Pdeathsig = unix.SIGKILL
	attr.Setpgid = true // what it forks can be killed with it
	cmd.SysProcAttr = &attr
	return cmd, nil
}

// Expect reads the next line, fails the test unless it begins with prefix, and returns the rest of
// it. It waits for the line as long as any test waits for anything.
func (p *Proc) Expect(tb testing.TB, prefix string) string {
	tb.Helper()
	if err := p.out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatalf("%s: wait for %q: %v", p.name, prefix, err)
	}
	line, err := p.said.ReadString('\n')
	if err != nil {
		tb.Fatalf("%s: wait for %q: %v after %q", p.name, prefix, err, line)
	}
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), prefix)
	if !ok {
		tb.Fatalf("%s said %q instead of %q", p.name, line, prefix)
	}
	return rest
}

// Send writes a line to the process's standard input.
func (p *Proc) Send(tb testing.TB, line string) {
	tb.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		tb.Fatalf("%s: send %q: %v", p.name, line, err)
	}
}

// Wait closes the process's standard input, waits until the process has exited, and fails the test
// unless it did so with success. What it forked and left behind is killed. Its PID is free then.
func (p *Proc) Wait(tb testing.TB) {
	tb.Helper()
	p.in.Close()
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		p.awaitExit()
	}()
	select {
	case <-exited:
	case <-time.After(patience):
		tb.Errorf("%s did not exit within %v", p.name, patience)
	}
	p.Kill()
	if !p.cmd.ProcessState.Success() {
		tb.Fatalf("%s: %v", p.name, p.cmd.ProcessState)
	}
}

// awaitExit leaves the exited process where it is, so that its PID still names it and its group.
func (p *Proc) awaitExit() {
	for {
		err := unix.Waitid(unix.P_PID, p.PID, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// Kill ends the process and what it forked, unless it was waited for. Its PID is free then.
func (p *Proc) Kill() {
	if p.cmd.ProcessState != nil {
		return // the PID may be somebody else's by now
	}
	// Errors say how it ended, which ProcessState does too.
	_ = unix.Kill(-p.PID, unix.SIGKILL)
	_ = p.cmd.Wait()
	p.in.Close()
	p.out.Close()
}

// RequirePerl skips the test where there is no Perl; Debian always has one, an initramfs has none.
func RequirePerl(tb testing.TB) {
	tb.Helper()
	RequireProgram(tb, "perl")
}

// RequireProgram skips the test where there is no such program, as in an initramfs.
func RequireProgram(tb testing.TB, name string) {
	tb.Helper()
	if _, err := exec.LookPath(name); err != nil {
		enter(tb, "skip", name)
		tb.Skipf("needs %s: %v", name, err)
	}
	enter(tb, "run", name)
}

// PerlClient is a script for a client that lives for one TCP connection: it sends a line, reads one
// and prints "PID PORT", its own. Arguments: PerlAddr of the server, and the line to send. Another
// script gets it as an argument to run it many times: exec 'perl', '-e', $client, $addr, $line.
const PerlClient = `
my ($addr, $line) = (pack('H*', $ARGV[0]), $ARGV[1]);
socket(my $s, unpack('S', $addr), 1, 0) or die "socket: $!";
connect($s, $addr) or die "connect: $!";
syswrite($s, "$line\n") or die "send: $!";
defined(<$s>) or die "no answer: $!";
print "$$ ", unpack('x2 n', getsockname($s)), "\n";
`

// PerlAddr writes an address so that pack('H*', …) makes of it what connect and bind take, without
// the Socket module.
func PerlAddr(ap netip.AddrPort) string {
	addr := ap.Addr().AsSlice()
	if ap.Addr().Is4() {
		return fmt.Sprintf("%x%04x%x%016x", nativeEndian(unix.AF_INET), ap.Port(), addr, 0)
	}
	return fmt.Sprintf("%x%04x%08x%x%08x", nativeEndian(unix.AF_INET6), ap.Port(), 0, addr, 0)
}

func nativeEndian(n uint16) []byte { return binary.NativeEndian.AppendUint16(nil, n) }
