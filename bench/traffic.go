package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/services"
)

// Plain blocking sockets on threads of their own: what is measured is one packet at a time on its
// way, without a poller's packets, wake-ups and caches between.

const (
	message  = 64
	chunk    = 256 << 10
	patience = 10 // seconds that a read waits; only a broken run meets it
)

var localhost = [4]byte{127, 0, 0, 1}

// place says which CPUs the two ends have. Left to the scheduler it changes from run to run, and with it
// whether what one end writes is in the other's cache.
type place int

const (
	anywhere place = iota
	oneCPU
	twoCPUs
)

// pair is the two ends of a conversation.
type pair struct {
	client, server int
	place          place
}

func (p pair) Close() error { return errors.Join(unix.Close(p.client), unix.Close(p.server)) }

// at is connect with the ends in their places.
func (where place) at(connect func() (pair, error)) func() (pair, error) {
	return func() (pair, error) {
		p, err := connect()
		p.place = where
		return p, err
	}
}

func (p pair) setup() error {
	for _, fd := range []int{p.client, p.server} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience}); err != nil {
			return fmt.Errorf("set read timeout: %w", err)
		}
	}
	return nil
}

func tcpPair() (pair, error) {
	listener, err := listen()
	if err != nil {
		return pair{}, err
	}
	defer unix.Close(listener)
	return tcpPairVia(listener)
}

// listen opens a listening socket.
func listen() (int, error) {
	listener, err := bound(unix.SOCK_STREAM, localhost)
	if err != nil {
		return -1, err
	}
	if err := unix.Listen(listener, 1); err != nil {
		unix.Close(listener)
		return -1, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}

func tcpPairVia(listener int) (pair, error) {
	client, err := dial(unix.SOCK_STREAM, listener)
	if err != nil {
		return pair{}, err
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		unix.Close(client)
		return pair{}, fmt.Errorf("accept: %w", err)
	}
	p := pair{client: client, server: server}
	for _, fd := range []int{client, server} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return p, errors.Join(fmt.Errorf("set nodelay: %w", err), p.Close())
		}
	}
	return p, p.setup()
}

func udpPair() (pair, error) {
	server, err := bound(unix.SOCK_DGRAM, localhost)
	if err != nil {
		return pair{}, err
	}
	client, err := dial(unix.SOCK_DGRAM, server)
	if err != nil {
		unix.Close(server)
		return pair{}, err
	}
	p := pair{client: client, server: server}
	from, err := unix.Getsockname(client)
	if err == nil {
		err = unix.Connect(server, from)
	}
	if err != nil {
		return p, errors.Join(fmt.Errorf("connect server: %w", err), p.Close())
	}
	return p, p.setup()
}

func bound(kind int, addr [4]byte) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind: %w", err)
	}
	return fd, nil
}

// dial connects to where the socket server is bound.
func dial(kind, server int) (int, error) {
	to, err := unix.Getsockname(server)
	if err != nil {
		return -1, fmt.Errorf("read server's address: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Connect(fd, to); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// both runs the two ends, each on a thread of its own.
func (p pair) both(client, server func() error) error {
	served := make(chan error, 1)
	go func() { served <- p.onThread(1, server) }()
	return errors.Join(p.onThread(0, client), <-served)
}

// onThread runs f on a thread of its own, in end n's place.
func (p pair) onThread(n int, f func() error) error {
	switch p.place {
	case anywhere:
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return f()
	case oneCPU:
		n = 0
	case twoCPUs:
	}
	return services.OnCPU(n, f)
}

// pingPong makes so many round trips of one message.
func (p pair) pingPong(trips int) error {
	return p.both(func() error {
		buf := make([]byte, message)
		for range trips {
			if err := write(p.client, buf); err != nil {
				return err
			}
			if err := read(p.client, message, buf); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		buf := make([]byte, message)
		for range trips {
			if err := read(p.server, message, buf); err != nil {
				return err
			}
			if err := write(p.server, buf); err != nil {
				return err
			}
		}
		return nil
	})
}

// stream sends so many bytes, a multiple of chunk, from client to server.
func (p pair) stream(bytes int) error {
	return p.both(func() error {
		buf := make([]byte, chunk)
		for range bytes / chunk {
			if err := write(p.client, buf); err != nil {
				return err
			}
		}
		return nil
	}, func() error { return read(p.server, bytes/chunk*chunk, make([]byte, chunk)) })
}

// burst is how many datagrams are under way before the receiver says that it has them: far fewer than
// its buffer holds.
const burst = 32

// datagrams sends so many messages, a multiple of burst, from client to server. None is lost.
func (p pair) datagrams(n int) error {
	return p.both(func() error {
		buf := make([]byte, message)
		for i := range n {
			if err := write(p.client, buf); err != nil {
				return err
			}
			if (i+1)%burst != 0 {
				continue
			}
			if err := read(p.client, 1, buf); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		buf := make([]byte, message)
		for range n / burst {
			if err := read(p.server, burst*message, buf); err != nil {
				return err
			}
			if err := write(p.server, buf[:1]); err != nil {
				return err
			}
		}
		return nil
	})
}

// nudge sends a small datagram now and then, from client to server, which need not read it.
func (p pair) nudge(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := write(p.client, []byte{0}); err != nil {
				return err
			}
		}
	}
}

func write(fd int, buf []byte) error {
	for len(buf) > 0 {
		n, err := unix.Write(fd, buf)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("write: %w", err)
		}
		buf = buf[max(n, 0):]
	}
	return nil
}

// read reads total bytes through buf.
func read(fd, total int, buf []byte) error {
	for total > 0 {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read, %d bytes missing: %w", total, err)
		case n == 0:
			return fmt.Errorf("read, %d bytes missing: end of stream", total)
		}
		total -= n
	}
	return nil
}
