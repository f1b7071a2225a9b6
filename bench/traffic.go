package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// Plain blocking sockets on threads of their own: what is measured is one packet at a time on its
// way, without a poller's packets, wake-ups and caches between.

const (
	message   = 64
	chunk     = 256 << 10
	patience  = 10 // seconds that a read waits; only a broken run meets it
	fanoutMax = 1 << 16
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
	listener, err := bound(unix.SOCK_STREAM, localhost)
	if err != nil {
		return pair{}, err
	}
	defer unix.Close(listener)
	if err := unix.Listen(listener, 1); err != nil {
		return pair{}, fmt.Errorf("listen: %w", err)
	}
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

// onThread runs f on a thread of its own, in end n's place among the CPUs that we may use.
func (p pair) onThread(n int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch p.place {
	case anywhere:
		return f()
	case oneCPU:
		n = 0
	case twoCPUs:
	}
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("read CPU affinity: %w", err)
	}
	cpu := 0
	for seen := -1; ; cpu++ {
		if all.IsSet(cpu) {
			seen++
		}
		if seen == n {
			break
		}
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("bind to CPU %d: %w", cpu, err)
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &all))
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

// fanout is many UDP flows for the price of two sockets: one sender, and one receiver that has every
// address of 127/8.
type fanout struct {
	sender   int
	receiver net.PacketConn
	to       unix.SockaddrInet4
}

func newFanout() (*fanout, error) {
	receiver, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	sender, err := bound(unix.SOCK_DGRAM, localhost)
	if err != nil {
		return nil, errors.Join(err, receiver.Close())
	}
	f := &fanout{sender: sender, receiver: receiver}
	f.to.Port = receiver.LocalAddr().(*net.UDPAddr).Port
	go f.receive()
	return f, nil
}

// receive reads until the receiver is closed: flows that lose every datagram are no usual ones.
func (f *fanout) receive() {
	for buf := make([]byte, message); ; {
		if _, _, err := f.receiver.ReadFrom(buf); err != nil {
			return
		}
	}
}

func (f *fanout) Close() error { return errors.Join(unix.Close(f.sender), f.receiver.Close()) }

// send sends a datagram in each of the flows [from, to), numbered below fanoutMax.
func (f *fanout) send(from, to int) error {
	buf := make([]byte, message)
	for i := from; i < to; i++ {
		f.to.Addr = [4]byte{127, 1, byte(i >> 8), byte(i)}
		if err := unix.Sendto(f.sender, buf, 0, &f.to); err != nil {
			return fmt.Errorf("send datagram: %w", err)
		}
	}
	return nil
}
