// Package demo makes bounded traffic of several kinds on the loopback device, so that lotrace has
// something to show on an idle machine. Servers and clients live in this process and use only
// 127.0.0.1 and ::1.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// MaxRate is the highest Config.Rate.
const MaxRate = 100_000

// Config says what traffic to make.
type Config struct {
	Duration time.Duration // how long; must be positive
	Rate     int           // requests per second, shared evenly among the kinds; 1 to MaxRate
	Kinds    []string      // of those Kinds returns; a kind named twice runs once
	Notice   func(string)  // gets a line about what runs where; nil for silence
}

// Report is what was done.
type Report struct {
	Duration time.Duration
	Traffic  []Traffic // in the order of Kinds
}

// Traffic is what the clients of one kind have done.
type Traffic struct {
	Kind     string
	Server   netip.AddrPort
	Requests uint64 // that went well
	Failed   uint64
	Sent     uint64 // bytes above TCP or UDP, from the clients
	Received uint64 // likewise, to the clients
}

// kind is one pattern of traffic.
type kind struct {
	name  string
	addr  string
	start func(addr string) (server, error)
	most  float64 // requests per second; 0 for no bound
}

// server runs until it is stopped.
type server interface {
	addr() netip.AddrPort
	// client returns a client that counts its bytes in m. It connects when it needs to.
	client(m *meter) client
	// stop returns when everything that the server started has ended. Call it once, and only when
	// the server's own clients are closed.
	stop()
}

// client makes requests, one at a time.
type client interface {
	// exchange makes one request and takes the answer, within patience.
	exchange() error
	close()
}

var allKinds = []kind{
	{name: "http", addr: "127.0.0.1:0", start: startHTTP},
	{name: "echo", addr: "127.0.0.1:0", start: startSlowEcho},
	{name: "bulk", addr: "127.0.0.1:0", start: startBulk},
	// Each connection leaves a port in TIME_WAIT for a minute: 200/s keeps well within the range.
	{name: "connect", addr: "127.0.0.1:0", start: startConnect, most: 200},
	{name: "udp", addr: "127.0.0.1:0", start: startUDP},
	{name: "ipv6", addr: "[::1]:0", start: startEcho},
}

// Kinds returns the names of all kinds of traffic.
func Kinds() []string {
	names := make([]string, 0, len(allKinds))
	for _, k := range allKinds {
		names = append(names, k.name)
	}
	return names
}

func (c Config) validate() error {
	switch {
	case c.Duration <= 0:
		return fmt.Errorf("duration %s: want more than zero", c.Duration)
	case c.Rate < 1 || c.Rate > MaxRate:
		return fmt.Errorf("rate %d: want 1 to %d", c.Rate, MaxRate)
	case len(c.Kinds) == 0:
		return errors.New("no kind of traffic asked for")
	}
	for _, name := range c.Kinds {
		if !slices.Contains(Kinds(), name) {
			return fmt.Errorf("unknown kind of traffic %q", name)
		}
	}
	return nil
}

// Run makes traffic until cfg.Duration has passed or ctx ends, which is no error. Requests under
// way are finished. When Run returns, nothing it started is left. It fails when a server cannot be
// started, other than for want of ::1, and when every request of a kind has failed.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if err := cfg.validate(); err != nil {
		return Report{}, err
	}
	var chosen []kind
	for _, k := range allKinds {
		if slices.Contains(cfg.Kinds, k.name) {
			chosen = append(chosen, k)
		}
	}
	return runKinds(ctx, cfg, chosen)
}

func runKinds(ctx context.Context, cfg Config, kinds []kind) (Report, error) {
	if cfg.Notice == nil {
		cfg.Notice = func(string) {}
	}
	streams, err := startServers(kinds, cfg.Notice)
	defer func() {
		var stopping sync.WaitGroup
		for _, s := range streams {
			stopping.Go(s.server.stop)
		}
		stopping.Wait()
	}()
	if err != nil {
		return Report{}, err
	}

	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, cfg.Duration)
	defer cancel()
	var clients sync.WaitGroup
	for _, s := range streams {
		s.launch(ctx, &clients, float64(cfg.Rate)/float64(len(streams)), cfg.Notice)
	}
	clients.Wait()

	report := Report{Duration: time.Since(began)}
	for _, s := range streams {
		t := s.traffic()
		if t.Requests == 0 && t.Failed > 0 {
			return Report{}, fmt.Errorf("%s: no request succeeded: %w", t.Kind, s.meter.firstErr)
		}
		report.Traffic = append(report.Traffic, t)
	}
	return report, nil
}

// startServers returns the servers that run, also when it fails.
func startServers(kinds []kind, notice func(string)) ([]*stream, error) {
	var streams []*stream
	for _, k := range kinds {
		srv, err := k.start(k.addr)
		if err != nil {
			absent := errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
			if absent && netip.MustParseAddrPort(k.addr).Addr().Is6() {
				notice(k.name + " skipped: this network namespace has no ::1")
				continue
			}
			if absent {
				err = fmt.Errorf("%w; is lo up? (ip link set lo up)", err)
			}
			return streams, fmt.Errorf("%s: %w", k.name, err)
		}
		streams = append(streams, &stream{kind: k, server: srv})
	}
	if len(streams) == 0 {
		return nil, errors.New("no kind of traffic is left to make")
	}
	return streams, nil
}
