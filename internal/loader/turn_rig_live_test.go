package loader_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// tcpPair is a connection inside the namespace, to a port that nobody takes for a client's.
func tcpPair(t *testing.T, ns *testkit.Netns) (client, server net.Conn) {
	t.Helper()
	return tcpPairAt(t, ns, "127.0.0.1:80")
}

// ask sends n one-byte requests and returns how long each took to the first byte of its answer, which has
// size bytes.
func ask(client net.Conn, n, size int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	answer := make([]byte, size)
	for range n {
		began := time.Now()
		if _, err := client.Write(answer[:1]); err != nil {
			return nil, err
		}
		first, err := client.Read(answer)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if _, err := io.ReadFull(client, answer[first:]); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// answer is a server: for every byte that comes, it waits and then writes size bytes in so many pieces.
func answer(server net.Conn, wait func() time.Duration, size, pieces int) error {
	in, out := bufio.NewReader(server), make([]byte, size/pieces)
	for {
		if _, err := in.ReadByte(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		time.Sleep(wait())
		for range pieces {
			if _, err := server.Write(out); err != nil {
				return err
			}
		}
	}
}

// converse runs both ends to their end.
func converse(t *testing.T, client, server net.Conn, ask, answer func() error) {
	t.Helper()
	answered := make(chan error, 1)
	go func() {
		err := answer()
		answered <- errors.Join(err, server.Close())
	}()
	err := ask()
	if err := errors.Join(err, client.Close(), <-answered); err != nil {
		t.Fatal(err)
	}
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(math.Ceil(q*float64(len(sorted))))-1]
}

// talkRow is the row of the one connection in the window, which has ended.
func (r *rig) talkRow() *model.Flow {
	r.Helper()
	s := r.window()
	if s.Flows.Len() != 1 {
		r.Fatalf("%d flows, want 1", s.Flows.Len())
	}
	return &s.Flows.Slice()[0]
}

func never() time.Duration { return 0 }

func rarely(n int) time.Duration {
	if n%100 == 0 {
		return 200 * time.Millisecond
	}
	return time.Millisecond
}

// overhead is what a client measures above the turn itself: the median of echoes.
func (r *rig) overhead(t *testing.T) time.Duration {
	client, server := tcpPair(t, r.ns)
	var took []time.Duration
	converse(t, client, server, func() (err error) {
		took, err = ask(client, 200, 100)
		return err
	}, func() error { return answer(server, never, 100, 1) })
	slices.Sort(took)
	return max(0, quantile(took, .5)-r.talkRow().Turn.Quantile(.5))
}

// differs says how much a quantile is off, if it is more than 6 % and 20 us.
func differs(want, got time.Duration) string {
	if off := (got - want).Abs(); off > 20*time.Microsecond && float64(off) > .06*float64(want) {
		return fmt.Sprintf("%v, the client says %v", got, want)
	}
	return ""
}
