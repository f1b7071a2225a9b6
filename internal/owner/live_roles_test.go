package owner_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/testkit"
)

// A process has a name and a user that follow from who it is, so that mistaking one for another
// shows in those too.
const (
	workers   = 4
	workerUID = 3000    // plus its number
	clientUID = 100_000 // plus its PID
)

func workerName(n int) string   { return fmt.Sprintf("worker-%d", n) }
func clientName(pid int) string { return fmt.Sprintf("client-%d", pid) }

func init() {
	testkit.RegisterRole("worker", worker)
	testkit.RegisterRole("client", client)
	testkit.RegisterRole("crowd", crowd)
	testkit.RegisterRole("storm", storm)
	testkit.RegisterRole("talk", talk)
	testkit.RegisterRole("thread", thread)
	testkit.RegisterRole("become", become)
}

// disguise gives the process its name and user.
func disguise(name string, uid int) error {
	if err := os.WriteFile("/proc/self/comm", []byte(name), 0); err != nil {
		return err
	}
	return syscall.Setuid(uid)
}

// worker answers every line that it gets with its PID, and hangs up after "bye", until its standard
// input ends. It listens on descriptor 3, or beside others on the address in its second argument.
// The first is its number.
func worker(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var listener net.Listener
	if len(args) == 1 {
		listener, err = net.FileListener(os.NewFile(3, "listener"))
	} else {
		listener, err = listenBeside(args[1])
	}
	if err != nil {
		return err
	}
	// Only processes of one user may listen beside each other: this comes second.
	if err := disguise(workerName(n), workerUID+n); err != nil {
		return err
	}
	fmt.Println("ready", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go answer(conn)
	}
}

func listenBeside(addr string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	return config.Listen(context.Background(), "tcp", addr)
}

func answer(conn net.Conn) {
	defer conn.Close()
	for in := bufio.NewScanner(conn); in.Scan(); {
		if _, err := fmt.Fprintln(conn, os.Getpid()); err != nil || in.Text() == "bye" {
			return
		}
	}
}

// ask says a line and returns the PID of who answers it.
func ask(conn net.Conn, line string) (pid int, err error) {
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return 0, err
	}
	_, err = fmt.Fscanln(conn, &pid)
	return pid, err
}

func portOf(conn net.Conn) int { return conn.LocalAddr().(*net.TCPAddr).Port }

// client lives for one question to the address in its argument. It says who it is, from which port
// it asked, and who answered.
func client(args []string) error {
	pid := os.Getpid()
	if err := disguise(clientName(pid), clientUID+pid); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	line := "hello"
	if pid%2 == 0 {
		line = "bye" // the server ends half of the connections
	}
	server, err := ask(conn, line)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("talk %d %d %d\n", portOf(conn), pid, server)
	return err // the other half ends with the process
}

// crowd starts as many clients as its first argument says, each with the other arguments.
func crowd(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	return repeat(n, func(int) error {
		cmd := testkit.RoleCommand("/proc/self/exe", "client", args[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Run()
	})
}

// storm is batches of connections, ten of them a second, to the servers in its other arguments. The
// first two say how many batches, and of how many connections.
func storm(args []string) error {
	batches, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	batch, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	servers := args[2:]
	ticker := time.NewTicker(time.Second / 10)
	defer ticker.Stop()
	for range batches {
		<-ticker.C
		err := repeat(batch, func(i int) error {
			conn, err := net.Dial("tcp", servers[i%len(servers)])
			if err != nil {
				return err
			}
			_, err = ask(conn, "hello")
			return errors.Join(err, conn.Close())
		})
		if err != nil {
			return err
		}
	}
	fmt.Println("done")
	return nil
}

// repeat calls f with every number below n, a few at a time.
func repeat(n int, f func(i int) error) error {
	const few = 4
	var next atomic.Int64
	errs := make(chan error)
	for range few {
		go func() {
			var err error
			for i := int(next.Add(1)) - 1; i < n && err == nil; i = int(next.Add(1)) - 1 {
				err = f(i)
			}
			errs <- err
		}()
	}
	var err error
	for range few {
		err = errors.Join(err, <-errs)
	}
	return err
}

// talk asks the address in its argument with every line of its standard input. It says first from
// which port, and when the process was started, in clock ticks.
func talk(args []string) error {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return err
	}
	started := strings.Fields(string(stat))[21] // none of our names has blanks in it
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("ready", portOf(conn), started)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if _, err := ask(conn, in.Text()); err != nil {
			return err
		}
		fmt.Println("asked")
	}
	return in.Err()
}

// thread is a process that leaves all work to a thread with another name.
func thread(args []string) error {
	if err := os.WriteFile("/proc/self/comm", []byte("process"), 0); err != nil {
		return err
	}
	return onThread(func() error {
		if err := os.WriteFile("/proc/thread-self/comm", []byte("thread"), 0); err != nil {
			return err
		}
		return talk(args)
	})
}

// onThread runs f on a thread that is not the process's first.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			done <- onThread(f)
			return
		}
		done <- f()
	}()
	return <-done
}

// become goes on as another role, in the executable that its first argument names.
func become(args []string) error { return testkit.ExecRole(args[0], args[1], args[2:]...) }
