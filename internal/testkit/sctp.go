package testkit

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

// SCTPExchange makes n exchanges of size bytes each way over one SCTP association. Where the
// kernel has no SCTP the error is errors.ErrUnsupported.
func SCTPExchange(ns *Netns, n, size int) (sent Sent, err error) {
	err = ns.Do(func() error {
		sent, err = exchangeSCTP(n, size)
		return err
	})
	return sent, err
}

func exchangeSCTP(n, size int) (Sent, error) {
	client, server, err := connectSCTP()
	if err != nil {
		return Sent{}, err
	}
	defer unix.Close(client)
	defer unix.Close(server)
	sent := Sent{Proto: model.ProtoSCTP, Flows: 1}
	if sent.Client, err = localAddr(client); err != nil {
		return sent, err
	}
	if sent.Server, err = localAddr(server); err != nil {
		return sent, err
	}
	for range n {
		if err := passSCTP(client, server, size, &sent.ToServer); err != nil {
			return sent, err
		}
		if err := passSCTP(server, client, size, &sent.ToClient); err != nil {
			return sent, err
		}
	}
	if err := unix.Shutdown(client, unix.SHUT_WR); err != nil {
		return sent, fmt.Errorf("shut down sctp: %w", err)
	}
	rest, err := unix.Read(server, make([]byte, 1))
	if err == nil && rest > 0 {
		err = errors.New("more data")
	}
	if err != nil {
		return sent, fmt.Errorf("expect end of association: %w", err)
	}
	return sent, nil
}

// connectSCTP makes the two ends of an association, which one thread can do: the listener's
// backlog completes the handshake.
func connectSCTP() (client, server int, err error) {
	listener, err := openSCTP()
	if err != nil {
		return -1, -1, err
	}
	defer unix.Close(listener)
	addr := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := errors.Join(unix.Bind(listener, addr), unix.Listen(listener, 1)); err != nil {
		return -1, -1, fmt.Errorf("listen sctp: %w", err)
	}
	at, err := localAddr(listener)
	if err != nil {
		return -1, -1, err
	}
	if client, err = openSCTP(); err != nil {
		return -1, -1, err
	}
	addr.Port = int(at.Port())
	if err = unix.Connect(client, addr); err == nil {
		server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
	}
	if err != nil {
		unix.Close(client)
		return -1, -1, fmt.Errorf("connect sctp: %w", err)
	}
	return client, server, nil
}

// openSCTP opens a one-to-one socket whose calls end within patience.
func openSCTP() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) {
		return -1, fmt.Errorf("open sctp socket: this kernel has no SCTP: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return -1, fmt.Errorf("open sctp socket: %w", err)
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set sctp timeouts: %w", err)
	}
	return fd, nil
}

func passSCTP(from, to, size int, amount *Amount) error {
	n, err := unix.Write(from, make([]byte, size))
	if err != nil {
		return fmt.Errorf("write sctp message: %w", err)
	}
	amount.Payload += uint64(n)
	for got := 0; got < n; {
		m, err := unix.Read(to, make([]byte, n-got))
		if err == nil && m == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("read sctp message, %d bytes missing: %w", n-got, err)
		}
		got += m
	}
	return nil
}

func localAddr(fd int) (netip.AddrPort, error) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read socket name: %w", err)
	}
	v4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("read socket name: not IPv4: %T", name)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port)), nil
}
