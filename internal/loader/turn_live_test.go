package loader_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// Turns are counted to the one, and last as long as the client thinks they do, less what its own system
// calls and wake-ups take. That last part is the machine's mood: a round that it spoilt is done again.
func TestTurnsOfKnownServers(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	served := 0
	for name, c := range map[string]struct {
		n            int
		wait         func() time.Duration
		size, pieces int
	}{
		"constant 5 ms":           {100, func() time.Duration { return 5 * time.Millisecond }, 100, 1},
		"uniform 1 to 50 ms":      {100, func() time.Duration { return time.Duration(1e6 + random.Int64N(49e6)) }, 100, 1},
		"1 ms and seldom 200 ms":  {200, func() time.Duration { served++; return rarely(served) }, 100, 1},
		"an answer in 200 pieces": {30, func() time.Duration { return 10 * time.Millisecond }, 200 * 100, 200},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range allHooks {
				t.Run(string(kind), func(t *testing.T) {
					r := newRig(t, loader.Config{Hook: kind})
					open := []float64{.5, .9, .99} // quantiles that no round has confirmed yet
					var off string
					for round := 0; len(open) > 0; round++ {
						if round == 8 {
							t.Fatal(off)
						}
						overhead := r.overhead(t)
						client, server := tcpPair(t, r.ns)
						var took []time.Duration
						converse(t, client, server, func() (err error) {
							took, err = ask(client, c.n, c.size)
							return err
						}, func() error { return answer(server, c.wait, c.size, c.pieces) })
						f := r.talkRow()
						if f.Turn.Count != uint64(c.n) || f.Response.Count != uint64(c.n) || f.Crossed != 0 {
							t.Fatalf("%d turns, %d responses, %d crossed; want %d, all in order",
								f.Turn.Count, f.Response.Count, f.Crossed, c.n)
						}
						if f.Response.Sum < f.Turn.Sum {
							t.Errorf("responses take %v, turns %v", f.Response.Sum, f.Turn.Sum)
						}
						if testing.Short() {
							t.Skip("counts are right; an emulated machine keeps no time")
						}
						slices.Sort(took)
						open = slices.DeleteFunc(open, func(q float64) bool {
							difference := differs(quantile(took, q)-overhead, f.Turn.Quantile(q))
							if difference != "" {
								off = fmt.Sprintf("quantile %v: %s", q, difference)
							}
							return difference == ""
						})
					}
				})
			}
		})
	}
}

// A server that speaks first, without being asked, has answered nothing.
func TestServerSpeaksFirst(t *testing.T) {
	r := newRig(t, loader.Config{})
	client, server := tcpPair(t, r.ns)
	converse(t, client, server, func() error {
		if _, err := io.ReadFull(client, make([]byte, 20)); err != nil {
			return err
		}
		_, err := ask(client, 7, 10)
		return err
	}, func() error {
		if _, err := server.Write(make([]byte, 20)); err != nil {
			return err
		}
		return answer(server, never, 10, 1)
	})
	if f := r.talkRow(); f.Turn.Count != 7 || f.Response.Count != 7 {
		t.Errorf("%d turns, %d responses, want 7", f.Turn.Count, f.Response.Count)
	}
}

// Requests that do not wait for each other are one, and there is one turn for a batch of them.
func TestPipelined(t *testing.T) {
	r := newRig(t, loader.Config{})
	client, server := tcpPair(t, r.ns)
	const batches, batch = 50, 16
	converse(t, client, server, func() error {
		for range batches {
			for range batch {
				if _, err := client.Write([]byte{1}); err != nil {
					return err
				}
			}
			if _, err := io.ReadFull(client, make([]byte, batch)); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		for range batches {
			if _, err := io.ReadFull(server, make([]byte, batch)); err != nil {
				return err
			}
			if _, err := server.Write(make([]byte, batch)); err != nil {
				return err
			}
		}
		return nil
	})
	if f := r.talkRow(); f.Turn.Count != batches || f.Response.Count != batches {
		t.Errorf("%d turns, %d responses, want %d", f.Turn.Count, f.Response.Count, batches)
	}
}

// A stream is one answer, not one per segment, and an upload one request.
func TestStreamsAreOneTurn(t *testing.T) {
	r := newRig(t, loader.Config{})
	if _, err := testkit.TCPBulk(r.ns, 4, 16<<20); err != nil {
		t.Fatal(err)
	}
	if f := r.talkRow(); f.Turn.Count > 1 || f.Response.Count > 1 {
		t.Errorf("%d turns, %d responses", f.Turn.Count, f.Response.Count)
	}
}

// TLS 1.3 as crypto/tls speaks it: one turn for the hello, one for the client's last flight, which the
// server's session ticket follows, and then one a request.
func TestTLS(t *testing.T) {
	r := newRig(t, loader.Config{})
	client, server := tcpPair(t, r.ns)
	const n = 30
	secure := tls.Client(client, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	other := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: tls.VersionTLS13})
	converse(t, secure, other, func() error {
		if err := secure.Handshake(); err != nil {
			return err
		}
		_, err := ask(secure, n, 100)
		return err
	}, func() error {
		if err := other.Handshake(); err != nil {
			return err
		}
		return answer(other, func() time.Duration { return time.Millisecond }, 100, 1)
	})
	f := r.talkRow()
	if f.Turn.Count < n+1 || f.Turn.Count > n+2 {
		t.Errorf("%d turns, want %d and the handshake's one or two", f.Turn.Count, n)
	}
	if p := f.Turn.Quantile(.5); p < 900*time.Microsecond {
		t.Errorf("median %v of a server that waits for 1 ms", p)
	}
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTurnsOfDatagrams(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind})
			const n = 100
			var client, server *net.UDPConn
			r.ns.Run(t, func() {
				var err error
				if server, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
					t.Fatal(err)
				}
				if client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr)); err != nil {
					t.Fatal(err)
				}
			})
			converse(t, client, server, func() error {
				_, err := ask(client, n, 50)
				return err
			}, func() error {
				in := make([]byte, 1)
				for range n {
					_, from, err := server.ReadFromUDPAddrPort(in)
					if err != nil {
						return err
					}
					time.Sleep(time.Millisecond)
					if _, err := server.WriteToUDPAddrPort(make([]byte, 50), from); err != nil {
						return err
					}
				}
				return nil
			})
			f := r.talkRow()
			if f.Turn.Count != n || f.Turn.Min < time.Millisecond {
				t.Errorf("%d turns from %v, want %d from 1 ms", f.Turn.Count, f.Turn.Min, n)
			}
			// The last answer may go on, as far as anybody knows.
			if f.Response.Count != n-1 {
				t.Errorf("%d responses, want %d", f.Response.Count, n-1)
			}
		})
	}
}

// Connections that are older than lotrace are followed from when it knows who listens.
func TestTurnsOfOlderConnections(t *testing.T) {
	testkit.RequireRoot(t)
	ns := testkit.NewNetns(t)
	client, server := tcpPair(t, ns)
	const n = 20
	asked, more := make(chan error), make(chan bool)
	go func() {
		for range more {
			_, err := ask(client, n, 10)
			asked <- err
		}
	}()
	defer close(more)
	go answer(server, never, 10, 1)
	defer client.Close()
	more <- true
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	r := newRigIn(t, ns, loader.Config{})
	for i, want := range []uint64{0, n} { // the first window tells who is the client
		more <- true
		if err := <-asked; err != nil {
			t.Fatal(err)
		}
		s := r.window()
		if s.Flows.Len() != 1 || s.Flows.Slice()[0].Turn.Count != want {
			t.Errorf("window %d: %+v, want %d turns", i, s.Flows, want)
		}
	}
}

// A client that ends its side right behind the request is answered like any other.
func TestHalfClosed(t *testing.T) {
	r := newRig(t, loader.Config{})
	const n = 200
	for range n {
		client, server := tcpPair(t, r.ns)
		converse(t, client, server, func() error {
			if _, err := client.Write([]byte{1}); err != nil {
				return err
			}
			if err := client.(*net.TCPConn).CloseWrite(); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, client)
			return err
		}, func() error {
			if _, err := server.Read(make([]byte, 1)); err != nil {
				return err
			}
			_, err := server.Write(make([]byte, 100))
			return err
		})
	}
	var turns, responses uint64
	for _, f := range r.window().Flows.Slice() {
		turns += f.Turn.Count
		responses += f.Response.Count
	}
	if turns != n || responses != n {
		t.Errorf("%d turns, %d responses, want %d", turns, responses, n)
	}
}

// Where both sides speak as they like nothing took longer than it all did, or less than no time.
func TestBothSpeakAtOnce(t *testing.T) {
	r := newRig(t, loader.Config{})
	client, server := tcpPair(t, r.ns)
	speak := func(c net.Conn) error {
		heard := make(chan error, 1)
		const n = 20_000
		go func() {
			_, err := io.ReadFull(c, make([]byte, n))
			heard <- err
		}()
		for range n {
			if _, err := c.Write([]byte{1}); err != nil {
				return err
			}
		}
		return <-heard
	}
	began := time.Now()
	converse(t, client, server, func() error { return speak(client) }, func() error { return speak(server) })
	took := time.Since(began)
	f := r.talkRow()
	for _, l := range []*model.Latency{&f.Turn, &f.Response} {
		if l.Count == 0 || l.Max > took || l.Sum > took {
			t.Errorf("%d took up to %v and %v in all, of %v", l.Count, l.Max, l.Sum, took)
		}
	}
}
