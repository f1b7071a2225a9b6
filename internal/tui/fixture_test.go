package tui

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func endpoint(addrPort string, owner *model.Owner) model.Endpoint {
	ap := netip.MustParseAddrPort(addrPort)
	return model.Endpoint{Addr: ap.Addr(), Port: ap.Port(), Owner: owner}
}

func process(pid uint32, comm, cmdline, unit string) *model.Owner {
	o := &model.Owner{
		ProcessID: model.ProcessID{TGID: pid, StartNS: uint64(pid) * 1e9}, PID: pid, Comm: comm, Cmdline: cmdline,
		Exe: "/usr/bin/" + comm, UID: 1000, Source: model.OwnerKernel,
	}
	if unit != "" {
		o.Cgroup, o.Unit = "/system.slice/"+unit, unit
	}
	return o
}

func sent(packets, bytes uint64) model.Counters {
	return model.Counters{Packets: packets, Bytes: bytes, SKBs: packets, PayloadBytes: bytes / 2}
}

// shop is a small machine in its n-th second, which is a little busier or quieter than the one before.
func shop(n int) *window {
	nginx := process(80, "nginx", "nginx: worker process", "nginx.service")
	api := process(90, "orders", "/srv/orders --listen :8080", "orders.service")
	redis := process(70, "redis-server", "redis-server 127.0.0.1:6379", "redis.service")
	bench := process(4242, "redis-benchmark", "redis-benchmark -c 3 -n 100000000 -d 4096 -t get,set --csv", "")
	statsd, jobs := process(60, "statsd", "statsd", "statsd.service"), process(61, "jobs", "/srv/jobs", "jobs.service")
	load := uint64(3 + (n*7)%5)
	tcp := func(client model.Endpoint, server model.Endpoint, up, down model.Counters) model.Flow {
		return model.Flow{
			Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN, Client: client, Server: server,
			Tally: model.Tally{ToServer: up, ToClient: down}, ClientSRTT: 41 * time.Microsecond, ClientCwnd: 10,
			ServerSRTT: 1250 * time.Microsecond, ServerCwnd: 124,
		}
	}
	var flows []model.Flow
	for i := range 3 {
		f := tcp(endpoint(fmt.Sprintf("127.0.0.1:%d", 51000+i), bench), endpoint("127.0.0.1:6379", redis),
			sent(9000*load, 880_000*load), sent(9000*load, 520_000*load))
		for k := range 200 {
			testkit.Record(&f.Turn, time.Duration(4000+k*k*9)*time.Nanosecond)
		}
		f.Response = f.Turn
		flows = append(flows, f)
	}
	for i := range 2 {
		f := tcp(endpoint(fmt.Sprintf("127.0.0.1:%d", 52000+i), nginx), endpoint("127.0.0.1:8080", api),
			sent(30*load, 2_100*load), sent(25*load, 4_400*load))
		for k := range 9 {
			testkit.Record(&f.Turn, time.Duration(2+k*k/3)*time.Millisecond)
		}
		flows = append(flows, f)
	}
	for i := range 4 {
		curl := process(uint32(5000+i), "curl", "curl http://localhost/", "")
		f := tcp(endpoint(fmt.Sprintf("127.0.0.1:%d", 53000+i), curl), endpoint("127.0.0.1:80", nginx), sent(6, 393), sent(4, 384+uint64(i)*100))
		testkit.Record(&f.Turn, 5*time.Millisecond)
		if i == 3 {
			f.State, f.Closed = "time-wait", true
		}
		flows = append(flows, f)
	}
	refused := tcp(endpoint("127.0.0.1:54000", nginx), endpoint("127.0.0.1:9999", nil), sent(2, 120), sent(2, 80))
	refused.Health = &model.Health{Refused: 2}
	flows = append(flows, refused,
		model.Flow{Proto: model.ProtoUDP, RoleSource: model.RoleFirst, Client: endpoint("127.0.0.1:60001", jobs),
			Server: endpoint("127.0.0.1:8125", statsd), Tally: model.Tally{ToServer: sent(49, 3_000*load)}},
		model.Flow{Proto: model.ProtoTCP, State: "established", RoleSource: model.RolePort, Client: endpoint("[::1]:40112", nil),
			Server: endpoint("[::1]:5432", nil), Tally: model.Tally{ToServer: sent(3, 300), ToClient: sent(2, 200)}})
	return finish(n, window{Flows: flows, Window: model.Window{Hidden: model.Hidden{Flows: 2, Count: model.Count{SKBs: 7, Packets: 8, Bytes: 1_249}}}})
}

// finish fills in what follows from the flows, and from the time.
func finish(n int, s window) *window {
	s.Duration = time.Second
	s.Start, s.End = begin.Add(time.Duration(n-1)*time.Second), begin.Add(time.Duration(n)*time.Second)
	s.Origin = model.Origin{Host: "devbox", Kernel: "6.18.0", Filter: s.Origin.Filter, Sites: []model.Site{{Number: 1, Netns: 4026531840, Device: "lo", Hook: "tcx"}}}
	s.Self = model.Self{BPFNsPerPacket: 143.5, CPUPercent: 0.4, RSSBytes: 31 << 20}
	s.Totals = s.Overflow
	for i := range s.Flows {
		f := &s.Flows[i]
		f.Netns = 4026531840
		f.FirstSeen, f.LastSeen = begin.Add(-90*time.Second), s.End.Add(-40*time.Millisecond)
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

// window is a model.Window whose flows can still be changed.
type window struct {
	model.Window
	Flows []model.Flow
}

// frame is the window with its flows packed.
func frame(s *window) Frame {
	packed := s.Window
	packed.Flows = model.NewFlows(s.Flows...)
	return Frame{Window: &packed}
}

// screenOf is a view of so many columns and lines that has seen the frames, and then the keys.
func screenOf(t testing.TB, o Options, columns, lines int, frames []*window, keys ...string) *Model {
	t.Helper()
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	m.Update(tea.WindowSizeMsg{Width: columns, Height: lines})
	for _, f := range frames {
		m.Update(frame(f))
	}
	press(m, keys...)
	return m
}

func shops(n int) []*window {
	var all []*window
	for i := range n {
		all = append(all, shop(i+1))
	}
	return all
}

var special = map[string]tea.Key{
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight},
	"pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown}, "home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd},
	"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "space": {Code: tea.KeySpace, Text: " "},
	"backspace": {Code: tea.KeyBackspace}, "delete": {Code: tea.KeyDelete}, "f1": {Code: tea.KeyF1},
}

// press presses keys by the names that tea has for them; "type:x" types a text.
func press(m *Model, keys ...string) (last tea.Cmd) {
	for _, name := range keys {
		if text, ok := strings.CutPrefix(name, "type:"); ok {
			for _, r := range text {
				_, last = m.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
			continue
		}
		key, ok := special[name]
		switch {
		case ok:
		case strings.HasPrefix(name, "ctrl+"):
			key = tea.Key{Code: rune(name[5]), Mod: tea.ModCtrl}
		default:
			key = tea.Key{Code: rune(name[0]), Text: name}
		}
		_, last = m.Update(tea.KeyPressMsg(key))
	}
	return last
}

// text is the screen without colours, and without blanks at the ends of lines.
func text(m *Model) string {
	lines := strings.Split(ansi.Strip(m.View().Content), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}
