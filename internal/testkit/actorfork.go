package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// acting is what an actor has besides its descriptors.
type acting struct {
	children []*actorChild
}

// actorChild is an actor that another one started.
type actorChild struct {
	*exec.Cmd
	in   io.WriteCloser
	said *bufio.Reader
}

func execActor(path string, keep int, args []string) error {
	if _, err := unix.FcntlInt(uintptr(keep), unix.F_SETFD, 0); err != nil {
		return err
	}
	return ExecRole(path, "actor", args...)
}

// fork returns the child's number and PID.
func (a *acting) fork(fds words) (string, error) {
	binary, err := os.Executable()
	if err != nil {
		return "", err
	}
	child := &actorChild{Cmd: RoleCommand(binary, "actor")}
	child.Stderr = os.Stderr
	for i, word := range fds {
		// A file closes its descriptor when nobody refers to it any more, so it gets one of its own.
		fd, err := unix.FcntlInt(uintptr(fds.number(i)), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		file := os.NewFile(uintptr(fd), word)
		defer file.Close()
		child.ExtraFiles = append(child.ExtraFiles, file)
	}
	if child.in, err = child.StdinPipe(); err != nil {
		return "", err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return "", err
	}
	child.said = bufio.NewReader(out)
	if err := child.Start(); err != nil {
		return "", err
	}
	var pid int
	if _, err := fmt.Fscanf(child.said, "ready %d\n", &pid); err != nil {
		return "", err
	}
	a.children = append(a.children, child)
	return fmt.Sprint(len(a.children)-1, pid), nil
}

// relay passes a line on and returns the answer.
func (c *actorChild) relay(line words) (string, error) {
	if _, err := io.WriteString(c.in, strings.Join(line, " ")+"\n"); err != nil {
		return "", err
	}
	answer, err := c.said.ReadString('\n')
	if err != nil {
		return "", err
	}
	result, ok := strings.CutPrefix(strings.TrimSpace(answer), "ok")
	if !ok {
		return "", errors.New(strings.TrimSpace(answer))
	}
	return strings.TrimSpace(result), nil
}

func (c *actorChild) end() error { return errors.Join(c.in.Close(), c.Wait()) }

// die leaves the child as it is once it has exited.
func (c *actorChild) die() error {
	c.in.Close()
	return unix.Waitid(unix.P_PID, c.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
}
