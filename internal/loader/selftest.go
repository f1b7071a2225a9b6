package loader

import (
	"fmt"
	"io"
	"net"
	"time"
)

// xdpWarning is what generic XDP does to lo, whatever the program.
const xdpWarning = "generic XDP on lo copies every large packet into one piece of memory, and the kernel drops " +
	"packets when that memory is short: local traffic gets slower and may stall. Prefer a tc hook."

// selfTestXDP sends a little TCP through the device and says if this kernel hides packets of it from
// XDP, as old ones do with cloned skbs. It must run inside the namespace.
func (l *Loader) selfTestXDP() error {
	device, err := l.stats.read()
	if err != nil {
		return err
	}
	hook, err := l.hookCount()
	if err != nil {
		return err
	}
	if err := exchange(); err != nil {
		l.warn("the XDP self-test could not run: %v", err)
		return nil
	}
	after, err := l.stats.read()
	if err != nil {
		return err
	}
	sent := after.Packets - device.Packets
	var seen uint64
	for deadline := time.Now().Add(settleLimitXDP); time.Now().Before(deadline); letPass() {
		now, err := l.hookCount()
		if err != nil {
			return err
		}
		if seen = now.Packets - hook.Packets; seen >= sent {
			return nil
		}
	}
	l.warn("this kernel hides packets from XDP: of %d on the device, %d were seen. Counts will be too low; use a tc hook.",
		sent, seen)
	return nil
}

// exchange sends one message over TCP from this process to itself.
func exchange() error {
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

func (l *Loader) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// Warnings is what Open noticed that does not keep it from counting, a sentence each.
func (l *Loader) Warnings() []string { return l.warnings }
