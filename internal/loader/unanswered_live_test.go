package loader_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/loader"
)

// Datagrams that nobody answers leave the places to those that are answered, whose first turn is whole.
func TestUnansweredDatagramsTakeNoPlace(t *testing.T) {
	const (
		maxFlows = 4 * loader.MinFlows
		wait     = 20 * time.Millisecond
	)
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind, MaxFlows: maxFlows})
			var client, server *net.UDPConn
			r.ns.Run(t, func() {
				var err error
				if client, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
					t.Fatal(err)
				}
				if server, err = net.ListenUDP("udp4", nil); err != nil {
					t.Fatal(err)
				}
			})
			defer client.Close()
			defer server.Close()
			from, to := client.LocalAddr().(*net.UDPAddr).AddrPort(), server.LocalAddr().(*net.UDPAddr).AddrPort()
			send := func(sender *net.UDPConn, to netip.AddrPort) {
				if _, err := sender.WriteToUDPAddrPort([]byte{1}, to); err != nil {
					t.Fatal(err)
				}
			}
			for i := range loader.Exchanges(maxFlows) {
				send(client, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), to.Port()))
			}
			asked := netip.AddrPortFrom(from.Addr(), to.Port())
			send(client, asked)
			time.Sleep(wait)
			send(server, from)
			s := r.window()
			if turn := r.flow(s, from, asked).Turn; turn.Count != 1 || turn.Min < wait || turn.Max > time.Minute {
				t.Errorf("%d turns from %v to %v, want one that takes %v", turn.Count, turn.Min, turn.Max, wait)
			}
			if s.Unmeasured != 0 {
				t.Errorf("%d flows found no place", s.Unmeasured)
			}
		})
	}
}
