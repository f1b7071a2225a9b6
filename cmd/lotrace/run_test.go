package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/lotrace/lotrace/internal/testkit"
)

// lotrace runs a command line in this process.
func lotrace(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = run(t.Context(), args, env, strings.NewReader(""), &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		env    string
		args   string
		stderr string // the first line; the second one leads to the help named in it
	}{
		{"", "flwos", `lotrace: unknown command "flwos"; did you mean flows?`},
		{"", "top -i 0.05", `lotrace: top: invalid --interval "0.05": want 100ms or more`},
		{"", "top --by client", `lotrace: top: invalid --by "client": want service, pair, flow, process or cgroup`},
		{"", "-i 0.05", `lotrace: top: invalid --interval "0.05": want 100ms or more`},
		{"", "--bogus demo", `lotrace: unknown flag --bogus`},
		{"", "--duratoin 1 demo", `lotrace: unknown flag --duratoin; did you mean --duration?`},
		{"", "demo --kind udp", `lotrace: demo: unknown flag --kind; did you mean --kinds?`},
		{"", "demo -z", `lotrace: demo: unknown flag -z`},
		{"", "demo -d", `lotrace: demo: --duration needs a value`},
		{"", "demo -d soon", `lotrace: demo: invalid --duration "soon": want a duration, as 500ms, 10s or 2m; a bare number means seconds`},
		{"", "demo extra", `lotrace: demo: unexpected argument "extra"`},
		{"", "demo -- extra", `lotrace: demo: unexpected argument "extra"`},
		{"", "-- ls", `lotrace: unexpected argument "ls"`},
		{"", "demo -o jsn", `lotrace: demo: invalid --output "jsn": want table or json; did you mean json?`},
		{"", "demo --quiet=maybe", `lotrace: demo: invalid --quiet "maybe": want true or false`},
		{"", "demo --kinds udp,htp", `lotrace: demo: invalid --kinds "udp,htp": want http, echo, bulk, connect, udp or ipv6; did you mean http?`},
		{"", "version --rate 5", `lotrace: version: unknown flag --rate`},
		{"", "completion", `lotrace: completion: want one shell: bash, fish or zsh`},
		{"", "completion bash zsh", `lotrace: completion: want one shell: bash, fish or zsh`},
		{"", "completion zhs", `lotrace: completion: unknown shell "zhs": want bash, fish or zsh; did you mean zsh?`},
		{"", "help demoo", `lotrace: help: unknown command "demoo"; did you mean demo?`},
		{"", "help demo version", `lotrace: help: unexpected argument "version"`},
		{"LOTRACE_RATE=lots", "demo", `lotrace: demo: invalid LOTRACE_RATE=lots: want a whole number from 1 to 100000`},
		{"LOTRACE_QUIET=maybe", "demo", `lotrace: demo: invalid LOTRACE_QUIET=maybe: want true or false`},
		{"LOTRACE_OUTPUT=jsn", "version", `lotrace: version: invalid LOTRACE_OUTPUT=jsn: want table or json; did you mean json?`},
	} {
		t.Run(tt.env+" "+tt.args, func(t *testing.T) {
			code, stdout, stderr := lotrace(t, []string{tt.env}, strings.Fields(tt.args)...)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			first, rest, _ := strings.Cut(stderr, "\n")
			if first != tt.stderr {
				t.Errorf("got  %s\nwant %s", first, tt.stderr)
			}
			// "lotrace: demo: ..." leads to "lotrace demo --help".
			page := "lotrace"
			if c, _, ok := strings.Cut(strings.TrimPrefix(first, "lotrace: "), ":"); ok && lookup(commands(), c) != nil {
				page += " " + c
			}
			if want := "see " + page + " --help\n"; rest != want {
				t.Errorf("then %q, want %q", rest, want)
			}
		})
	}
}

func TestHelpGoesToStdout(t *testing.T) {
	for _, tt := range []struct{ args, title string }{
		{"--help", "lotrace shows"},
		{"-h", "lotrace shows"},
		{"help", "lotrace shows"},
		{"help demo", "lotrace demo - "},
		{"demo --help", "lotrace demo - "},
		{"--help demo", "lotrace demo - "},
		{"demo -qh", "lotrace demo - "},
		{"help --help", "lotrace help - "},
	} {
		code, stdout, stderr := lotrace(t, []string{"LOTRACE_RATE=wrong"}, strings.Fields(tt.args)...)
		if code != exitOK || stderr != "" || !strings.HasPrefix(stdout, tt.title) {
			t.Errorf("%s: exit code %d, stderr %q, stdout %q", tt.args, code, stderr, stdout)
		}
	}
}

// Text that a message repeats does not command the terminal.
func TestMessagesArePlain(t *testing.T) {
	for _, tt := range []struct{ env, arg, want string }{
		{"", "--netns=a\x1b[2J\u202eb/", `open network namespace a\x1b[2J\u202eb/: `},
		{"LOTRACE_NETNS=\u009b2J/", "-q", `open network namespace \u009b2J/: `},
	} {
		code, stdout, stderr := lotrace(t, []string{tt.env}, "flows", tt.arg)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s %q: exit code %d, stdout %q, stderr %q", tt.env, tt.arg, code, stdout, stderr)
		}
	}
}

func TestNoCommand(t *testing.T) {
	// Packaging scripts have such a variable; it is not meant as --version.
	code, stdout, stderr := lotrace(t, []string{"LOTRACE_VERSION=1.2.3"})
	if code != exitUsage || stdout != "" || stderr != overview() {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct{ args, name, rest string }{
		{"", "", ""},
		{"demo", "demo", ""},
		{"demo -d 5 --rate 3", "demo", "-d 5 --rate 3"},
		{"-d 5 demo --rate 3", "demo", "-d 5 --rate 3"},
		{"-d demo version", "version", "-d demo"},
		{"--output=json -q version", "version", "--output=json -q"},
		{"-qd5 demo", "demo", "-qd5"},
		{"--version", "", "--version"},
		{"-- demo", "", "-- demo"},
		{"-q -- demo", "", "-q -- demo"},
		{"demo -- version", "demo", "-- version"},
		{"help demo", "help", "demo"},
	} {
		args := strings.Fields(tt.args)
		given := slices.Clone(args)
		cmd, rest, err := choose(commands(), args)
		if err != nil || cmd.name != tt.name || strings.Join(rest, " ") != tt.rest {
			t.Errorf("%s: command %q, rest %q, error %v", tt.args, cmd.name, rest, err)
		}
		if !slices.Equal(args, given) {
			t.Errorf("%s: arguments became %q", tt.args, args)
		}
	}
}

// execute runs a command that is not in the registry.
func execute(t *testing.T, do func(context.Context, *invocation) error) error {
	t.Helper()
	c := &command{name: "test", run: do}
	return c.execute(t.Context(), nil, &invocation{})
}

func TestReport(t *testing.T) {
	demo := &command{name: "demo"}
	for _, tt := range []struct {
		err    error
		code   int
		stderr string
	}{
		{nil, exitOK, ""},
		{errors.New("listen: no"), exitFailed, "lotrace: demo: listen: no\n"},
		{usagef("no"), exitUsage, "lotrace: demo: no\nsee lotrace demo --help\n"},
		{context.Canceled, exitFailed, "lotrace: demo: interrupted\n"},
		{execute(t, func(context.Context, *invocation) error { return usagef("deep") }),
			exitUsage, "lotrace: demo: deep\nsee lotrace demo --help\n"},
	} {
		var stderr bytes.Buffer
		if code := report(&stderr, demo, tt.err); code != tt.code || stderr.String() != tt.stderr {
			t.Errorf("%v: exit code %d, stderr %q", tt.err, code, stderr.String())
		}
	}
}

func TestWatchedWriter(t *testing.T) {
	told := 0
	w := &watchedWriter{w: failingWriter{}, failed: func() { told++ }}
	for range 2 {
		if _, err := w.Write([]byte("x")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("error %v", err)
		}
	}
	if told != 1 || !errors.Is(w.err, syscall.ENOSPC) {
		t.Errorf("told %d times, error %v", told, w.err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestFullDisk(t *testing.T) {
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"version"}, nil, nil, failingWriter{}, &stderr)
	if code != exitFailed || !strings.Contains(stderr.String(), "no space left on device") {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}

// TestReaderGone holds that a command learns that nobody reads it, and that this is no failure.
func TestReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	var stderr bytes.Buffer
	args := []string{"completion", "bash"}
	if code := run(t.Context(), args, nil, nil, w, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}

func TestUseColor(t *testing.T) {
	for _, tt := range []struct {
		when     string
		terminal bool
		env      string
		want     bool
	}{
		{"auto", true, "", true},
		{"auto", false, "", false},
		{"auto", true, "NO_COLOR=1", false},
		{"auto", true, "NO_COLOR=", true},
		{"auto", true, "TERM=dumb", false},
		{"always", false, "NO_COLOR=1", true},
		{"never", true, "", false},
	} {
		inv := &invocation{env: environment([]string{tt.env})}
		if tt.terminal {
			inv.screen = os.Stdout
		}
		if got := inv.useColor(tt.when); got != tt.want {
			t.Errorf("%s, terminal %t, %s: %t", tt.when, tt.terminal, tt.env, got)
		}
	}
}

func TestTerminal(t *testing.T) {
	screen := openTerminal(t, 132)
	if inv := (&invocation{screen: terminal(screen)}); inv.screen == nil || inv.width() != 132 {
		t.Errorf("terminal: %v, width %d", inv.screen, inv.width())
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, w := range []io.Writer{null, &bytes.Buffer{}} {
		if inv := (&invocation{screen: terminal(w)}); inv.screen != nil || inv.width() != 0 {
			t.Errorf("%T: terminal: %v, width %d", w, inv.screen, inv.width())
		}
	}
}

// openTerminal returns the program's side of a new pseudo-terminal.
func openTerminal(t *testing.T, columns uint16) *os.File {
	t.Helper()
	_, program := openTerminals(t, columns)
	return program
}

// openTerminals returns both sides of a new pseudo-terminal: the one that types and sees, and the program's.
func openTerminals(t *testing.T, columns uint16) (typist, program *os.File) {
	t.Helper()
	return testkit.OpenTerminal(t, columns, 24)
}

// stopSignals are those that end lotrace. One that the tests were started to ignore, as under nohup,
// is ignored by every child too. The kernel is asked: signal.Ignored forgets it once a test was notified of the signal.
func stopSignals(t *testing.T) []syscall.Signal {
	t.Helper()
	all := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	ignored := ignoredSignals(t, "self")
	return slices.DeleteFunc(all, func(s syscall.Signal) bool { return ignored&(1<<(s-1)) != 0 })
}

// TestSignals ends a real process with each signal, once it is known to be at work.
func TestSignals(t *testing.T) {
	for _, sig := range stopSignals(t) {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "lotrace", "demo", "--duration", "1h", "--kinds", "udp")
			stdout := startAndAwait(t, cmd, "lotrace: demo: udp on")
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("ended with %v", err)
			}
			if !strings.Contains(stdout.String(), "udp") {
				t.Errorf("no summary: %q", stdout)
			}
		})
	}
}

// TestIgnoredSignals holds that a process started with a signal ignored leaves it so.
func TestIgnoredSignals(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c",
		"trap '' HUP; exec lotrace demo --duration 1h --kinds udp")
	startAndAwait(t, cmd, "lotrace: demo: udp on")
	ignored := ignoredSignals(t, strconv.Itoa(cmd.Process.Pid))
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
	// The process that runs the tests may have ignored signals before.
	if want := ignoredSignals(t, "self") | 1<<(syscall.SIGHUP-1); ignored != want {
		t.Errorf("ignores signals %#x, want %#x", ignored, want)
	}
}

// ignoredSignals is a process's SigIgn, proc_pid_status(5): bit n-1 for signal n.
func ignoredSignals(t *testing.T, pid string) uint64 {
	t.Helper()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:\t")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(line, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask
}

// startAndAwait starts cmd, waits for a line on its stderr and returns what will be its stdout.
func startAndAwait(t *testing.T, cmd *exec.Cmd, line string) *bytes.Buffer {
	t.Helper()
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), line) {
			return &stdout
		}
	}
	t.Fatalf("ended without %q: %v", line, cmd.Wait())
	return nil
}
