package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// httpServer lists things and takes new ones, in a manner of speaking.
type httpServer struct {
	listener net.Listener
	server   http.Server
	running  sync.WaitGroup // Serve and one for each connection
}

func startHTTP(addr string) (server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &httpServer{listener: ln}
	s.server = http.Server{
		Handler:           httpHandler(),
		ReadHeaderTimeout: patience,
		ErrorLog:          log.New(io.Discard, "", 0), // strangers' bad requests are no news
		ConnState:         s.watch,
	}
	s.running.Go(func() { s.server.Serve(ln) })
	return s, nil
}

// watch counts connections, because Shutdown and Close do not wait for their goroutines.
func (s *httpServer) watch(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.running.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.running.Done()
	case http.StateActive, http.StateIdle:
	}
}

func httpHandler() http.Handler {
	page, list := bytes.Repeat([]byte("page\n"), 100), bytes.Repeat([]byte("item\n"), 2000)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { w.Write(page) })
	mux.HandleFunc("GET /items", func(w http.ResponseWriter, _ *http.Request) { w.Write(list) })
	mux.HandleFunc("POST /items", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	return mux
}

func (s *httpServer) addr() netip.AddrPort {
	return s.listener.Addr().(*net.TCPAddr).AddrPort()
}

func (s *httpServer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		s.server.Close() // a stranger's connection
	}
	s.running.Wait()
}

// httpClient has one keep-alive connection.
type httpClient struct {
	base   string
	client http.Client
	item   []byte
	turn   int
}

func (s *httpServer) client(m *meter) client {
	return &httpClient{
		base:   "http://" + s.addr().String(),
		client: http.Client{Timeout: patience, Transport: &http.Transport{DialContext: m.dial}},
		item:   bytes.Repeat([]byte("i"), 1024),
	}
}

// exchange takes turns: two reads, one write.
func (c *httpClient) exchange() error {
	method, path, body := http.MethodGet, "/", io.Reader(http.NoBody)
	switch c.turn++; c.turn % 3 {
	case 1:
		path = "/items"
	case 2:
		method, path, body = http.MethodPost, "/items", bytes.NewReader(c.item)
	}
	req, err := http.NewRequest(method, c.base+path, body)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return nil
}

func (c *httpClient) close() { c.client.CloseIdleConnections() }
