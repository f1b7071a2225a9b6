package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// script is what an actor can do: each verb's part gets the words after it.
var script = map[string]func(a *acting, w words) (result string, err error){
	"open":   func(_ *acting, w words) (string, error) { return openSocket(w[0], w[1], w[2:]) },
	"dial":   func(_ *acting, w words) (string, error) { return dialSocket(w[0], w[1]) },
	"knock":  func(_ *acting, w words) (string, error) { return knock(w[0]) },
	"accept": func(_ *acting, w words) (string, error) { return acceptSocket(w.number(0)) },
	"send":   func(_ *acting, w words) (string, error) { return "", writeFull(w.number(0), w.number(1)) },
	"recv":   func(_ *acting, w words) (string, error) { return "", readFull(w.number(0), w.number(1)) },
	"sendto": func(_ *acting, w words) (string, error) { return "", sendTo(w.number(0), w[1], w.number(2)) },
	"recvfrom": func(_ *acting, w words) (string, error) {
		_, from, err := unix.Recvfrom(w.number(0), make([]byte, 1<<16), 0)
		return addrPort(from).String(), err
	},
	"sendfile": func(_ *acting, w words) (string, error) { return "", sendFromFile(w.number(0), w.number(1)) },
	"splice":   func(_ *acting, w words) (string, error) { return "", sendFromPipe(w.number(0), w.number(1)) },
	"uring": func(_ *acting, w words) (string, error) {
		return "", sendUring(w.number(0), make([]byte, w.number(1)), UringMode(w.number(2)))
	},
	"acked": func(_ *acting, w words) (string, error) { return "", awaitAcked(w.number(0)) },
	"close": func(_ *acting, w words) (string, error) { return "", unix.Close(w.number(0)) },
	"pass": func(_ *acting, w words) (string, error) {
		return "", unix.Sendmsg(w.number(0), []byte{0}, unix.UnixRights(w.number(1)), nil, 0)
	},
	"take": func(_ *acting, w words) (string, error) { return takeFD(w.number(0)) },
	"exec": func(_ *acting, w words) (string, error) { return "", execActor(w[0], w.number(1), w[2:]) },
	"fork": (*acting).fork,
	"in":   func(a *acting, w words) (string, error) { return a.children[w.number(0)].relay(w[1:]) },
	"end":  func(a *acting, w words) (string, error) { return "", a.children[w.number(0)].end() },
	"die":  func(a *acting, w words) (string, error) { return "", a.children[w.number(0)].die() },
}

// words come from an Actor's methods, and so are as many as needed, and numbers where those are.
type words []string

func (w words) number(i int) int {
	n, err := strconv.Atoi(w[i])
	if err != nil {
		panic(err)
	}
	return n
}

// act does what the lines of its standard input say and answers each with a line: "ok" and the
// result, or anything else, which fails the test.
func act([]string) error {
	// Children get no files of the test, unless it says so.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	fmt.Println("ready", os.Getpid())
	var a acting
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		line := words(strings.Fields(in.Text()))
		result, err := script[line[0]](&a, line[1:])
		if err != nil {
			fmt.Printf("%s: %v\n", in.Text(), err)
			continue
		}
		fmt.Println(strings.TrimSpace("ok " + result))
	}
	return in.Err()
}

func openSocket(network, at string, options []string) (string, error) {
	addr, err := netip.ParseAddrPort(at)
	if err != nil {
		return "", err
	}
	fd, err := newSocket(network, addr)
	if err != nil {
		return "", err
	}
	for _, option := range options {
		level, name := unix.SOL_SOCKET, unix.SO_REUSEPORT
		if option == "v6only" {
			level, name = unix.IPPROTO_IPV6, unix.IPV6_V6ONLY
		}
		if err := unix.SetsockoptInt(fd, level, name, 1); err != nil {
			return "", err
		}
	}
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		return "", err
	}
	if network != "udp" {
		if err := unix.Listen(fd, 128); err != nil {
			return "", err
		}
	}
	return describeSocket(fd)
}

func dialSocket(network, to string) (string, error) {
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return "", err
	}
	fd, err := newSocket(network, addr)
	if err != nil {
		return "", err
	}
	if err := unix.Connect(fd, sockaddr(addr)); err != nil {
		return "", err
	}
	if network != "udp" {
		if err := sendAtOnce(fd); err != nil {
			return "", err
		}
	}
	return describeSocket(fd)
}

func knock(to string) (string, error) {
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return "", err
	}
	fd, err := newSocket("tcp", addr)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(addr.Addr(), 0))); err != nil {
		return "", err
	}
	from, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	if err := unix.Connect(fd, sockaddr(addr)); !errors.Is(err, unix.ECONNREFUSED) {
		return "", fmt.Errorf("not refused: %w", err)
	}
	return addrPort(from).String(), nil
}

func acceptSocket(listener int) (string, error) {
	fd, from, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(fd, addrPort(from)), sendAtOnce(fd)
}

// sendAtOnce has each write leave by itself, in the writer's context.
func sendAtOnce(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// newSocket opens one of the address's family.
func newSocket(network string, addr netip.AddrPort) (fd int, err error) {
	family, kind, proto := unix.AF_INET6, unix.SOCK_STREAM, 0
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	switch network {
	case "udp":
		kind = unix.SOCK_DGRAM
	case "mptcp":
		proto = unix.IPPROTO_MPTCP
	}
	return unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
}

func describeSocket(fd int) (string, error) {
	at, err := unix.Getsockname(fd)
	return fmt.Sprint(fd, addrPort(at)), err
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	return &unix.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())}
}

// addrPort is an address as it is on the wire.
func addrPort(at unix.Sockaddr) netip.AddrPort {
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(at.Addr).Unmap(), uint16(at.Port))
	}
	return netip.AddrPort{}
}

func sendTo(fd int, to string, n int) error {
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, make([]byte, n), 0, sockaddr(addr))
}

func writeFull(fd, n int) error {
	for b := make([]byte, n); len(b) > 0; {
		done, err := unix.Write(fd, b)
		if err != nil {
			return err
		}
		b = b[done:]
	}
	return nil
}

func readFull(fd, n int) error {
	for b := make([]byte, n); len(b) > 0; {
		done, err := unix.Read(fd, b)
		if err != nil {
			return err
		}
		if done == 0 {
			return io.ErrUnexpectedEOF
		}
		b = b[done:]
	}
	return nil
}

func sendFromFile(fd, n int) error {
	file, err := unix.MemfdCreate("actor", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	if err := unix.Ftruncate(file, int64(n)); err != nil {
		return err
	}
	for n > 0 {
		done, err := unix.Sendfile(fd, file, nil, n)
		if err != nil {
			return err
		}
		n -= done
	}
	return nil
}

func sendFromPipe(fd, n int) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if err := writeFull(pipe[1], n); err != nil {
		return err
	}
	for n > 0 {
		done, err := unix.Splice(pipe[0], nil, fd, nil, n, 0)
		if err != nil {
			return err
		}
		n -= int(done)
	}
	return nil
}

func awaitAcked(fd int) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-poll.C {
		n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		if err != nil || n == 0 {
			return err
		}
	}
	return errors.New("not acknowledged")
}

func takeFD(via int) (string, error) {
	control := make([]byte, unix.CmsgSpace(4))
	_, got, _, _, err := unix.Recvmsg(via, make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return "", err
	}
	messages, err := unix.ParseSocketControlMessage(control[:got])
	if err != nil {
		return "", err
	}
	if len(messages) != 1 {
		return "", fmt.Errorf("%d control messages", len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return "", err
	}
	return strconv.Itoa(fds[0]), nil
}
