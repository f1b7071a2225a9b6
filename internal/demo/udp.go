package demo

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// udpServer answers each datagram with itself.
type udpServer struct {
	conn    *net.UDPConn
	running sync.WaitGroup
}

func startUDP(addr string) (server, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		return nil, err
	}
	s := &udpServer{conn: conn}
	s.running.Go(s.serve)
	return s, nil
}

func (s *udpServer) serve() {
	datagram := make([]byte, 64*1024)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(datagram)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			// A client that has gone is its own affair; others are still to be served.
			_, _ = s.conn.WriteToUDPAddrPort(datagram[:n], from)
		}
	}
}

func (s *udpServer) addr() netip.AddrPort {
	return s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (s *udpServer) client(m *meter) client {
	return &connClient{network: "udp", addr: s.addr().String(), meter: m, talk: echo()}
}

func (s *udpServer) stop() {
	s.conn.Close()
	s.running.Wait()
}
