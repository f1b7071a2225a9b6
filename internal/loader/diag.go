package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"github.com/lotrace/lotrace/internal/reading"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Of sock_diag(7) and linux/inet_diag.h.
const (
	sockDiagByFamily = 20

	sizeofDiagRequest = 56 // struct inet_diag_req_v2
	sizeofDiagMessage = 72 // struct inet_diag_msg

	diagInfo      = 2  // INET_DIAG_INFO
	diagSKMeminfo = 7  // INET_DIAG_SKMEMINFO
	diagSKV6Only  = 11 // INET_DIAG_SKV6ONLY
	meminfoDrops  = 8  // SK_MEMINFO_DROPS, linux/sock_diag.h
)

// diagSockets has read called with the struct inet_diag_msg and the attributes of every socket of a protocol
// (unix.IPPROTO_*) in the calling thread's network namespace that is in one of these states, a set of bits
// 1<<BPF_TCP_*, with one attribute. Of IPv6 sockets that listen or are not connected diagSKV6Only comes as well.
// Asked for TCP that listens, the kernel looks at no others.
func diagSockets(protocol uint8, states uint32, attribute uint8, read func([]byte) error) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		body := make([]byte, sizeofDiagRequest)
		body[0], body[1], body[2] = family, protocol, 1<<(attribute-1)
		binary.NativeEndian.PutUint32(body[4:], states)
		request.AddRawData(body)
		var failed error
		err := request.ExecuteIter(unix.NETLINK_INET_DIAG, 0, func(message []byte) bool {
			failed = read(message)
			return failed == nil
		})
		if errors.Is(err, nl.ErrDumpInterrupted) { // sockets came or went meanwhile
			err = nil
		}
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("list sockets with sock_diag: %w", err)
		}
	}
	return nil
}

// diagMessage is a struct inet_diag_msg.
type diagMessage struct {
	state         uint8
	local, remote netip.AddrPort // IPv4 in IPv6 is IPv4
	receive, send uint32         // idiag_rqueue and idiag_wqueue
	v6only        bool           // hears from IPv6 alone
	attributes    []syscall.NetlinkRouteAttr
}

func parseDiag(b []byte) (m diagMessage, err error) {
	if len(b) < sizeofDiagMessage || len(b)%unix.NLA_ALIGNTO != 0 { // ParseRouteAttr takes the padding for granted
		return m, fmt.Errorf("%d bytes are no whole record", len(b))
	}
	if m.attributes, err = nl.ParseRouteAttr(b[sizeofDiagMessage:]); err != nil {
		return m, err
	}
	end := func(port, addr []byte) netip.AddrPort {
		ip := netip.AddrFrom16([16]byte(addr))
		if b[0] == unix.AF_INET {
			ip = netip.AddrFrom4([4]byte(addr))
		}
		return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(port))
	}
	m.state = b[1]
	m.local, m.remote = end(b[4:], b[8:]), end(b[6:], b[24:])
	m.receive, m.send = binary.NativeEndian.Uint32(b[56:]), binary.NativeEndian.Uint32(b[60:])
	for i := range m.attributes {
		if value := m.attributes[i].Value; m.attributes[i].Attr.Type == diagSKV6Only {
			m.v6only = len(value) > 0 && value[0] != 0
		}
	}
	return m, nil
}

// diagListening lists the sockets that listen; site is what the calling thread's namespace is.
func diagListening(site uint32, into []reading.Backlog) ([]reading.Backlog, error) {
	err := diagSockets(unix.IPPROTO_TCP, 1<<unix.BPF_TCP_LISTEN, diagSKMeminfo, func(b []byte) error {
		backlog, err := parseListening(b)
		if err == nil {
			backlog.Site = site
			into = append(into, backlog)
		}
		return err
	})
	return into, err
}

// parseListening reads what a socket that listens has, but for its site. Its two queues are how many connections wait in it, and how
// many may.
func parseListening(b []byte) (reading.Backlog, error) {
	m, err := parseDiag(b)
	if err != nil {
		return reading.Backlog{}, err
	}
	backlog := reading.Backlog{
		Addr: m.local.Addr(), Port: m.local.Port(), V6Only: m.v6only, Length: m.receive, Limit: m.send,
	}
	for i := range m.attributes {
		value := m.attributes[i].Value
		if m.attributes[i].Attr.Type == diagSKMeminfo && len(value) >= 4*(meminfoDrops+1) {
			backlog.Drops = uint64(binary.NativeEndian.Uint32(value[4*meminfoDrops:]))
		}
	}
	return backlog, nil
}

// statesConnected are those in which a socket has queues: not yet so as long as its handshake lasts.
const statesConnected = 1<<unix.BPF_TCP_ESTABLISHED | 1<<unix.BPF_TCP_FIN_WAIT1 | 1<<unix.BPF_TCP_FIN_WAIT2 |
	1<<unix.BPF_TCP_CLOSE_WAIT | 1<<unix.BPF_TCP_LAST_ACK | 1<<unix.BPF_TCP_CLOSING

// diagQueues has tell called with every connected socket that has something to say: its two ends, and a queue
// that lacks the slot and its end.
func diagQueues(tell func(local, remote netip.AddrPort, q reading.Queue) error) error {
	return diagSockets(unix.IPPROTO_TCP, statesConnected, diagInfo, func(b []byte) error {
		m, q, err := parseConnected(b)
		if err != nil || q == (reading.Queue{}) {
			return err
		}
		return tell(m.local, m.remote, q)
	})
}

// parseConnected reads what a connected socket has. SYN and FIN take a sequence number each and are no bytes.
func parseConnected(b []byte) (m diagMessage, q reading.Queue, err error) {
	if m, err = parseDiag(b); err != nil {
		return m, q, err
	}
	q.Receive, q.Send = m.receive, m.send
	switch m.state {
	case unix.BPF_TCP_CLOSE_WAIT, unix.BPF_TCP_LAST_ACK, unix.BPF_TCP_CLOSING: // the other side's end has come
		q.Receive -= min(q.Receive, 1)
	}
	switch m.state {
	case unix.BPF_TCP_FIN_WAIT1, unix.BPF_TCP_LAST_ACK, unix.BPF_TCP_CLOSING: // our own is under way
		q.Send -= min(q.Send, 1)
	}
	const at = int(unsafe.Offsetof(unix.TCPInfo{}.Rcv_ooopack))
	for i := range m.attributes {
		if value := m.attributes[i].Value; m.attributes[i].Attr.Type == diagInfo && len(value) >= at+4 {
			q.OutOfOrder = binary.NativeEndian.Uint32(value[at:])
		}
	}
	return m, q, nil
}
