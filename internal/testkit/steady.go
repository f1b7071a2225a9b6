package testkit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	steadyPause  = time.Millisecond // between rounds, at least
	steadyShare  = 3                // pauses are as many times as long as rounds, at least: others want to run, too
	steadyStream = 32 << 10         // at most, in bytes
	steadyPacket = 1200
	steadyAnswer = 50 * time.Millisecond // how long an answer may take that may be lost
)

// Steady is traffic that goes on until it is stopped: round after round, up to a thousand a second, a
// message over one TCP connection and a datagram, random and of random size, go there and come back. What
// arrived is held against what was sent.
type Steady struct {
	tb      testing.TB
	stream  *Conn
	asks    *net.UDPConn
	answers *net.UDPConn
	mayLose bool
	limit   time.Duration // for the answer to a datagram
	random  *rand.ChaCha8

	sent, arrived, returned hash.Hash // of the stream: at the client, the server and the client again

	rounds  atomic.Uint64
	beat    chan struct{} // after a round, for whoever waits
	stop    func()
	ended   chan struct{}
	echoing sync.WaitGroup
	err     error // of the rounds; to be read when they have ended
	echoErr error // of the stream's echo; to be read when that has ended
}

// NewSteady starts it. mayLose: a datagram that is not answered is no failure.
func NewSteady(tb testing.TB, ns *Netns, mayLose bool) *Steady {
	tb.Helper()
	limit := patience
	if mayLose {
		limit = steadyAnswer
	}
	return startSteady(tb, ns, mayLose, limit)
}

func startSteady(tb testing.TB, ns *Netns, mayLose bool, limit time.Duration) *Steady {
	tb.Helper()
	s := &Steady{
		tb: tb, mayLose: mayLose, limit: limit, random: rand.NewChaCha8([32]byte{}),
		sent: sha256.New(), arrived: sha256.New(), returned: sha256.New(),
		beat: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	var err error
	if s.stream, err = Dial(ns, 4); err != nil {
		tb.Fatal(err)
	}
	if s.asks, s.answers, err = (datagrams{family: 4}).open(ns); err != nil {
		tb.Fatal(errors.Join(err, s.stream.Close()))
	}
	if err := s.answers.SetDeadline(time.Time{}); err != nil {
		tb.Fatal(err)
	}
	stopped := make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(stopped) })
	s.echoing.Go(func() { s.echoErr = s.echoStream() })
	s.echoing.Go(s.echoDatagrams)
	go func() {
		defer close(s.ended)
		s.err = s.run(stopped)
	}()
	tb.Cleanup(func() { _ = s.finish() })
	return s
}

// Await waits until so many more rounds are done, and returns how long that took.
func (s *Steady) Await(rounds uint64) time.Duration {
	s.tb.Helper()
	begin := time.Now()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for last := s.rounds.Load() + rounds; s.rounds.Load() < last; {
		select {
		case <-s.beat:
		case <-s.ended:
			s.tb.Fatalf("traffic ended: %v", s.err)
		case <-limit.C:
			s.tb.Fatalf("traffic stands still after %d rounds", s.rounds.Load())
		}
	}
	return time.Since(begin)
}

// Stop ends the traffic. It fails the test if anything was lost, damaged or refused.
func (s *Steady) Stop() {
	s.tb.Helper()
	if err := s.finish(); err != nil {
		s.tb.Errorf("traffic was disturbed: %v", err)
	}
}

func (s *Steady) finish() error {
	s.stop()
	<-s.ended
	errs := []error{s.err, s.stream.client.CloseWrite(), s.answers.Close(), s.asks.Close()}
	s.echoing.Wait()
	errs = append(errs, s.echoErr, s.stream.Close())
	sent := s.sent.Sum(nil)
	if !bytes.Equal(sent, s.arrived.Sum(nil)) || !bytes.Equal(sent, s.returned.Sum(nil)) {
		errs = append(errs, errors.New("what arrived over TCP is not what was sent"))
	}
	return errors.Join(errs...)
}

func (s *Steady) run(stopped <-chan struct{}) error {
	pause := time.NewTimer(steadyPause)
	defer pause.Stop()
	for {
		select {
		case <-stopped:
			return nil
		case <-pause.C:
		}
		begin := time.Now()
		if err := errors.Join(s.exchangeStream(), s.exchangeDatagram()); err != nil {
			return fmt.Errorf("round %d: %w", s.rounds.Load(), err)
		}
		pause.Reset(max(steadyPause, steadyShare*time.Since(begin)))
		s.rounds.Add(1)
		select {
		case s.beat <- struct{}{}:
		default:
		}
	}
}

// message is size bytes at most, and eight at least.
func (s *Steady) message(size uint64) []byte {
	text := make([]byte, 8+s.random.Uint64()%(size-7))
	_, _ = s.random.Read(text) // never fails
	return text
}

func (s *Steady) exchangeStream() error {
	text := s.message(steadyStream)
	s.sent.Write(text)
	for _, end := range []net.Conn{s.stream.client, s.stream.server} {
		if err := end.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
	}
	if _, err := s.stream.client.Write(text); err != nil {
		return err
	}
	if _, err := io.ReadFull(s.stream.client, text); err != nil {
		return err
	}
	s.returned.Write(text)
	return nil
}

func (s *Steady) echoStream() error {
	from := s.stream.server
	_, err := io.Copy(struct{ io.Writer }{from}, io.TeeReader(from, s.arrived))
	return err
}

func (s *Steady) exchangeDatagram() error {
	if err := s.asks.SetDeadline(time.Now().Add(s.limit)); err != nil {
		return err
	}
	text := s.message(steadyPacket)
	binary.NativeEndian.PutUint64(text, s.rounds.Load())
	_, err := s.asks.Write(text)
	for answer := make([]byte, steadyPacket); err == nil; {
		var n int
		n, err = s.asks.Read(answer)
		switch late := !bytes.Equal(answer[:8], text[:8]); {
		case err != nil, late && s.mayLose:
		case !bytes.Equal(answer[:n], text):
			return errors.New("another datagram came back than was sent")
		default:
			return nil
		}
	}
	switch {
	case s.mayLose:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("a datagram was lost")
	}
	return err
}

// echoDatagrams ends when its socket is closed. What it cannot send back, the other end misses.
func (s *Steady) echoDatagrams() {
	for buf := make([]byte, steadyPacket); ; {
		n, from, err := s.answers.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = s.answers.WriteToUDPAddrPort(buf[:n], from)
		}
	}
}
