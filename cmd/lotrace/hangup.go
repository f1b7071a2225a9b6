package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// untilHangup calls gone when the terminal hangs up, as onHangup does. Where that cannot be watched, the command goes on
// without, and says so.
func (inv *invocation) untilHangup(terminal *os.File, gone func()) (stop func()) {
	stop, err := onHangup(terminal, gone)
	if err != nil {
		fmt.Fprintf(inv.stderr, "lotrace: warning: %v: its end will not end lotrace\n", err)
		return func() {}
	}
	return stop
}

// onHangup calls gone when the terminal hangs up: when the window closes, the connection breaks or somebody calls
// vhangup(2). SIGHUP does not tell: it goes to the leader of the session alone, and to nobody else while that lives
// on, and it may be ignored. The goroutine that waits sleeps until something is typed or the terminal hangs up.
// stop ends it; gone may still be called while stop runs.
func onHangup(terminal *os.File, gone func()) (stop func(), err error) {
	events, err := eventsOf(terminal)
	if err != nil {
		return nil, fmt.Errorf("watch the terminal: %w", err)
	}
	raw, err := events.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, events.Close())
	}
	go func() {
		if raw.Read(hungUp) == nil { // otherwise stop was called
			gone()
		}
	}()
	return func() { events.Close() }, nil
}

// eventsOf makes an epoll(7) instance for the terminal that Go's poller can wait for.
func eventsOf(terminal *os.File) (*os.File, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	// A hangup is reported without being asked for, but some drivers then wake only those who wait for input.
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, int(terminal.Fd()), &event)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "events of "+terminal.Name()), nil
}

// hungUp takes the event that the epoll instance holds, if any, and reports whether it was a hangup.
func hungUp(fd uintptr) bool {
	events := make([]unix.EpollEvent, 1)
	n, err := unix.EpollWait(int(fd), events, 0)
	return err == nil && n == 1 && events[0].Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0
}
