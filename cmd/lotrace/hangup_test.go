package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hangsUp is a program that hangs up its controlling terminal, as login(1) does with the one it is given.
func hangsUp() {
	if _, _, errno := unix.Syscall(unix.SYS_VHANGUP, 0, 0, 0); errno != 0 {
		panic(errno)
	}
}

// A command whose terminal cannot be watched goes on without.
func TestUnwatchedTerminal(t *testing.T) {
	typist, program := openTerminals(t, 80)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	none := unix.Rlimit{Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil { // nothing more can be opened, epoll included
		t.Fatal(err)
	}
	code := run(t.Context(), []string{"version"}, nil, strings.NewReader(""), program, &stderr)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	b := make([]byte, 1024)
	if n, err := typist.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "lotrace ") {
		t.Errorf("showed %q, %v", b[:n], err)
	}
	const want = "lotrace: warning: watch the terminal: too many open files: its end will not end lotrace\n"
	if stderr.String() != want {
		t.Errorf("said %q, want %q", &stderr, want)
	}
}

func TestOnHangup(t *testing.T) {
	for name, hangUp := range map[string]func(t *testing.T, typist, program *os.File){
		"closed": func(t *testing.T, typist, _ *os.File) {
			if err := typist.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"vhangup": func(t *testing.T, _, program *os.File) {
			cmd := exec.Command("lotrace-hangs-up")
			cmd.Stdin = program
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != -1 { // it may get SIGHUP itself
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			typist, program := openTerminals(t, 80)
			gone, stopped := make(chan struct{}), make(chan struct{})
			stop, err := onHangup(program, func() { close(gone) })
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			stopOther, err := onHangup(program, func() { close(stopped) })
			if err != nil {
				t.Fatal(err)
			}
			stopOther()
			b := make([]byte, 16)
			for range 3 { // a line that is typed is no hangup
				if _, err := typist.WriteString("x\n"); err != nil {
					t.Fatal(err)
				}
				if _, err := program.Read(b); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-gone:
				t.Fatal("gone before the terminal was")
			default:
			}
			hangUp(t, typist, program)
			select {
			case <-gone:
			case <-time.After(patience):
				t.Fatal("the hangup is not noticed")
			}
			select {
			case <-stopped:
				t.Error("noticed after stop")
			default:
			}
		})
	}
}
