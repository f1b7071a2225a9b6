package view

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// sortRow is a flow whose every field orders differently; it goes by the name of its client port.
func sortRow(port uint16, server string, bytes, payload uint64, state string, age time.Duration) model.Flow {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return model.Flow{
		Proto:  model.ProtoTCP,
		State:  state,
		Client: model.Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: port},
		Server: endpoint(server, nil),
		Tally:  model.Tally{ToServer: model.Counters{Bytes: bytes, PayloadBytes: payload, Packets: 1, SKBs: uint64(port)}, ToClient: model.Counters{Retransmits: payload}},

		FirstSeen: now.Add(-age),
		LastSeen:  now.Add(age),
	}
}

func endpoint(addrPort string, owner *model.Owner) model.Endpoint {
	ap := netip.MustParseAddrPort(addrPort)
	return model.Endpoint{Addr: ap.Addr(), Port: ap.Port(), Owner: owner}
}

func TestSortFlows(t *testing.T) {
	rows := []model.Flow{
		sortRow(1, "127.0.0.1:80", 20, 7, "time-wait", 3*time.Second),
		sortRow(2, "127.0.0.1:443", 30, 5, "established", 1*time.Second),
		sortRow(3, "127.0.0.1:22", 10, 6, "syn-sent", 2*time.Second),
	}
	rows[2].Proto = model.ProtoUDP
	rows[1].Client.Owner = &model.Owner{Comm: "zsh"}
	rows[0].Turn = latencyOf(time.Second)
	rows[2].Turn = latencyOf(time.Millisecond, time.Millisecond, time.Minute)
	rows[0].Health, rows[2].Health = &model.Health{Refused: 1}, &model.Health{Lost: 2}
	tests := []struct {
		field string
		want  []uint16
	}{
		{"", []uint16{2, 1, 3}},
		{"bytes", []uint16{2, 1, 3}},
		{"-bytes", []uint16{3, 1, 2}},
		{"packets", []uint16{1, 2, 3}}, // all equal: by key
		{"payload", []uint16{1, 3, 2}},
		{"retransmits", []uint16{1, 3, 2}},
		{"skbs", []uint16{3, 2, 1}},
		{"turns", []uint16{3, 1, 2}},
		{"p50", []uint16{1, 3, 2}},
		{"-p50", []uint16{2, 3, 1}},
		{"p99", []uint16{3, 1, 2}},
		{"max", []uint16{3, 1, 2}},
		{"errors", []uint16{3, 1, 2}},
		{"-errors", []uint16{2, 1, 3}},
		{"client", []uint16{1, 3, 2}}, // a process name comes after none
		{"-client", []uint16{2, 3, 1}},
		{"server", []uint16{3, 1, 2}},
		{"proto", []uint16{1, 2, 3}},
		{"-proto", []uint16{3, 1, 2}},
		{"state", []uint16{2, 3, 1}},
		{"first", []uint16{2, 3, 1}},
		{"last", []uint16{1, 3, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.field, func(t *testing.T) {
			given := slices.Clone(rows)
			slices.Reverse(given)
			for limit, want := range map[int]int{0: 3, 1: 1, 2: 2, 3: 3, 4: 3} {
				r := rollOf(Flow, model.NewFlows(given...))
				got, err := r.Rows(tt.field, limit)
				if err != nil {
					t.Fatal(err)
				}
				var ports []uint16
				for f := range got.All() {
					ports = append(ports, f.Client.Port)
				}
				if r.Len() != len(given) || !slices.Equal(ports, tt.want[:want]) {
					t.Errorf("limit %d of %d rows: got order %v, want %v", limit, r.Len(), ports, tt.want[:want])
				}
			}
		})
	}
}

// rolled returns a roll-up with rows that have names already.
func rolled(by *By, rows []Row) *Roll {
	r := NewRoll(by)
	r.chunks = [][]Row{make([]Row, chunkRows)}
	r.n = copy(r.chunks[0], rows)
	for i := range rows {
		row := r.At(i)
		row.Key = Key{
			ends:  [2][16]byte{Identify(cmp.Or(row.Owner, row.Client.Owner)), row.Server.Addr.As16()},
			ports: [2]uint16{1: row.Server.Port}, proto: uint16(row.Proto), site: row.Netns, view: by.number,
		}
	}
	return r
}

// checkOrders sorts rows by each word and holds the initials of the rows against want.
func checkOrders(t *testing.T, by *By, rows []Row, initial func(*Row) byte, want map[string]string) {
	t.Helper()
	given := slices.Clone(rows)
	slices.Reverse(given)
	for word, want := range want {
		got, err := rolled(by, given).Rows(word, 0)
		if err != nil {
			t.Fatal(err)
		}
		var order []byte
		for row := range got.All() {
			order = append(order, initial(row))
		}
		if string(order) != want {
			t.Errorf("by %s: got order %s, want %s", word, order, want)
		}
	}
}

func TestSortServices(t *testing.T) {
	rows := []Row{
		{Name: "b", Proto: model.ProtoTCP, Server: endpoint("127.0.0.1:1", nil), Flows: 2, Clients: 1},
		{Name: "c", Proto: model.ProtoTCP, Server: endpoint("127.0.0.1:2", nil), Flows: 1, Clients: 3},
		{Name: "a", Proto: model.ProtoUDP, Server: endpoint("127.0.0.1:3", nil), Flows: 3, Clients: 2},
	}
	rows[1].ToClient.Bytes = 9
	rows[0].Turn, rows[2].Turn = latencyOf(time.Second, time.Second), latencyOf(time.Minute)
	rows[1].Health = &model.Health{Client: model.EndHealth{Resets: 1}}
	checkOrders(t, Service, rows, func(s *Row) byte { return s.Name[0] }, map[string]string{
		"":        "cba",
		"bytes":   "cba",
		"-bytes":  "bac",
		"name":    "abc",
		"flows":   "abc",
		"clients": "cab",
		"server":  "bca",
		"-server": "acb",
		"-proto":  "abc",
		"turns":   "bac",
		"-max":    "cba",
		"errors":  "cba",
	})
}

func TestSortPairs(t *testing.T) {
	web := endpoint("127.0.0.1:80", nil)
	db := endpoint("127.0.0.1:22", nil)
	rows := []Row{
		{Name: "b → y", ClientName: "b", ServiceName: "y", Proto: model.ProtoTCP, Client: model.Endpoint{Owner: process(9, 1, "b")}, Server: web, Flows: 2},
		{Name: "c → x", ClientName: "c", ServiceName: "x", Proto: model.ProtoTCP, Server: web, Flows: 1},
		{Name: "a → z", ClientName: "a", ServiceName: "z", Proto: model.ProtoUDP, Client: model.Endpoint{Owner: process(7, 2, "a")}, Server: db, Flows: 3},
	}
	rows[0].ToServer = model.Counters{Bytes: 5, Packets: 1}
	rows[2].ToClient = model.Counters{Bytes: 9}
	rows[1].Turn = latencyOf(time.Second)
	rows[2].Health = &model.Health{Server: model.EndHealth{SocketDrops: 1}}
	checkOrders(t, Pair, rows, func(p *Row) byte { return p.ClientName[0] }, map[string]string{
		"":        "abc",
		"packets": "bca", // those without a packet: by key
		"payload": "cba", // all by key: protocol, server, client; an unknown one first
		"flows":   "abc",
		"name":    "abc",
		"-client": "cba",
		"server":  "acb", // of one server: by key
		"proto":   "cba",
		"-proto":  "acb",
		"p50":     "cba",
		"-p99":    "bac",
		"errors":  "acb",
	})
}

func TestSortUsages(t *testing.T) {
	rows := []Row{
		{Name: "b", Flows: 2, Tally: model.Tally{ToServer: model.Counters{Bytes: 30, Packets: 1}, ToClient: model.Counters{Bytes: 1, Packets: 9}}},
		{Name: "c", Flows: 1, Tally: model.Tally{ToServer: model.Counters{Bytes: 20, Packets: 2}, ToClient: model.Counters{Bytes: 20, Packets: 2}}},
		{Name: "a", Flows: 3, Tally: model.Tally{ToServer: model.Counters{Bytes: 10, Packets: 3}, ToClient: model.Counters{Bytes: 2, Packets: 3}}},
	}
	rows[0].Turn, rows[1].Turn = latencyOf(time.Second), latencyOf(time.Millisecond, time.Minute)
	want := map[string]string{
		"turns":    "cba",
		"p50":      "bca",
		"max":      "cba",
		"":         "cba",
		"bytes":    "cba",
		"packets":  "bac",
		"sent":     "bca",
		"-sent":    "acb",
		"received": "cab",
		"flows":    "abc",
		"name":     "abc",
		"-name":    "cba",
		"skbs":     "abc", // all equal: by name
	}
	checkOrders(t, Process, rows, func(u *Row) byte { return u.Name[0] }, want)
	checkOrders(t, Cgroup, rows, func(u *Row) byte { return u.Name[0] }, want)

	// Processes of one name come in the order of their age, the PID notwithstanding.
	nginx := []Row{{Name: "nginx", Owner: process(9, 1, "x")}, {Name: "nginx", Owner: process(8, 2, "y")},
		{Name: "nginx", Owner: process(8, 3, "z")}}
	checkOrders(t, Process, nginx, func(u *Row) byte { return u.Owner.Comm[0] }, map[string]string{"name": "xyz", "-name": "xyz"})
}

// Every word sorts, from either end, and all views mean the same by it.
func TestSortWords(t *testing.T) {
	const numbers = "sent received turns p50 p99 max errors "
	for by, want := range map[*By]string{
		Flow:    numbers + "client server proto state first last",
		Service: "flows clients " + numbers + "name server proto",
		Pair:    "flows " + numbers + "name client server proto",
		Process: "flows " + numbers + "name command",
		Cgroup:  "flows " + numbers + "name unit",
	} {
		want = "packets bytes payload skbs retransmits " + want
		if got := strings.Join(by.SortWords(), " "); got != want {
			t.Errorf("by %s: got %s, want %s", by.Name, got, want)
		}
		r := rollOf(by, model.NewFlows(crowd(1, 2)...))
		for _, word := range by.SortWords() {
			for _, sign := range []string{"", "-"} {
				if _, err := r.Rows(sign+word, 0); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestSortUnknownWord(t *testing.T) {
	const want = `unknown sort field "flows" for rows by flow: need one of packets, bytes, payload, skbs, retransmits, sent, received, turns, p50, p99, max, errors, client, server, proto, state, first, last`
	if _, err := NewRoll(Flow).Rows("-flows", 0); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	for _, word := range []string{"state", "--bytes", "-", "BYTES"} {
		if Service.CheckSort(word) == nil {
			t.Errorf("%q: got no error", word)
		}
	}
}

func BenchmarkRows(b *testing.B) {
	rows := make([]model.Flow, 10_000)
	for i := range rows {
		rows[i] = sortRow(uint16(i), "127.0.0.1:80", uint64(i*7919%10_007), 0, "established", 0)
	}
	packed := model.NewFlows(rows...)
	b.Run("all", func(b *testing.B) { benchmarkRows(b, Flow, packed, "bytes", 0) })
	b.Run("screen", func(b *testing.B) { benchmarkRows(b, Flow, packed, "bytes", 20) })
	b.Run("pairs", func(b *testing.B) { benchmarkRows(b, Pair, model.NewFlows(crowd(1, 10_000)...), "bytes", 20) })
}

func benchmarkRows(b *testing.B, by *By, flows *model.Flows, word string, limit int) {
	b.ReportAllocs()
	for b.Loop() {
		r := rollOf(by, flows)
		rows, err := r.Rows(word, limit)
		if err != nil || rows.Len() == 0 {
			b.Fatalf("%d rows: %v", rows.Len(), err)
		}
	}
}

// busyFlows are as many services, a datagram each, of one client.
func busyFlows() *model.Flows {
	flows := make([]model.Flow, 10_000)
	client, server := process(1, 1, "client"), process(2, 1, "server")
	for i := range flows {
		addr := netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
		flows[i] = model.Flow{
			Netns: 1, Proto: model.ProtoUDP,
			Client: endpoint("127.0.0.1:40000", client),
			Server: model.Endpoint{Addr: addr, Port: 9000, Owner: server},
			Tally:  model.Tally{ToServer: model.Counters{Packets: 1, SKBs: 1, Bytes: 100}},
		}
	}
	return model.NewFlows(flows...)
}

// No rows allocate memory for each of many flows.
func TestAllocations(t *testing.T) {
	flows := busyFlows()
	for _, by := range All() {
		if n := testing.AllocsPerRun(3, func() {
			r := rollOf(by, flows)
			if _, err := r.Rows("", 20); err != nil {
				t.Fatal(err)
			}
		}); n > 1_000 {
			t.Errorf("by %s: %.0f allocations", by.Name, n)
		}
	}
}

func BenchmarkFlowRows(b *testing.B)    { benchmarkRows(b, Flow, busyFlows(), "", 20) }
func BenchmarkPairRows(b *testing.B)    { benchmarkRows(b, Pair, busyFlows(), "", 20) }
func BenchmarkServiceRows(b *testing.B) { benchmarkRows(b, Service, busyFlows(), "", 20) }
func BenchmarkProcessRows(b *testing.B) { benchmarkRows(b, Process, busyFlows(), "", 20) }
