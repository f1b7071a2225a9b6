package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

// Of sock_diag(7) and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	tcpListen        = 10 // TCP_LISTEN, include/net/tcp_states.h

	sizeofDiagRequest = 56 // struct inet_diag_req_v2
	sizeofDiagMessage = 72 // struct inet_diag_msg

	diagSKMeminfo = 7  // INET_DIAG_SKMEMINFO
	diagSKV6Only  = 11 // INET_DIAG_SKV6ONLY
	meminfoDrops  = 8  // SK_MEMINFO_DROPS, linux/sock_diag.h
)

// diagListening lists the TCP sockets that listen in the calling thread's network namespace. The kernel looks
// at no other sockets for that.
func diagListening(into []model.Backlog) ([]model.Backlog, error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		body := make([]byte, sizeofDiagRequest)
		body[0], body[1], body[2] = family, unix.IPPROTO_TCP, 1<<(diagSKMeminfo-1)
		binary.NativeEndian.PutUint32(body[4:], 1<<tcpListen)
		request.AddRawData(body)
		messages, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
		if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) { // somebody began or ceased to listen meanwhile
			return into, fmt.Errorf("list listening sockets with sock_diag: %w", err)
		}
		for _, message := range messages {
			backlog, err := parseListening(message)
			if err != nil {
				return into, fmt.Errorf("list listening sockets with sock_diag: %w", err)
			}
			into = append(into, backlog)
		}
	}
	return into, nil
}

// parseListening reads a struct inet_diag_msg and its attributes. Of a listening socket the two queues are how
// many connections wait in it, and how many may.
func parseListening(b []byte) (backlog model.Backlog, err error) {
	if len(b) < sizeofDiagMessage || len(b)%unix.NLA_ALIGNTO != 0 { // ParseRouteAttr takes the padding for granted
		return backlog, fmt.Errorf("%d bytes are no whole record", len(b))
	}
	attributes, err := nl.ParseRouteAttr(b[sizeofDiagMessage:])
	if err != nil {
		return backlog, err
	}
	addr := netip.AddrFrom16([16]byte(b[8:]))
	if b[0] == unix.AF_INET {
		addr = netip.AddrFrom4([4]byte(b[8:]))
	}
	backlog = model.Backlog{
		Addr:   addr.Unmap(),
		Port:   binary.BigEndian.Uint16(b[4:]),
		Length: binary.NativeEndian.Uint32(b[56:]),
		Limit:  binary.NativeEndian.Uint32(b[60:]),
	}
	for i := range attributes {
		switch value := attributes[i].Value; attributes[i].Attr.Type {
		case diagSKV6Only:
			backlog.V6Only = len(value) > 0 && value[0] != 0
		case diagSKMeminfo:
			if len(value) >= 4*(meminfoDrops+1) {
				backlog.Drops = uint64(binary.NativeEndian.Uint32(value[4*meminfoDrops:]))
			}
		}
	}
	return backlog, nil
}
