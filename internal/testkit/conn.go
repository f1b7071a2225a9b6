package testkit

import (
	"errors"
	"net"
	"net/netip"
)

// Conn is an open TCP connection with both of its ends and the listening socket behind it.
type Conn struct {
	Client, Server netip.AddrPort

	client, server *stream
	listener       net.Listener
}

// Dial makes a connection that stays open.
func Dial(ns *Netns, family uint8) (*Conn, error) {
	listener, err := listen(ns, family)
	if err != nil {
		return nil, err
	}
	c := &Conn{listener: listener, Server: listener.Addr().(*net.TCPAddr).AddrPort()}
	if err := c.connect(ns); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Conn) connect(ns *Netns) error {
	if err := ns.Do(func() (err error) { c.client, err = dial(c.Server); return err }); err != nil {
		return err
	}
	conn, err := c.listener.Accept()
	if err != nil {
		return err
	}
	c.server = newStream(conn)
	c.Client = c.client.LocalAddr().(*net.TCPAddr).AddrPort()
	return nil
}

// Answer sends one byte from the server, which the client reads.
func (c *Conn) Answer() error {
	if _, err := c.server.Write([]byte{1}); err != nil {
		return err
	}
	return readAll(c.client, 1)
}

// Close closes all three sockets.
func (c *Conn) Close() error {
	errs := []error{c.listener.Close()}
	for _, end := range []*stream{c.client, c.server} {
		if end != nil {
			errs = append(errs, end.Close())
		}
	}
	return errors.Join(errs...)
}
