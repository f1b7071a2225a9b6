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
		want  [3]uint16
	}{
		{"", [3]uint16{2, 1, 3}},
		{"bytes", [3]uint16{2, 1, 3}},
		{"-bytes", [3]uint16{3, 1, 2}},
		{"packets", [3]uint16{1, 2, 3}}, // all equal: by key
		{"payload", [3]uint16{1, 3, 2}},
		{"retransmits", [3]uint16{1, 3, 2}},
		{"skbs", [3]uint16{3, 2, 1}},
		{"client", [3]uint16{1, 3, 2}}, // a process name comes after none
		{"-client", [3]uint16{2, 3, 1}},
		{"server", [3]uint16{3, 1, 2}},
		{"proto", [3]uint16{1, 2, 3}},
		{"-proto", [3]uint16{3, 1, 2}},
		{"state", [3]uint16{2, 3, 1}},
		{"first", [3]uint16{2, 3, 1}},
		{"last", [3]uint16{1, 3, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.field, func(t *testing.T) {
			got := slices.Clone(rows)
			slices.Reverse(got)
			if err := SortFlows(got, tt.field); err != nil {
				t.Fatal(err)
			}
			ports := [3]uint16{got[0].Client.Port, got[1].Client.Port, got[2].Client.Port}
			if ports != tt.want {
				t.Errorf("got order %v, want %v", ports, tt.want)
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
			got := slices.Clone(rows)
			slices.Reverse(got)
			if err := SortServices(got, field); err != nil {
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
		if err := SortFlows(make([]model.Flow, 2), field); err != nil {
			t.Error(err)
		}
	}
	for _, field := range SortFields("service") {
		if err := SortServices(make([]model.Service, 2), "-"+field); err != nil {
			t.Error(err)
		}
	}
}

func TestSortUnknownField(t *testing.T) {
	const want = `unknown sort field "flows": need one of packets, bytes, payload, skbs, retransmits, client, server, proto, state, first, last`
	if err := SortFlows(nil, "-flows"); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	for _, field := range []string{"state", "--bytes", "-", "BYTES"} {
		if err := SortServices(nil, field); err == nil {
			t.Errorf("%q: got no error", field)
		}
	}
}

func BenchmarkSortFlows(b *testing.B) {
	rows := make([]model.Flow, 10_000)
	for i := range rows {
		rows[i] = sortRow(uint16(i), "127.0.0.1:80", uint64(i*7919%10_007), 0, "established", 0)
	}
	for b.Loop() {
		if err := SortFlows(slices.Clone(rows), "bytes"); err != nil {
			b.Fatal(err)
		}
	}
}
