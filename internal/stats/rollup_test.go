package stats

import (
	"reflect"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
)

func flow(proto model.Proto, client, server model.Endpoint, toServer, toClient uint64) model.Flow {
	return model.Flow{
		Netns:    1,
		Proto:    proto,
		Client:   client,
		Server:   server,
		ToServer: model.Counters{Packets: 1, Bytes: toServer},
		ToClient: model.Counters{Packets: 2, Bytes: toClient, Retransmits: 1},
	}
}

func TestServicesGroups(t *testing.T) {
	a, b := endpoint("127.0.0.1:50001", nil), endpoint("127.0.0.2:50002", nil)
	web := endpoint("127.0.0.1:8000", nil)
	other := flow(model.ProtoTCP, a, web, 5, 6)
	other.Netns = 2
	got := Services([]model.Flow{
		flow(model.ProtoTCP, a, web, 10, 100),
		flow(model.ProtoUDP, a, web, 3, 4),
		flow(model.ProtoTCP, b, web, 20, 200),
		other,
		flow(model.ProtoTCP, endpoint("127.0.0.1:50003", nil), web, 30, 300),
	})
	want := []model.Service{
		{Name: "127.0.0.1:8000", Netns: 1, Proto: model.ProtoTCP, Server: web, Flows: 3, Clients: 2,
			ToServer: model.Counters{Packets: 3, Bytes: 60},
			ToClient: model.Counters{Packets: 6, Bytes: 600, Retransmits: 3}},
		{Name: "127.0.0.1:8000", Netns: 1, Proto: model.ProtoUDP, Server: web, Flows: 1, Clients: 1,
			ToServer: model.Counters{Packets: 1, Bytes: 3},
			ToClient: model.Counters{Packets: 2, Bytes: 4, Retransmits: 1}},
		{Name: "127.0.0.1:8000", Netns: 2, Proto: model.ProtoTCP, Server: web, Flows: 1, Clients: 1,
			ToServer: model.Counters{Packets: 1, Bytes: 5},
			ToClient: model.Counters{Packets: 2, Bytes: 6, Retransmits: 1}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Two addresses of one process are one client; one address of two processes is two.
func TestServicesCountsClientProcesses(t *testing.T) {
	api, job := &model.Owner{PID: 10, Comm: "api"}, &model.Owner{PID: 11, Comm: "job"}
	db := endpoint("127.0.0.1:5432", nil)
	got := Services([]model.Flow{
		flow(model.ProtoTCP, endpoint("127.0.0.1:50001", api), db, 1, 1),
		flow(model.ProtoTCP, endpoint("127.0.0.2:50002", api), db, 1, 1),
		flow(model.ProtoTCP, endpoint("127.0.0.1:50003", job), db, 1, 1),
		flow(model.ProtoTCP, endpoint("127.0.0.1:50004", nil), db, 1, 1),
		flow(model.ProtoTCP, endpoint("127.0.0.1:50005", nil), db, 1, 1),
	})
	if len(got) != 1 || got[0].Clients != 3 {
		t.Errorf("got %+v, want one service with 3 clients: api, job and an unknown one", got)
	}
}

func TestServiceName(t *testing.T) {
	tests := []struct {
		proto  model.Proto
		server model.Endpoint
		want   string
	}{
		{model.ProtoTCP, endpoint("127.0.0.1:5432", &model.Owner{PID: 7, Comm: "postgres"}), "postgres"},
		{model.ProtoTCP, endpoint("127.0.0.1:5432", &model.Owner{PID: 7}), "postgresql"},
		{model.ProtoTCP, endpoint("[::1]:6379", nil), "redis"},
		{model.ProtoUDP, endpoint("127.0.0.53:53", nil), "domain"},
		{model.ProtoTCP, endpoint("[::1]:40000", nil), "[::1]:40000"},
		{model.ProtoICMP, endpoint("127.0.0.1:0", nil), "icmp"},
		{model.Proto(47), endpoint("127.0.0.1:0", nil), "47"},
	}
	for _, tt := range tests {
		got := Services([]model.Flow{flow(tt.proto, endpoint("127.0.0.1:50001", nil), tt.server, 1, 1)})
		if got[0].Name != tt.want {
			t.Errorf("%v %v: got %q, want %q", tt.proto, tt.server, got[0].Name, tt.want)
		}
	}
}

func TestServiceOwner(t *testing.T) {
	one := model.Owner{PID: 10, Comm: "nginx", Exe: "/usr/sbin/nginx", UID: 33, Unit: "nginx.service", Source: "kernel"}
	again, two, scanned, root := one, one, one, one
	two.PID = 11
	scanned.Cmdline, scanned.Source = "nginx: worker", "scan"
	root.PID, root.UID = 9, 0
	shared, weaker := one, scanned
	shared.PID = 0
	weaker.Cmdline = ""
	tests := []struct {
		name   string
		owners []*model.Owner
		want   *model.Owner
	}{
		{"unknown", []*model.Owner{nil, nil}, nil},
		{"known once", []*model.Owner{nil, &one, nil}, &one},
		{"the same read twice", []*model.Owner{&one, &again}, &one},
		{"workers", []*model.Owner{&one, &two, &one}, &shared},
		{"two sources", []*model.Owner{&one, &scanned}, &weaker},
		{"two users", []*model.Owner{&one, &root, &root}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var flows []model.Flow
			for _, o := range tt.owners {
				flows = append(flows, flow(model.ProtoTCP, endpoint("127.0.0.1:50001", nil), endpoint("127.0.0.1:80", o), 1, 1))
			}
			if got := Services(flows)[0].Server.Owner; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
