// Visits counts visits: each HTTP request adds one to a key in Redis, so this is a server and a client
// at once. It says on its standard output which connections it has, with its own PID:
//
//	accepted PID ADDRESS PORT    the client's end
//	dialed PID ADDRESS PORT      its own end, towards Redis
//
// Usage: visits ADDRESS REDIS
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

const (
	spare   = 2  // connections to Redis that are kept open
	useUpTo = 20 // times, and then a connection is given up for a new one
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: visits ADDRESS REDIS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "visits: %v\n", err)
		os.Exit(1)
	}
}

func run(address, redis string) error {
	s := &store{addr: redis, idle: make(chan *conn, spare)}
	for range spare {
		c, err := s.dial()
		if err != nil {
			return err
		}
		s.idle <- c
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := http.Server{Handler: s, ConnState: func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			say("accepted", c.RemoteAddr())
		}
	}}
	fmt.Println("serving")
	return server.Serve(listener)
}

func say(verb string, end net.Addr) {
	ap := netip.MustParseAddrPort(end.String())
	fmt.Printf("%s %d %s %d\n", verb, os.Getpid(), ap.Addr(), ap.Port())
}

// store keeps the count in Redis.
type store struct {
	addr string
	idle chan *conn
}

type conn struct {
	net.Conn
	answers *bufio.Reader
	used    int
}

func (s *store) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	count, err := s.visit()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, count)
}

func (s *store) visit() (count string, err error) {
	c, err := s.take()
	if err != nil {
		return "", err
	}
	if _, err = io.WriteString(c, "INCR visits\r\n"); err == nil {
		count, err = c.answers.ReadString('\n')
	}
	if err != nil {
		c.Close()
		return "", err
	}
	s.give(c)
	return strings.TrimSpace(strings.TrimPrefix(count, ":")), nil
}

func (s *store) take() (*conn, error) {
	select {
	case c := <-s.idle:
		return c, nil
	default:
		return s.dial()
	}
}

func (s *store) give(c *conn) {
	c.used++
	if c.used == useUpTo {
		c.Close()
		return
	}
	select {
	case s.idle <- c:
	default:
		c.Close()
	}
}

func (s *store) dial() (*conn, error) {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	say("dialed", c.LocalAddr())
	return &conn{Conn: c, answers: bufio.NewReader(c)}, nil
}
