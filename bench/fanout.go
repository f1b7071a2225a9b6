package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// receiveBuffer holds, in bytes, what comes while the receiver waits for a CPU.
const receiveBuffer = 64 << 20

// fanout is many UDP flows for the price of two sockets: one sender, and one receiver that has every
// address of 127/8.
type fanout struct {
	sender   int
	receiver net.PacketConn
	to       unix.SockaddrInet4
}

func newFanout() (*fanout, error) {
	roomy := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		set := func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
		}
		failed := c.Control(set)
		return errors.Join(failed, err)
	}}
	receiver, err := roomy.ListenPacket(context.Background(), "udp4", "0.0.0.0:0")
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

// send sends a datagram in each of the flows [from, to), numbered below 254 << 16.
func (f *fanout) send(from, to int) error {
	buf := make([]byte, message)
	for i := from; i < to; i++ {
		f.to.Addr = [4]byte{127, byte(1 + i>>16), byte(i >> 8), byte(i)}
		if err := unix.Sendto(f.sender, buf, 0, &f.to); err != nil {
			return fmt.Errorf("send datagram: %w", err)
		}
	}
	return nil
}

// around sends n datagrams, one flow after the other in so many of them.
func (f *fanout) around(n, flows int) error {
	for n > 0 {
		lap := min(n, flows)
		if err := f.send(0, lap); err != nil {
			return err
		}
		n -= lap
	}
	return nil
}

const burstsASec = 100

// drip sends so many datagrams a second in even bursts, one flow after the other in so many of them. It
// returns how many it sent, which may be fewer.
func (f *fanout) drip(ctx context.Context, flows, perSecond int, length time.Duration) (int, error) {
	tick := time.NewTicker(time.Second / burstsASec)
	defer tick.Stop()
	sent, next, end := 0, 0, time.Now().Add(length)
	for i := 1; time.Now().Before(end); i++ {
		// Rounded so that a second's bursts are what is due in a second.
		for due := min(perSecond*i/burstsASec-perSecond*(i-1)/burstsASec, flows); due > 0; {
			part := min(due, flows-next)
			if err := f.send(next, next+part); err != nil {
				return sent, err
			}
			next, sent, due = (next+part)%flows, sent+part, due-part
		}
		select {
		case <-ctx.Done():
			return sent, ctx.Err()
		case <-tick.C:
		}
	}
	return sent, nil
}
