package export

import (
	"net/netip"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

var end = time.Date(2026, 3, 1, 12, 0, 1, 5_000, time.UTC)

func endpointAt(addrPort string, owner *model.Owner) model.Endpoint {
	ap := netip.MustParseAddrPort(addrPort)
	return model.Endpoint{Addr: ap.Addr(), Port: ap.Port(), Owner: owner}
}

func sent(packets, bytes uint64) model.Counters {
	return model.Counters{Packets: packets, Bytes: bytes, SKBs: packets / 2, PayloadBytes: bytes * 9 / 10}
}

// finish fills in what follows from the flows: totals, and a device that agrees.
func finish(s model.Snapshot) *model.Snapshot {
	s.Start, s.End, s.Duration = end.Add(-time.Second), end, time.Second
	s.Origin.Host, s.Origin.Kernel = "devbox", "6.18.0"
	s.Origin.Netns, s.Origin.Device, s.Origin.Hook = 4026531840, "lo", "tcx"
	s.Self = model.Self{BPFNsPerPacket: 143.5, CPUPercent: 0.4, RSSBytes: 31 << 20}
	s.Totals = s.Overflow
	for i := range s.Flows {
		f := &s.Flows[i]
		f.Netns = 4026531840
		f.FirstSeen, f.LastSeen = end.Add(-90*time.Second), end.Add(-40*time.Millisecond)
		for _, c := range []model.Counters{f.ToServer, f.ToClient} {
			s.Totals.Add(model.Count{SKBs: c.SKBs, Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	if s.Device == nil && s.Origin.Filter == "" {
		s.Device = &model.Device{Packets: s.Totals.Packets, Bytes: s.Totals.Bytes, Agrees: true}
	}
	return &s
}

// usual is a developer's machine: no owners known, several protocols and states.
func usual() *model.Snapshot {
	return finish(model.Snapshot{Flows: []model.Flow{
		{Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client: endpointAt("127.0.0.1:51234", nil), Server: endpointAt("127.0.0.1:5432", nil),
			ToServer: sent(1_204, 96_320), ToClient: sent(11_207, 45_512_345),
			ClientSRTT: 41 * time.Microsecond, ServerSRTT: 1_250 * time.Microsecond, ClientCwnd: 10, ServerCwnd: 124},
		{Proto: model.ProtoTCP, State: "time-wait", RoleSource: model.RoleSYN, Closed: true,
			Client: endpointAt("127.0.0.1:51240", nil), Server: endpointAt("127.0.0.1:5432", nil),
			ToServer: sent(6, 512), ToClient: sent(5, 2_048)},
		{Proto: model.ProtoTCP, State: "established", RoleSource: model.RolePort,
			Client: endpointAt("[::1]:40112", nil), Server: endpointAt("[::1]:8080", nil),
			ToServer: sent(98_765_432, 9_876_543_210), ToClient: model.Counters{Packets: 3, Bytes: 999, SKBs: 3, Retransmits: 2, RetransBytes: 66}},
		{Proto: model.ProtoUDP, RoleSource: model.RoleFirst,
			Client: endpointAt("127.0.0.1:60001", nil), Server: endpointAt("127.0.0.53:53", nil),
			ToServer: sent(2, 140), ToClient: sent(2, 260)},
		{Proto: model.ProtoICMP, RoleSource: model.RoleFirst,
			Client: endpointAt("127.0.0.1:4711", nil), Server: endpointAt("127.0.0.1:0", nil),
			ToServer: sent(1, 84), ToClient: sent(1, 84)},
		{Proto: 47, RoleSource: model.RoleFirst,
			Client: endpointAt("127.0.0.1:0", nil), Server: endpointAt("127.0.0.2:0", nil),
			ToServer: sent(1, 60)},
	}})
}

// owned knows one process or two behind each flow, of which some would like to draw themselves.
func owned() *model.Snapshot {
	curl := &model.Owner{PID: 311, Comm: "curl", Exe: "/usr/bin/curl", Cmdline: "curl <&> \x1b[2J", UID: 1000,
		Cgroup: "/user.slice/x.scope", Unit: "x.scope", Container: "0123456789ab", Source: "kernel"}
	nginx := &model.Owner{PID: 80, Comm: "nginx", Source: "scan"}
	worker := &model.Owner{PID: 81, Comm: "nginx", Source: "scan"}
	hostile := &model.Owner{PID: 666, Comm: "\x1b[31m\n|<b>\u202ex", Source: "kernel"}
	wide := &model.Owner{PID: 4194304, Comm: "データベース", Source: "kernel"}
	return finish(model.Snapshot{Flows: []model.Flow{
		{Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client: endpointAt("127.0.0.1:51234", curl), Server: endpointAt("127.0.0.1:80", nginx),
			ToServer: sent(40, 4_000), ToClient: sent(44, 440_000), ClientSRTT: time.Millisecond, ClientCwnd: 10},
		{Proto: model.ProtoTCP, State: "fin-wait-2", RoleSource: model.RoleListener,
			Client: endpointAt("127.0.0.1:51235", hostile), Server: endpointAt("127.0.0.1:80", worker),
			ToServer: sent(30, 3_000), ToClient: sent(33, 330_000)},
		{Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client:   endpointAt("[fd00:1234:5678:9abc:def0:1234:5678:9abc]:51236", nil),
			Server:   endpointAt("[fd00:1234:5678:9abc:def0:1234:5678:9abc]:5432", wide),
			ToServer: sent(20, 2_000), ToClient: sent(22, 220_000)},
	}})
}

// lossy is a window in which all that can go wrong did.
func lossy() *model.Snapshot {
	s := usual()
	s.Flows = s.Flows[:2]
	s.Device = nil
	s.Overflow = model.Count{SKBs: 9, Packets: 12, Bytes: 1_234}
	s.ByCause = map[string]model.Count{
		"table_full": {SKBs: 8, Packets: 10, Bytes: 1_000},
		"not_ip":     {SKBs: 1, Packets: 2, Bytes: 234},
	}
	s.Stages = &model.Stages{Egress: model.Count{SKBs: 7, Packets: 12_434, Bytes: 5}, Ingress: model.Count{SKBs: 6, Packets: 12_430, Bytes: 4}}
	s = finish(*s)
	s.Device = &model.Device{Packets: s.Totals.Packets + 1_200, Bytes: s.Totals.Bytes - 34, Dropped: 3}
	return s
}

func filtered() *model.Snapshot {
	s := usual()
	s.Flows, s.Device, s.Origin.Filter = s.Flows[:1], nil, "port:5432"
	return finish(*s)
}

func empty() *model.Snapshot { return finish(model.Snapshot{}) }
