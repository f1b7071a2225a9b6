package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// envBinary names the lotrace binary to measure; the first process sets it for the second, which
// runs inside the namespaces.
const envBinary = "LOTRACE_BENCH_BINARY"

// enter builds lotrace, which may need the network, and runs this program again where there is none. When
// that ends, however it does, the kernel ends what it started.
func enter(ctx context.Context, args []string, stdout io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("measure: needs root")
	}
	dir, err := os.MkdirTemp("", "lotrace-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "lotrace")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
		"-o", binary, "github.com/lotrace/lotrace/cmd/lotrace")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile builds it
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build lotrace: %w", err)
	}

	inside := exec.CommandContext(ctx, "/proc/self/exe", args...)
	inside.Cancel = func() error { return inside.Process.Signal(os.Interrupt) }
	inside.Env = append(os.Environ(), envBinary+"="+binary, "TMPDIR="+scratch)
	inside.Stdout, inside.Stderr = stdout, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	// The signal comes when the thread ends that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := inside.Run(); err != nil {
		return fmt.Errorf("measure in namespaces: %w", err)
	}
	return nil
}

// scratch is where services leave their files: in memory, and gone with the namespace.
const scratch = "/dev/shm"

// settle makes the new namespaces a place to work in. Nothing of it is seen outside.
func settle() error {
	if os.Getpid() != 1 {
		return errors.New("needs namespaces of its own: " + envBinary + " is not to be set")
	}
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"tmpfs", scratch, "tmpfs", 0},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return &os.PathError{Op: "mount", Path: m.target, Err: err}
		}
	}
	// bpftrace looks for tracepoints there; if it does not find any it says so.
	_ = unix.Mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, "")
	return raiseLo()
}
