//go:build soak

package soak

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/testkit"
)

// pause is between two rounds of one kind of traffic: the machine has others to serve, and ports used again
// within a minute would run out.
const pause = 100 * time.Millisecond

// traffic is a mix in which flows begin and end all the time, answers are refused, and datagrams dropped.
type traffic struct {
	tb   testing.TB
	stop chan struct{}
	wg   sync.WaitGroup
}

func startTraffic(tb testing.TB, ns *testkit.Netns) *traffic {
	m := &traffic{tb: tb, stop: make(chan struct{})}
	for _, family := range []uint8{4, 6} {
		m.repeat(func() error { _, err := testkit.TCPBulk(ns, family, 1<<20); return err })
		m.repeat(func() error { _, err := testkit.TCPSmallWrites(ns, family, 50, 10); return err })
		m.repeat(func() error { _, err := testkit.PingPong(ns, family, 100, 64); return err })
		m.repeat(func() error { _, err := testkit.ShortConnections(ns, family, 7, 3); return err })
		m.repeat(func() error { _, err := testkit.UDPCount(ns, family, 101, 100); return err })
		m.repeat(func() error { _, err := testkit.ICMPEcho(ns, family, 11, 56); return err })
		m.repeat(func() error { _, err := testkit.ClosedPort(ns, family, 33); return err })
	}
	m.repeat(func() error { return unread(ns, 20, 5000) })
	return m
}

// repeat sends over and over until end.
func (m *traffic) repeat(send func() error) {
	m.wg.Go(func() {
		pace := time.NewTicker(pause)
		defer pace.Stop()
		for {
			if err := send(); err != nil {
				m.tb.Error(err)
				return
			}
			select {
			case <-m.stop:
				return
			case <-pace.C:
			}
		}
	})
}

func (m *traffic) end() {
	close(m.stop)
	m.wg.Wait()
}

// unread sends n datagrams to a socket that has room for one, and is read by nobody.
func unread(ns *testkit.Netns, n, size int) error {
	return ns.Do(func() error {
		ear, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer ear.Close()
		if err := ear.SetReadBuffer(1); err != nil {
			return err
		}
		mouth, err := net.DialUDP("udp4", nil, ear.LocalAddr().(*net.UDPAddr))
		if err != nil {
			return err
		}
		defer mouth.Close()
		for range n {
			if _, err := mouth.Write(make([]byte, size)); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropsOf is how many datagrams the namespace's sockets had no room for.
func dropsOf(ns *testkit.Netns) uint64 { return ns.Counter("UdpRcvbufErrors") }
