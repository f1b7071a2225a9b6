package hook

import (
	"io"
	"net"
	"time"
)

// TalkTCP sends one message over TCP from this process to itself. It must run inside the namespace.
func TalkTCP() error {
	const limit = time.Second
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := listener.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	client, err := net.DialTimeout("tcp4", listener.Addr().String(), limit)
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		return err
	}
	defer server.Close()
	if err := server.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	message := []byte("lotrace xdp self-test")
	if _, err := client.Write(message); err != nil {
		return err
	}
	_, err = io.ReadFull(server, make([]byte, len(message)))
	return err
}
