package stats

import (
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
				got, total, err := FlowView.Rows(model.NewFlows(given...), tt.field, limit)
				if err != nil {
					t.Fatal(err)
				}
				if total != len(given) {
					t.Errorf("limit %d: got %d rows in all, want %d", limit, total, len(given))
				}
				var ports []uint16
				for _, f := range got {
					ports = append(ports, f.Client.Port)
				}
				if !slices.Equal(ports, tt.want[:want]) {
					t.Errorf("limit %d: got order %v, want %v", limit, ports, tt.want[:want])
				}
			}
		})
	}
}

// rolled is the view of rows that are rolled up already.
func rolled[T any](v *View[T], rows []T) *View[T] {
	same := *v
	same.rollUp = func(*model.Flows) []T { return rows }
	return &same
}

// checkOrders sorts rows by each field and holds the initials of the rows against want.
func checkOrders[T any](t *testing.T, v *View[T], rows []T, initial func(*T) byte, want map[string]string) {
	t.Helper()
	given := slices.Clone(rows)
	slices.Reverse(given)
	for field, want := range want {
		got, _, err := rolled(v, given).Rows(nil, field, 0)
		if err != nil {
			t.Fatal(err)
		}
		var order []byte
		for i := range got {
			order = append(order, initial(&got[i]))
		}
		if string(order) != want {
			t.Errorf("by %s: got order %s, want %s", field, order, want)
		}
	}
}

func TestSortServices(t *testing.T) {
	rows := []model.Service{
		{Name: "b", Proto: model.ProtoTCP, Server: endpoint("127.0.0.1:1", nil), Flows: 2, Clients: 1},
		{Name: "c", Proto: model.ProtoTCP, Server: endpoint("127.0.0.1:2", nil), Flows: 1, Clients: 3},
		{Name: "a", Proto: model.ProtoUDP, Server: endpoint("127.0.0.1:3", nil), Flows: 3, Clients: 2},
	}
	rows[1].ToClient.Bytes = 9
	rows[0].Turn, rows[2].Turn = latencyOf(time.Second, time.Second), latencyOf(time.Minute)
	rows[1].Health = &model.Health{Client: model.EndHealth{Resets: 1}}
	checkOrders(t, ServiceView, rows, func(s *model.Service) byte { return s.Name[0] }, map[string]string{
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
	rows := []model.Pair{
		{ClientName: "b", ServiceName: "y", Proto: model.ProtoTCP, Client: process(9, 1, "b"), Server: web, Flows: 2},
		{ClientName: "c", ServiceName: "x", Proto: model.ProtoTCP, Server: web, Flows: 1},
		{ClientName: "a", ServiceName: "z", Proto: model.ProtoUDP, Client: process(7, 2, "a"), Server: db, Flows: 3},
	}
	rows[0].ToServer = model.Counters{Bytes: 5, Packets: 1}
	rows[2].ToClient = model.Counters{Bytes: 9}
	rows[1].Turn = latencyOf(time.Second)
	rows[2].Health = &model.Health{Server: model.EndHealth{SocketDrops: 1}}
	checkOrders(t, PairView, rows, func(p *model.Pair) byte { return p.ClientName[0] }, map[string]string{
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
	rows := []model.Usage{
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
	checkOrders(t, ProcessView, rows, func(u *model.Usage) byte { return u.Name[0] }, want)
	checkOrders(t, CgroupView, rows, func(u *model.Usage) byte { return u.Name[0] }, want)

	// Processes of one name come in the order of their age, the PID notwithstanding.
	nginx := []model.Usage{{Name: "nginx", Owner: process(9, 1, "x")}, {Name: "nginx", Owner: process(8, 2, "y")},
		{Name: "nginx", Owner: process(8, 3, "z")}}
	checkOrders(t, ProcessView, nginx, func(u *model.Usage) byte { return u.Owner.Comm[0] }, map[string]string{"name": "xyz", "-name": "xyz"})
}

// Every listed field sorts, from either end.
func TestSortFields(t *testing.T) {
	checkFields(t, FlowView, "packets bytes payload skbs retransmits turns p50 p99 max errors client server proto state first last")
	checkFields(t, ServiceView, "packets bytes payload skbs retransmits turns p50 p99 max errors flows clients name server proto")
	checkFields(t, PairView, "packets bytes payload skbs retransmits turns p50 p99 max errors flows name client server proto")
	checkFields(t, ProcessView, "packets bytes payload skbs retransmits turns p50 p99 max errors sent received flows name")
	checkFields(t, CgroupView, "packets bytes payload skbs retransmits turns p50 p99 max errors sent received flows name")
}

func checkFields[T any](t *testing.T, v *View[T], want string) {
	t.Helper()
	if got := strings.Join(v.SortFields(), " "); got != want {
		t.Errorf("by %s: got %s, want %s", v.Name(), got, want)
	}
	for _, field := range v.SortFields() {
		for _, sign := range []string{"", "-"} {
			if _, _, err := rolled(v, make([]T, 2)).Rows(nil, sign+field, 0); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestSortUnknownField(t *testing.T) {
	const want = `unknown sort field "flows" for rows by flow: need one of packets, bytes, payload, skbs, retransmits, turns, p50, p99, max, errors, client, server, proto, state, first, last`
	if _, _, err := FlowView.Rows(nil, "-flows", 0); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	for _, field := range []string{"state", "--bytes", "-", "BYTES"} {
		if ServiceView.CheckSort(field) == nil {
			t.Errorf("%q: got no error", field)
		}
	}
}

func BenchmarkRows(b *testing.B) {
	rows := make([]model.Flow, 10_000)
	for i := range rows {
		rows[i] = sortRow(uint16(i), "127.0.0.1:80", uint64(i*7919%10_007), 0, "established", 0)
	}
	packed := model.NewFlows(rows...)
	for name, limit := range map[string]int{"all": 0, "screen": 20} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := FlowView.Rows(packed, "bytes", limit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("pairs", func(b *testing.B) {
		packed := model.NewFlows(crowd(1, 10_000)...)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := PairView.Rows(packed, "bytes", 20); err != nil {
				b.Fatal(err)
			}
		}
	})
}
