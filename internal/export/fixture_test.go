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

// took is what a flow with turns, or responses, of these lengths has.
func took(all ...time.Duration) model.Latency {
	l := model.Latency{Min: all[0], Max: all[0], Histogram: make([]uint64, model.HistogramBuckets)}
	for _, d := range all {
		l.Count++
		l.Sum += d
		l.Min, l.Max = min(l.Min, d), max(l.Max, d)
		l.Histogram[model.Bucket(d)]++
	}
	return l
}

// named is a process that lotrace sees under its own PID, which in the first PID namespace is another.
func named(pid uint32, comm string, source model.OwnerSource) *model.Owner {
	id := model.ProcessID{TGID: pid + 100_000, StartNS: uint64(pid) * 1e9}
	return &model.Owner{ProcessID: id, PID: pid, Comm: comm, Source: source}
}

// window is a model.Window whose flows can still be changed.
type window struct {
	model.Window
	Flows []model.Flow
}

func (w *window) pack() *model.Window {
	packed := w.Window
	packed.Flows = model.NewFlows(w.Flows...)
	return &packed
}

// finish fills in what follows from the flows: totals, and a device that agrees.
func finish(s window) *window {
	s.Start, s.End, s.Duration = end.Add(-time.Second), end, time.Second
	s.Origin.Host, s.Origin.Kernel = "devbox", "6.18.0"
	s.Origin.Sites = []model.Site{{Number: 1, Netns: 4026531840, Device: "lo", Hook: "tcx"}}
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
		all := s.Totals
		all.Add(s.Hidden.Count)
		s.Device = &model.Device{Packets: all.Packets, Bytes: all.Bytes, Agrees: true}
	}
	return &s
}

// usual is a developer's machine: no owners known, several protocols and states.
func usual() *window {
	return finish(window{Flows: []model.Flow{
		{Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client: endpointAt("127.0.0.1:51234", nil), Server: endpointAt("127.0.0.1:5432", nil),
			Tally: model.Tally{ToServer: sent(1_204, 96_320), ToClient: sent(11_207, 45_512_345), Turn: took(180*time.Microsecond, 250*time.Microsecond, 251*time.Microsecond, 3_190*time.Microsecond), Response: took(190*time.Microsecond, 4*time.Millisecond, 260*time.Microsecond), Crossed: 2},

			ClientSRTT: 41 * time.Microsecond, ServerSRTT: 1_250 * time.Microsecond, ClientCwnd: 10, ServerCwnd: 124},
		{Proto: model.ProtoTCP, State: "time-wait", RoleSource: model.RoleSYN, Closed: true,
			Client: endpointAt("127.0.0.1:51240", nil), Server: endpointAt("127.0.0.1:5432", nil),
			Tally: model.Tally{ToServer: sent(6, 512), ToClient: sent(5, 2_048), Turn: took(45_100 * time.Microsecond), Response: took(45_200 * time.Microsecond)}},
		{Proto: model.ProtoTCP, State: "established", RoleSource: model.RolePort,
			Client: endpointAt("[::1]:40112", nil), Server: endpointAt("[::1]:8080", nil),
			Tally: model.Tally{ToServer: sent(98_765_432, 9_876_543_210), ToClient: model.Counters{Packets: 3, Bytes: 999, SKBs: 3, Retransmits: 2, RetransBytes: 66}}},
		{Proto: model.ProtoUDP, RoleSource: model.RoleFirst,
			Client: endpointAt("127.0.0.1:60001", nil), Server: endpointAt("127.0.0.53:53", nil),
			Tally: model.Tally{ToServer: sent(2, 140), ToClient: sent(2, 260), Turn: took(30*time.Microsecond, 812*time.Nanosecond), Response: took(30 * time.Microsecond)}},
		{Proto: model.ProtoICMP, RoleSource: model.RoleFirst,
			Client: endpointAt("127.0.0.1:4711", nil), Server: endpointAt("127.0.0.1:0", nil),
			Tally: model.Tally{ToServer: sent(1, 84), ToClient: sent(1, 84)}},
		{Proto: 47, RoleSource: model.RoleFirst,
			Client: endpointAt("127.0.0.1:0", nil), Server: endpointAt("127.0.0.2:0", nil),
			Tally: model.Tally{ToServer: sent(1, 60)}},
	}})
}

// owned knows one process or two behind each flow, of which some would like to draw themselves.
func owned() *window {
	curl := named(311, "curl", model.OwnerKernel)
	curl.Exe, curl.Cmdline, curl.UID = "/usr/bin/curl", "curl <&> \x1b[2J", 1000
	curl.Cgroup, curl.Unit, curl.Container = "/user.slice/x.scope", "x.scope", "0123456789ab"
	nginx, worker := named(80, "nginx", model.OwnerScan), named(81, "nginx", model.OwnerScan)
	hostile := named(666, "\x1b[31m\n|<b>\u202ex", model.OwnerKernel)
	wide := named(4194304, "データベース", model.OwnerKernel)
	return finish(window{Flows: []model.Flow{
		{Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client: endpointAt("127.0.0.1:51234", curl), Server: endpointAt("127.0.0.1:80", nginx),
			Tally: model.Tally{ToServer: sent(40, 4_000), ToClient: sent(44, 440_000)}, ClientSRTT: time.Millisecond, ClientCwnd: 10},
		{Proto: model.ProtoTCP, State: "fin-wait-2", RoleSource: model.RoleListener,
			Client: endpointAt("127.0.0.1:51235", hostile), Server: endpointAt("127.0.0.1:80", worker),
			Tally: model.Tally{ToServer: sent(30, 3_000), ToClient: sent(33, 330_000)}},
		{Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client: endpointAt("[fd00:1234:5678:9abc:def0:1234:5678:9abc]:51236", nil),
			Server: endpointAt("[fd00:1234:5678:9abc:def0:1234:5678:9abc]:5432", wide),
			Tally:  model.Tally{ToServer: sent(20, 2_000), ToClient: sent(22, 220_000)}},
	}})
}

// crowd has owners of all kinds: workers of one server, a container, a PID that two processes had one
// after the other, one that is not visible from here, the kernel, nobody. lotrace's own traffic is
// hidden.
func crowd() *window {
	worker := func(pid uint32) *model.Owner {
		o := named(pid, "nginx", model.OwnerKernel)
		o.Exe, o.Cmdline, o.UID = "/usr/sbin/nginx", "nginx: worker process", 33
		o.Cgroup, o.Unit = "/system.slice/nginx.service", "nginx.service"
		return o
	}
	master := worker(80)
	master.Cmdline, master.UID = "nginx: master process", 0
	api := named(0, "api", model.OwnerKernel)
	api.Exe, api.Cmdline, api.UID = "/srv/api", "/srv/api --listen :8080", 10_001
	api.Container = "4f66ad9a0b2e6f5f0d7c6a1b2c3d4e5f60718293a4b5c6d7e8f9001122334455"
	api.ContainerName = "shop-api-1"
	api.Cgroup, api.Unit = "/system.slice/docker-"+api.Container+".scope", "docker-"+api.Container+".scope"
	postgres := named(700, "postgres", model.OwnerScan)
	postgres.Cgroup, postgres.Container = "/kubepods/pod1/"+api.Container, api.Container
	curl, reused := named(311, "curl", model.OwnerKernel), named(311, "curl", model.OwnerKernel)
	reused.StartNS += 1e9
	hostile := named(4194304, "\x1b[31m\n|<b>\u202ex", model.OwnerKernel)
	hostile.Cmdline = "evil \x1b]0;\a"
	wide := named(900, "データベース", model.OwnerKernel)
	kernel := &model.Owner{Comm: model.KernelComm, Source: model.OwnerKernel}

	tcp := func(client, server model.Endpoint, toServer, toClient model.Counters) model.Flow {
		return model.Flow{Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client: client, Server: server, Tally: model.Tally{ToServer: toServer, ToClient: toClient}}
	}
	web, app := "127.0.0.1:80", "127.0.0.1:8080"
	s := finish(window{
		Window: model.Window{Hidden: model.Hidden{Flows: 2, Count: model.Count{SKBs: 7, Packets: 8, Bytes: 1_249}}},
		Flows: []model.Flow{
			tcp(endpointAt("127.0.0.1:50001", curl), endpointAt(web, worker(81)), sent(60, 6_000), sent(66, 660_000)),
			tcp(endpointAt("127.0.0.1:50002", curl), endpointAt(web, worker(82)), sent(50, 5_000), sent(55, 550_000)),
			tcp(endpointAt("127.0.0.1:50003", reused), endpointAt(web, worker(82)), sent(40, 4_000), sent(44, 440_000)),
			tcp(endpointAt("127.0.0.1:50004", worker(81)), endpointAt(app, api), sent(30, 3_000), sent(33, 330_000)),
			tcp(endpointAt("127.0.0.1:50005", api), endpointAt("127.0.0.1:5432", postgres), sent(20, 2_000), sent(22, 220_000)),
			tcp(endpointAt("127.0.0.1:50006", hostile), endpointAt("127.0.0.1:9999", kernel), sent(10, 1_000), sent(10, 400)),
			tcp(endpointAt("127.0.0.1:50007", wide), endpointAt("127.0.0.1:6379", nil), sent(8, 800), sent(9, 90_000)),
			tcp(endpointAt("127.0.0.1:50008", wide), endpointAt("127.0.0.1:50009", wide), sent(7, 700), sent(7, 70_000)),
			tcp(endpointAt("127.0.0.1:50010", nil), endpointAt(web, master), sent(6, 600), sent(6, 60_000)),
			tcp(endpointAt("127.0.0.2:50011", nil), endpointAt(web, worker(81)), sent(5, 500), sent(5, 50_000)),
			{Proto: model.ProtoICMP, RoleSource: model.RoleFirst, Tally: model.Tally{ToServer: sent(2, 168), ToClient: sent(2, 168)},
				Client: endpointAt("127.0.0.1:4711", nil), Server: endpointAt("127.0.0.1:0", kernel)},
		},
	})
	answered := []model.Latency{
		took(2*time.Millisecond, 3*time.Millisecond, 3*time.Millisecond, 200*time.Millisecond),
		took(2*time.Millisecond, 90*time.Second, 140*time.Second), took(5 * time.Millisecond), took(1_200 * time.Millisecond),
	}
	for i, l := range answered {
		s.Flows[i].Turn, s.Flows[i].Response = l, l
	}
	return s
}

// ailing is the crowd on a bad day. What goes wrong does so on its first flow, of which everything is known,
// and by and by on others.
func ailing() *window {
	s := crowd()
	queue := &model.AcceptQueue{Length: 129, Limit: 128, Overflows: 5}
	for i := range s.Flows {
		if s.Flows[i].Server.Port == 80 {
			s.Flows[i].AcceptQueue = queue
		}
	}
	web, api, redis := &s.Flows[0], &s.Flows[3], &s.Flows[6]
	web.Handshake = 40 * time.Microsecond
	web.Connect = model.Single(web.Handshake)
	web.Accept, web.FirstByte = 90*time.Microsecond, 2*time.Millisecond
	web.Health = &model.Health{
		Refused: 12, SYNRetries: 4, SYNACKRetries: 1,
		Client: model.EndHealth{Resets: 1, Timeouts: 2, OutOfOrder: 7, ReceiveQueue: 1_500},
		Server: model.EndHealth{Stalls: 3, Stalled: 120_300 * time.Microsecond, SendQueue: 64_000, Timeouts: 1},
		Drops:  []model.DropCount{{Reason: "no_socket", SKBs: 1}, {Reason: "socket_rcvbuff", SKBs: 12}},
	}
	web.Breakdown = model.Breakdown{
		Turns: 4, Delivered: 3, Delivery: 400 * time.Microsecond, Wait: 7 * time.Millisecond, Think: 200600 * time.Microsecond,
		Backs: 2, Back: 30 * time.Millisecond,
	}
	api.Breakdown = model.Breakdown{Turns: 1, Wait: 100 * time.Millisecond, Think: 1_100 * time.Millisecond}
	redis.Health = &model.Health{
		Server: model.EndHealth{ZeroWindows: 2, ZeroWindow: 310 * time.Millisecond},
		Client: model.EndHealth{ZeroWindow: time.Second, SocketDrops: 2},
	}
	s.SlowFrom, s.SlowLost, s.Uncounted = 100*time.Millisecond, 3, 1
	s.Slow = []model.SlowTurnRow{
		{Time: end, Proto: model.ProtoTCP, Client: api.Client, Server: api.Server, Turn: 1_200 * time.Millisecond},
		{Time: end.Add(-20 * time.Millisecond), Proto: model.ProtoTCP, Client: web.Client, Server: web.Server, Turn: 200 * time.Millisecond,
			Parts: &model.SlowParts{Delivery: 150 * time.Microsecond, Wait: 2 * time.Millisecond, Think: 197_850 * time.Microsecond}},
		{Time: end.Add(-900 * time.Millisecond), Proto: model.ProtoTCP, Client: s.Flows[5].Client, Server: s.Flows[5].Server,
			Turn: 140 * time.Second, Parts: &model.SlowParts{Think: 140 * time.Second}},
	}
	return s
}

// lossy is a window in which all that can go wrong did.
func lossy() *window {
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
	s.Unmeasured = 3
	s.Samples = model.SampleCounts{Seen: 1_000, Taken: 940, Budget: 30, Full: 20, Failed: 10}
	s.Device = &model.Device{Packets: s.Totals.Packets + 1_200, Bytes: s.Totals.Bytes - 34, Dropped: 3}
	return s
}

func filtered() *window {
	s := usual()
	s.Flows, s.Device, s.Origin.Filter = s.Flows[:1], nil, "port:5432"
	return finish(*s)
}

func empty() *window { return finish(window{}) }
