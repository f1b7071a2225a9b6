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
		Proto:     model.ProtoTCP,
		State:     state,
		Client:    model.Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: port},
		Server:    endpoint(server, nil),
		ToServer:  model.Counters{Bytes: bytes, PayloadBytes: payload, Packets: 1, SKBs: uint64(port)},
		ToClient:  model.Counters{Retransmits: payload},
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
				got, err := SortFlows(given, tt.field, limit)
				if err != nil {
					t.Fatal(err)
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

func TestSortServices(t *testing.T) {
	rows := []model.Service{
		{Name: "b", Proto: model.ProtoTCP, Server: endpoint("127.0.0.1:1", nil), Flows: 2, Clients: 1},
		{Name: "c", Proto: model.ProtoTCP, Server: endpoint("127.0.0.1:2", nil), Flows: 1, Clients: 3},
		{Name: "a", Proto: model.ProtoUDP, Server: endpoint("127.0.0.1:3", nil), Flows: 3, Clients: 2},
	}
	rows[1].ToClient.Bytes = 9
	tests := map[string]string{
		"":        "cba",
		"bytes":   "cba",
		"-bytes":  "bac",
		"name":    "abc",
		"flows":   "abc",
		"clients": "cab",
		"server":  "bca",
		"-server": "acb",
		"-proto":  "abc",
	}
	for field, want := range tests {
		t.Run(field, func(t *testing.T) {
			given := slices.Clone(rows)
			slices.Reverse(given)
			got, err := SortServices(given, field, 0)
			if err != nil {
				t.Fatal(err)
			}
			if order := got[0].Name + got[1].Name + got[2].Name; order != want {
				t.Errorf("got order %s, want %s", order, want)
			}
		})
	}
}

// Every listed field sorts, and every field is listed by some view.
func TestSortFields(t *testing.T) {
	if got, want := strings.Join(SortFields("flow"), " "),
		"packets bytes payload skbs retransmits client server proto state first last"; got != want {
		t.Errorf("flow: got %s, want %s", got, want)
	}
	if got, want := strings.Join(SortFields("service"), " "),
		"packets bytes payload skbs retransmits flows clients name server proto"; got != want {
		t.Errorf("service: got %s, want %s", got, want)
	}
	for _, field := range SortFields("flow") {
		if _, err := SortFlows(make([]model.Flow, 2), field, 0); err != nil {
			t.Error(err)
		}
	}
	for _, field := range SortFields("service") {
		if _, err := SortServices(make([]model.Service, 2), "-"+field, 0); err != nil {
			t.Error(err)
		}
	}
}

func TestSortUnknownField(t *testing.T) {
	const want = `unknown sort field "flows": need one of packets, bytes, payload, skbs, retransmits, client, server, proto, state, first, last`
	if _, err := SortFlows(nil, "-flows", 0); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	for _, field := range []string{"state", "--bytes", "-", "BYTES"} {
		if _, err := SortServices(nil, field, 0); err == nil {
			t.Errorf("%q: got no error", field)
		}
	}
}

func BenchmarkSortFlows(b *testing.B) {
	rows := make([]model.Flow, 10_000)
	for i := range rows {
		rows[i] = sortRow(uint16(i), "127.0.0.1:80", uint64(i*7919%10_007), 0, "established", 0)
	}
	for name, limit := range map[string]int{"all": 0, "screen": 20} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := SortFlows(rows, "bytes", limit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
