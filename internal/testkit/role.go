package testkit

import (
	"os"
	"os/exec"
	"syscall"
)

// RoleCommand is a command that plays a role, for roles which start processes of their own. The
// executable must be this one or a copy of it; the role gets its file name as its comm.
func RoleCommand(executable, role string, args ...string) *exec.Cmd {
	cmd := exec.Command(executable, args...)
	cmd.Env = append(os.Environ(), envRole+"="+role, envPID+"=")
	return cmd
}

// ExecRole is RoleCommand in the place of this process: it keeps its PID and its start time. It
// returns only if that fails.
func ExecRole(executable, role string, args ...string) error {
	if err := os.Setenv(envRole, role); err != nil {
		return err
	}
	return syscall.Exec(executable, append([]string{executable}, args...), os.Environ())
}
