package stats

import (
	"net/netip"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

func TestRoles(t *testing.T) {
	const own = "127.0.0.1"
	listen := func(proto model.Proto, addr string, port uint16, v6only bool) reading.Listener {
		return reading.Listener{Proto: proto, Addr: netip.MustParseAddr(addr), Port: port, V6Only: v6only}
	}
	tcp := func(addr string) []reading.Listener {
		return []reading.Listener{listen(model.ProtoTCP, addr, 50000, false)}
	}
	for _, test := range []struct {
		name      string
		proto     model.Proto
		addr      string
		ports     [2]uint16
		role      reading.SlotRole
		first     uint8
		listeners []reading.Listener
		client    int
		source    model.RoleSource
	}{
		{"handshake", model.ProtoTCP, own, [2]uint16{80, 50000}, reading.SlotRoleSYN, 0, tcp("0.0.0.0"), 0, model.RoleSYN},
		{"listener on all", model.ProtoTCP, own, [2]uint16{80, 50000}, reading.SlotRoleNone, 0, tcp("0.0.0.0"), 0, model.RoleListener},
		{"listener here", model.ProtoTCP, own, [2]uint16{80, 50000}, reading.SlotRoleNone, 0, tcp(own), 0, model.RoleListener},
		{"listener elsewhere", model.ProtoTCP, own, [2]uint16{80, 50000}, reading.SlotRoleNone, 0, tcp("127.0.0.2"), 1, model.RolePort},
		{"dual-stack listener", model.ProtoTCP, own, [2]uint16{80, 50000}, reading.SlotRoleNone, 0, tcp("::"), 0, model.RoleListener},
		{"ipv6-only listener", model.ProtoTCP, own, [2]uint16{80, 50000}, reading.SlotRoleNone, 0,
			[]reading.Listener{listen(model.ProtoTCP, "::", 50000, true)}, 1, model.RolePort},
		{"ipv6 on an ipv6-only listener", model.ProtoTCP, "::1", [2]uint16{80, 50000}, reading.SlotRoleNone, 0,
			[]reading.Listener{listen(model.ProtoTCP, "::", 50000, true)}, 0, model.RoleListener},
		{"another protocol's listener", model.ProtoUDP, own, [2]uint16{80, 50000}, reading.SlotRoleFirst, 1, tcp("0.0.0.0"), 1, model.RoleFirst},
		{"both listen", model.ProtoUDP, own, [2]uint16{5353, 50000}, reading.SlotRoleFirst, 0, []reading.Listener{
			listen(model.ProtoUDP, "0.0.0.0", 50000, false), listen(model.ProtoUDP, "0.0.0.0", 5353, false)}, 0, model.RoleFirst},
		{"ephemeral port", model.ProtoTCP, own, [2]uint16{40000, 8080}, reading.SlotRoleNone, 0, nil, 0, model.RolePort},
		{"two low ports", model.ProtoTCP, own, [2]uint16{80, 8080}, reading.SlotRoleNone, 0, nil, 1, model.RolePort},
		{"ping", model.ProtoICMP, own, [2]uint16{0, 77}, reading.SlotRoleFirst, 0, nil, 1, model.RoleFirst},
		{"ping, other order", model.ProtoICMPv6, "::1", [2]uint16{77, 0}, reading.SlotRoleFirst, 1, nil, 0, model.RoleFirst},
		{"icmp error", model.ProtoICMP, own, [2]uint16{0, 0}, reading.SlotRoleFirst, 1, nil, 1, model.RoleFirst},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := netip.MustParseAddr(test.addr).As16()
			slot := &reading.Slot{
				Key:    reading.SlotKey{Addr: [2][16]byte{addr, addr}, Port: test.ports, Proto: test.proto},
				Client: test.first,
				Role:   test.role,
			}
			client, source := newListeners(test.listeners).roleOf(slot)
			if client != test.client || source != test.source {
				t.Errorf("client %d by %q, want %d by %q", client, source, test.client, test.source)
			}
		})
	}
}
