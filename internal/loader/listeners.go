package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

// Listeners lists the sockets in the watched namespace that wait for others: what tells client from
// server on connections older than we are. A BPF iterator sees them all in one pass; sock_diag(7)
// is asked where the iterator is refused.
func (l *Loader) Listeners() ([]model.Listener, error) {
	var found []model.Listener
	err := l.netns.do(func() (err error) {
		found, err = iterateListeners(l.loadBeside)
		if err != nil {
			var diagErr error
			if found, diagErr = diagListeners(); diagErr == nil {
				return nil
			}
			return errors.Join(err, diagErr)
		}
		return nil
	})
	return found, err
}

func iterateListeners(load func(program string) (*ebpf.Program, error)) ([]model.Listener, error) {
	var out []model.Listener
	for _, name := range []string{"lotrace_iter_tcp", "lotrace_iter_udp"} {
		program, err := load(name)
		if err != nil {
			return nil, fmt.Errorf("list listeners: %w", err)
		}
		found, err := runIterator(program)
		if err != nil {
			return nil, fmt.Errorf("list listeners: %w", err)
		}
		out = append(out, found...)
	}
	return out, nil
}

// runIterator closes the program.
func runIterator(prog *ebpf.Program) ([]model.Listener, error) {
	defer prog.Close()
	iter, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return nil, err
	}
	defer iter.Close()
	reader, err := iter.Open()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	raw, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	return parseListeners(raw)
}

// sizeofListener is that of struct lt_listener, whose layout parseListeners reads.
const sizeofListener = 24

func parseListeners(raw []byte) ([]model.Listener, error) {
	if len(raw)%sizeofListener != 0 {
		return nil, fmt.Errorf("read listeners: %d bytes are no whole records", len(raw))
	}
	var out []model.Listener
	for ; len(raw) > 0; raw = raw[sizeofListener:] {
		out = append(out, model.Listener{
			Proto:  model.Proto(raw[18]),
			Addr:   socketAddr([16]byte(raw), raw[19]),
			Port:   binary.NativeEndian.Uint16(raw[16:]),
			V6Only: raw[20] != 0,
		})
	}
	return out, nil
}

const tcpListen = 10 // TCP_LISTEN, include/net/tcp_states.h

// diagListeners does not learn V6Only; a dual-stack guess only ever helps to find a server.
func diagListeners() ([]model.Listener, error) {
	var out []model.Listener
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		tcp, err := netlink.SocketDiagTCP(family)
		if err != nil {
			return nil, fmt.Errorf("list listeners with sock_diag: %w", err)
		}
		udp, err := netlink.SocketDiagUDP(family)
		if err != nil {
			return nil, fmt.Errorf("list listeners with sock_diag: %w", err)
		}
		for _, s := range tcp {
			if s.State == tcpListen {
				out = append(out, diagListener(model.ProtoTCP, s))
			}
		}
		for _, s := range udp {
			if s.ID.DestinationPort == 0 {
				out = append(out, diagListener(model.ProtoUDP, s))
			}
		}
	}
	return out, nil
}

func diagListener(proto model.Proto, s *netlink.Socket) model.Listener {
	addr, _ := netip.AddrFromSlice(s.ID.Source)
	return model.Listener{Proto: proto, Addr: addr.Unmap(), Port: s.ID.SourcePort}
}
