package doctor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// SelfCheck counts in a network namespace, named as in loader.Config, while it sends a datagram and a TCP
// message there, and holds what was counted against the device and against what was sent. reasons
// says how many packets ended how meanwhile, those of others among them; nil if nothing was counted.
func SelfCheck(name string) (c Check, reasons map[string]uint64) {
	n, err := hook.FindNetns(name)
	if err != nil {
		return failed("self_check", err), nil
	}
	l, err := loader.Open(loader.Config{Netns: name})
	if err != nil {
		return failed("self_check", err), nil
	}
	c, reasons, err = selfCheck(l, n)
	if err = errors.Join(err, l.Close()); err != nil {
		return failed("self_check", err), reasons
	}
	return c, reasons
}

func selfCheck(l *loader.Loader, n hook.Netns) (Check, map[string]uint64, error) {
	c := Check{Name: "self_check", Status: StatusOK, Required: true}
	var from, to reading.Reading
	if err := l.Read(&from); err != nil {
		return c, nil, err
	}
	var sent datagram
	sendErr := n.Do(func() (err error) {
		if sent, err = sendDatagram(); err != nil {
			return err
		}
		return hook.TalkTCP()
	})
	if err := l.Read(&to); err != nil {
		return c, nil, err
	}
	reasons := make(map[string]uint64)
	for i := range to.Reasons {
		reasons[reading.Reason(i).String()] = to.Reasons[i].Packets - from.Reasons[i].Packets
	}
	seen := to.Reasons.Sum().Sub(from.Reasons.Sum())
	counted := fmt.Sprintf("counted %d packets with %s", seen.Packets, l.Hook())
	switch {
	case sendErr != nil:
		c.Status = StatusWarn
		c.Found = fmt.Sprintf("%s, but sending to itself failed: %v", counted, sendErr)
		c.Fix = "see that " + l.Device() + " is up and no firewall rule is in the way"
	case !model.NewDevice(from.Device, to.Device, seen).Agrees:
		c.Status = StatusFail
		c.Found = fmt.Sprintf("%s, the device %d", counted, to.Device.After.Packets-from.Device.After.Packets)
		c.Fix = "stop what sends past the hook (PACKET_QDISC_BYPASS) or drops behind it (tc qdisc show), or report this"
	case !sent.isIn(l, &to):
		c.Status = StatusFail
		c.Found = counted + ", but a datagram that was sent is in no flow"
		c.Fix = "report this"
	default:
		c.Found = counted + ", device agrees"
	}
	return c, reasons, nil
}

// datagram is one that was sent to 127.0.0.1 and arrived.
type datagram struct {
	from, to netip.AddrPort
	payload  uint64
}

// sendDatagram must run inside the namespace.
func sendDatagram() (datagram, error) {
	const limit = time.Second
	receiver, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return datagram{}, err
	}
	defer receiver.Close()
	if err := receiver.SetDeadline(time.Now().Add(limit)); err != nil {
		return datagram{}, err
	}
	sender, err := net.DialUDP("udp4", nil, receiver.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return datagram{}, err
	}
	defer sender.Close()
	message := []byte("lotrace self-check")
	if _, err := sender.Write(message); err != nil {
		return datagram{}, err
	}
	if _, err := receiver.Read(make([]byte, len(message))); err != nil {
		return datagram{}, err
	}
	return datagram{
		from:    sender.LocalAddr().(*net.UDPAddr).AddrPort(),
		to:      receiver.LocalAddr().(*net.UDPAddr).AddrPort(),
		payload: uint64(len(message)),
	}, nil
}

// isIn reports whether a slot has the datagram and nothing else.
func (d datagram) isIn(l *loader.Loader, counted *reading.Reading) bool {
	for count := range counted.InUse() {
		slot := reading.Slot{SlotCount: *count}
		l.ReadSlot(&slot)
		for end := range slot.Dir {
			if slot.Key.Proto == model.ProtoUDP && slot.Key.Endpoint(end) == d.from && slot.Key.Endpoint(1-end) == d.to {
				sent, answered := slot.Dir[end], slot.Dir[1-end]
				return sent.Packets == 1 && sent.PayloadBytes == d.payload && answered.Packets == 0
			}
		}
	}
	return false
}
