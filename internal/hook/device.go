package hook

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/model"
)

// Device is the loopback device of a network namespace, as it was when it was opened.
type Device struct {
	Name       string
	Index      int
	MTU        int
	GSOMaxSize uint32
	Up         bool
	XDP        ebpf.ProgramID // of the program that somebody has attached; 0: none

	counters *counters
}

// OpenDevice looks for the device with IFF_LOOPBACK: its name may have been changed. It must run
// inside the namespace. Close must be called.
func OpenDevice() (*Device, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	for _, link := range links {
		if link.Attrs().Flags&net.FlagLoopback != 0 {
			return openDevice(link.Attrs())
		}
	}
	return nil, &advice.Error{Doing: "find the loopback device", Found: "this network namespace has none"}
}

func openDevice(attrs *netlink.LinkAttrs) (*Device, error) {
	d := &Device{
		Name:       attrs.Name,
		Index:      attrs.Index,
		MTU:        attrs.MTU,
		GSOMaxSize: attrs.GSOMaxSize,
		Up:         attrs.Flags&net.FlagUp != 0,
	}
	if attrs.Xdp != nil && attrs.Xdp.Attached {
		d.XDP = ebpf.ProgramID(attrs.Xdp.ProgId)
	}
	var err error
	if d.counters, err = openCounters(d.Index); err != nil {
		return nil, err
	}
	return d, nil
}

// Count reads the device's counters.
func (d *Device) Count() (model.DeviceCount, error) { return d.counters.read() }

// Close leaves the device as it is. Count must not be called any more.
func (d *Device) Close() error { return d.counters.Close() }

// counters asks one device for its 64-bit counters (RTM_GETSTATS, rtnetlink(7)): one message
// out, one in, by index, so that a rename does not matter.
type counters struct {
	fd      int
	request []byte
	answer  []byte
}

// Sizes and numbers of linux/if_link.h and linux/rtnetlink.h.
const (
	sizeofStatsMsg     = 12 // struct if_stats_msg
	iflaStatsLink64    = 1  // IFLA_STATS_LINK_64
	offsetRxPackets    = 0  // in struct rtnl_link_stats64
	offsetRxBytes      = 16
	offsetRxDropped    = 48
	offsetTxDropped    = 56
	maxStatsAnswerSize = 4096
)

// openCounters must run inside the namespace.
func openCounters(ifindex int) (*counters, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open device counters: %w", err)
	}
	req := make([]byte, unix.NLMSG_HDRLEN+sizeofStatsMsg)
	order := binary.NativeEndian
	order.PutUint32(req[0:], uint32(len(req)))
	order.PutUint16(req[4:], unix.RTM_GETSTATS)
	order.PutUint16(req[6:], unix.NLM_F_REQUEST)
	order.PutUint32(req[unix.NLMSG_HDRLEN+4:], uint32(ifindex))
	order.PutUint32(req[unix.NLMSG_HDRLEN+8:], 1<<(iflaStatsLink64-1))
	return &counters{fd: fd, request: req, answer: make([]byte, maxStatsAnswerSize)}, nil
}

func (d *counters) Close() error { return unix.Close(d.fd) }

func (d *counters) read() (model.DeviceCount, error) {
	kernel := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	if err := unix.Sendto(d.fd, d.request, 0, kernel); err != nil {
		return model.DeviceCount{}, fmt.Errorf("ask for device counters: %w", err)
	}
	n, _, err := unix.Recvfrom(d.fd, d.answer, 0)
	for errors.Is(err, unix.EINTR) {
		n, _, err = unix.Recvfrom(d.fd, d.answer, 0)
	}
	if err != nil {
		return model.DeviceCount{}, fmt.Errorf("read device counters: %w", err)
	}
	return parseCounters(d.answer[:n])
}

// parseCounters reads an RTM_NEWSTATS message whose one attribute is IFLA_STATS_LINK_64. On lo,
// what was sent is what was received: one set of counters says both. Dropped is a full backlog on the
// one side and a device that is down on the other.
func parseCounters(msg []byte) (model.DeviceCount, error) {
	const attr = unix.NLMSG_HDRLEN + sizeofStatsMsg
	const stats = attr + unix.SizeofRtAttr
	order := binary.NativeEndian
	if len(msg) >= unix.NLMSG_HDRLEN+4 && order.Uint16(msg[4:]) == unix.NLMSG_ERROR {
		errno := unix.Errno(-int32(order.Uint32(msg[unix.NLMSG_HDRLEN:])))
		return model.DeviceCount{}, fmt.Errorf("read device counters: %w", errno)
	}
	if len(msg) < stats+offsetTxDropped+8 || order.Uint16(msg[4:]) != unix.RTM_NEWSTATS ||
		order.Uint16(msg[attr+2:]) != iflaStatsLink64 {
		return model.DeviceCount{}, errors.New("read device counters: unexpected answer from the kernel")
	}
	counters := msg[stats:]
	return model.DeviceCount{
		Packets: order.Uint64(counters[offsetRxPackets:]),
		Bytes:   order.Uint64(counters[offsetRxBytes:]),
		Dropped: order.Uint64(counters[offsetRxDropped:]) + order.Uint64(counters[offsetTxDropped:]),
	}, nil
}
