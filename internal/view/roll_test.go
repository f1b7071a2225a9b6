package view

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
)

func flow(proto model.Proto, client, server model.Endpoint, toServer, toClient uint64) model.Flow {
	return model.Flow{
		Site:   1,
		Netns:  1,
		Proto:  proto,
		Client: client,
		Server: server,
		Tally:  model.Tally{ToServer: model.Counters{Packets: 1, Bytes: toServer}, ToClient: model.Counters{Packets: 2, Bytes: toClient, Retransmits: 1}},
	}
}

// rowsOf returns all rows of flows, in the order in which those name them.
func rowsOf(by *By, flows *model.Flows) []Row { return rowsIn(rollOf(by, flows)) }

func rollOf(by *By, flows *model.Flows) *Roll {
	r := NewRoll(by)
	r.Add(flows)
	return r
}

func rowsIn(r *Roll) (rows []Row) {
	for i := range r.Len() {
		rows = append(rows, *r.Named(r.At(i)))
	}
	return rows
}

func TestServicesGroups(t *testing.T) {
	a, b := endpoint("127.0.0.1:50001", nil), endpoint("127.0.0.2:50002", nil)
	web := endpoint("127.0.0.1:8000", nil)
	other := flow(model.ProtoTCP, a, web, 5, 6)
	other.Site, other.Netns = 2, 2
	got := rowsOf(Service, model.NewFlows(
		flow(model.ProtoTCP, a, web, 10, 100),
		flow(model.ProtoUDP, a, web, 3, 4),
		flow(model.ProtoTCP, b, web, 20, 200),
		other,
		flow(model.ProtoTCP, endpoint("127.0.0.1:50003", nil), web, 30, 300),
	))
	want := []Row{
		{Name: "127.0.0.1:8000", ServiceName: "127.0.0.1:8000", Netns: 1, Proto: model.ProtoTCP, Server: web, Flows: 3, Clients: 2,
			Tally: model.Tally{ToServer: model.Counters{Packets: 3, Bytes: 60}, ToClient: model.Counters{Packets: 6, Bytes: 600, Retransmits: 3}},
		},
		{Name: "127.0.0.1:8000", ServiceName: "127.0.0.1:8000", Netns: 1, Proto: model.ProtoUDP, Server: web, Flows: 1, Clients: 1,
			Tally: model.Tally{ToServer: model.Counters{Packets: 1, Bytes: 3}, ToClient: model.Counters{Packets: 2, Bytes: 4, Retransmits: 1}},
		},
		{Name: "127.0.0.1:8000", ServiceName: "127.0.0.1:8000", Netns: 2, Proto: model.ProtoTCP, Server: web, Flows: 1, Clients: 1,
			Tally: model.Tally{ToServer: model.Counters{Packets: 1, Bytes: 5}, ToClient: model.Counters{Packets: 2, Bytes: 6, Retransmits: 1}},
		},
	}
	for i := range got {
		got[i].Key = Key{}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Two addresses of one process are one client; one address of two processes is two.
func TestServicesCountsClientProcesses(t *testing.T) {
	api, job := process(10, 1, "api"), process(11, 2, "job")
	db := endpoint("127.0.0.1:5432", nil)
	got := rowsOf(Service, model.NewFlows(
		flow(model.ProtoTCP, endpoint("127.0.0.1:50001", api), db, 1, 1),
		flow(model.ProtoTCP, endpoint("127.0.0.2:50002", api), db, 1, 1),
		flow(model.ProtoTCP, endpoint("127.0.0.1:50003", job), db, 1, 1),
		flow(model.ProtoTCP, endpoint("127.0.0.1:50004", nil), db, 1, 1),
		flow(model.ProtoTCP, endpoint("127.0.0.1:50005", nil), db, 1, 1),
	))
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
		got := rowsOf(Service, model.NewFlows(flow(tt.proto, endpoint("127.0.0.1:50001", nil), tt.server, 1, 1)))
		if got[0].Name != tt.want {
			t.Errorf("%v %v: got %q, want %q", tt.proto, tt.server, got[0].Name, tt.want)
		}
	}
}

func TestServiceOwner(t *testing.T) {
	one := model.Owner{ProcessID: model.ProcessID{TGID: 1010, StartNS: 5}, PID: 10, Comm: "nginx", Exe: "/usr/sbin/nginx",
		UID: 33, Unit: "nginx.service", Source: model.OwnerKernel}
	again, two, scanned, master, helper := one, one, one, one, one
	two.TGID, two.PID = 1011, 11
	scanned.Cmdline, scanned.Source = "nginx: worker", model.OwnerScan
	master.TGID, master.PID, master.UID = 1009, 9, 0
	helper.TGID, helper.PID, helper.Comm, helper.Source = 1012, 12, "helper", model.OwnerScan
	reused := one
	reused.StartNS, reused.Comm, reused.Exe = 6, "sh", "/bin/sh"
	shared := one
	shared.ProcessID, shared.PID = model.ProcessID{}, 0
	users, unit, heir := shared, shared, shared
	users.UID = model.NoUID
	unit.Comm, unit.Source = "", model.OwnerScan
	heir.Comm, heir.Exe = "", ""
	kernel := model.Owner{Comm: model.KernelComm, Source: model.OwnerKernel}
	reset := model.Owner{UID: model.NoUID, Source: model.OwnerKernel}
	tests := []struct {
		name   string
		owners []*model.Owner
		want   *model.Owner
	}{
		{"unknown", []*model.Owner{nil, nil}, nil},
		{"known once", []*model.Owner{nil, &one, nil}, &one},
		{"the same read twice", []*model.Owner{&one, &again}, &one},
		{"workers", []*model.Owner{&one, &two, &one}, &shared},
		{"a process and what was found out later", []*model.Owner{&one, &scanned}, &scanned},
		{"a process and what was known before", []*model.Owner{&scanned, &one}, &scanned},
		{"two users", []*model.Owner{&one, &master, &master}, &users},
		{"two programs and sources", []*model.Owner{&one, &helper}, &unit},
		{"one PID, one process after the other", []*model.Owner{&one, &reused}, &heir},
		{"kernel", []*model.Owner{&kernel, &kernel}, &kernel},
		// Workers rolled up have no PID either, and must not pass for the kernel.
		{"workers and a reset", []*model.Owner{&one, &two, &kernel}, &reset},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var flows []model.Flow
			for _, o := range tt.owners {
				flows = append(flows, flow(model.ProtoTCP, endpoint("127.0.0.1:50001", nil), endpoint("127.0.0.1:80", o), 1, 1))
			}
			if got := rowsOf(Service, model.NewFlows(flows...))[0].Server.Owner; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func process(pid uint32, start uint64, comm string) *model.Owner {
	return &model.Owner{ProcessID: model.ProcessID{TGID: pid, StartNS: start}, PID: pid, Comm: comm}
}

// pairRow is what the tests of Pairs look at.
type pairRow struct {
	name               string
	client             *model.Owner
	flows              int
	toServer, toClient uint64
}

func TestPairs(t *testing.T) {
	curl, reused := process(10, 1, "curl"), process(10, 2, "curl")
	db := endpoint("127.0.0.1:5432", nil)
	worker := func(pid uint32) model.Endpoint { return endpoint("127.0.0.1:80", process(pid, 3, "nginx")) }
	other := flow(model.ProtoTCP, endpoint("127.0.0.1:1", curl), db, 1, 1)
	other.Site, other.Netns = 2, 2
	flows := []model.Flow{
		flow(model.ProtoTCP, endpoint("127.0.0.1:1", curl), db, 10, 100),
		flow(model.ProtoTCP, endpoint("127.0.0.1:2", curl), db, 20, 200),
		flow(model.ProtoTCP, endpoint("127.0.0.1:3", reused), db, 1, 2),
		flow(model.ProtoTCP, endpoint("127.0.0.1:4", nil), db, 3, 4),
		flow(model.ProtoTCP, endpoint("127.0.0.1:5", nil), db, 3, 4),
		flow(model.ProtoUDP, endpoint("127.0.0.1:1", curl), db, 5, 6),
		other,
		flow(model.ProtoTCP, endpoint("127.0.0.1:6", curl), worker(80), 7, 8),
		flow(model.ProtoTCP, endpoint("127.0.0.1:7", curl), worker(81), 7, 8),
		flow(model.ProtoTCP, endpoint("127.0.0.1:8", nil), worker(80), 1, 0),
		flow(model.ProtoTCP, endpoint("127.0.0.2:8", nil), worker(80), 1, 0),
		flow(model.ProtoTCP, endpoint("127.0.0.1:8", nil), worker(80), 1, 0),
	}
	want := []pairRow{
		{"curl → postgresql", curl, 2, 30, 300},
		{"curl → postgresql", reused, 1, 1, 2},
		{"127.0.0.1 → postgresql", nil, 2, 6, 8},
		{"curl → postgresql", curl, 1, 5, 6},
		{"curl → postgresql", curl, 1, 1, 1},
		{"curl → nginx", curl, 2, 14, 16},
		{"? → nginx", nil, 3, 3, 0},
	}
	pairs := rowsOf(Pair, model.NewFlows(flows...))
	var got []pairRow
	for _, p := range pairs {
		got = append(got, pairRow{p.Name, p.Client.Owner, p.Flows, p.ToServer.Bytes, p.ToClient.Bytes})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if p := pairs[3]; p.Proto != model.ProtoUDP || p.Netns != 1 || p.Server != db {
		t.Errorf("got %+v, want the one over UDP", p)
	}
	if pairs[4].Netns != 2 {
		t.Errorf("got %+v, want the one of the other namespace", pairs[4])
	}
	if o := pairs[5].Server.Owner; o == nil || o.PID != 0 || o.Comm != "nginx" {
		t.Errorf("got server %+v, want what both workers share", o)
	}
}

// usageRow is what the tests of Processes and Cgroups look at.
type usageRow struct {
	name           string
	flows          int
	sent, received uint64
}

func usageRows(usages []Row) []usageRow {
	var rows []usageRow
	for _, u := range usages {
		rows = append(rows, usageRow{u.Name, u.Flows, u.ToServer.Bytes, u.ToClient.Bytes})
	}
	return rows
}

func TestProcesses(t *testing.T) {
	api, reused := process(10, 1, "api"), process(10, 2, "api")
	apiToo := *api
	apiToo.Cmdline = "api --serve"
	kernel := &model.Owner{Comm: model.KernelComm}
	got := rowsOf(Process, model.NewFlows(
		flow(model.ProtoTCP, endpoint("127.0.0.1:1", api), endpoint("127.0.0.1:80", reused), 10, 100),
		flow(model.ProtoTCP, endpoint("127.0.0.1:2", &apiToo), endpoint("127.0.0.1:81", kernel), 1, 2),
		flow(model.ProtoTCP, endpoint("127.0.0.1:3", api), endpoint("127.0.0.1:82", &apiToo), 1000, 2000),
		flow(model.ProtoTCP, endpoint("127.0.0.1:4", nil), endpoint("127.0.0.2:83", nil), 5, 6),
		flow(model.ProtoTCP, endpoint("127.0.0.3:4", nil), endpoint("127.0.0.1:84", kernel), 7, 8),
	))
	want := []usageRow{
		{"api", 3, 3011, 3102},
		{"api", 1, 100, 10},
		{"kernel", 2, 10, 8},
		{"?", 2, 18, 19},
	}
	if rows := usageRows(got); !reflect.DeepEqual(rows, want) {
		t.Fatalf("got  %+v\nwant %+v", rows, want)
	}
	if o := got[0].Owner; o.ProcessID != api.ProcessID || o.Cmdline != apiToo.Cmdline {
		t.Errorf("got %+v, want api with the command line that one report has", o)
	}
	if o := got[3].Owner; o != nil {
		t.Errorf("got %+v, want no owner", o)
	}
}

func TestCgroups(t *testing.T) {
	in := func(o *model.Owner, cgroup, unit string) *model.Owner {
		o.Cgroup, o.Unit = cgroup, unit
		return o
	}
	master := in(process(1, 1, "nginx"), "/nginx.service", "nginx.service")
	worker := in(process(2, 1, "nginx"), "/nginx.service", "nginx.service")
	worker.UID = 33
	api := in(process(3, 1, "api"), "/api.scope", "")
	stray := process(4, 1, "stray")
	got := rowsOf(Cgroup, model.NewFlows(
		flow(model.ProtoTCP, endpoint("127.0.0.1:1", api), endpoint("127.0.0.1:80", worker), 10, 100),
		flow(model.ProtoTCP, endpoint("127.0.0.1:2", stray), endpoint("127.0.0.1:80", master), 1, 2),
		flow(model.ProtoTCP, endpoint("127.0.0.1:3", worker), endpoint("127.0.0.1:80", master), 1000, 2000),
		flow(model.ProtoTCP, endpoint("127.0.0.1:4", stray), endpoint("127.0.0.1:80", nil), 5, 6),
	))
	want := []usageRow{
		{"/api.scope", 1, 10, 100},
		{"/nginx.service", 3, 3102, 3011},
		{"?", 2, 12, 13},
	}
	if rows := usageRows(got); !reflect.DeepEqual(rows, want) {
		t.Fatalf("got  %+v\nwant %+v", rows, want)
	}
	if o := got[1].Owner; o.Unit != "nginx.service" || o.Comm != "nginx" || o.PID != 0 || o.UID != model.NoUID {
		t.Errorf("got %+v, want what master and worker share", o)
	}
	if o := got[2].Owner; o != nil {
		t.Errorf("got %+v, want no owner", o)
	}
}

// A pair whose connection nobody has accepted yet is called by who answers the other clients.
func TestPairIsNamedByOtherPairs(t *testing.T) {
	psql, nginx := &model.Owner{ProcessID: model.ProcessID{TGID: 1, StartNS: 1}, Comm: "psql"}, &model.Owner{Comm: "nginx"}
	postgres := &model.Owner{ProcessID: model.ProcessID{TGID: 2, StartNS: 1}, Comm: "postgres"}
	nginx.ProcessID = model.ProcessID{TGID: 3, StartNS: 1}
	flow := func(client, server *model.Owner, at string) model.Flow {
		return model.Flow{Proto: model.ProtoTCP, Client: endpoint("127.0.0.1:40000", client), Server: endpoint(at, server)}
	}
	pairs := rowsOf(Pair, model.NewFlows(
		flow(psql, nil, "127.0.0.1:5432"),
		flow(nginx, postgres, "127.0.0.1:5432"),
		flow(nginx, nil, "127.0.0.1:6379"),
	))
	want := []string{"psql → postgres", "nginx → postgres", "nginx → redis"}
	for i := range pairs {
		if got := pairs[i].Name; got != want[i] {
			t.Errorf("pair %d: %s, want %s", i, got, want[i])
		}
	}
	if pairs[0].Server.Owner != nil {
		t.Errorf("its server is %+v, want it unknown", pairs[0].Server.Owner)
	}
}

// All views roll the same up, from the same flows.
func TestRollUpsKeepHealth(t *testing.T) {
	a, b, web := endpoint("127.0.0.1:50001", nil), endpoint("127.0.0.1:50002", nil), endpoint("127.0.0.1:80", nil)
	one, two := flow(model.ProtoTCP, a, web, 1, 1), flow(model.ProtoTCP, b, web, 1, 1)
	one.Handshake, one.Connect = time.Millisecond, model.Single(time.Millisecond)
	two.Handshake = time.Second // in an earlier window
	one.Health = &model.Health{Refused: 1, Drops: []model.DropCount{{Reason: "x", SKBs: 1}}}
	two.Health = &model.Health{Client: model.EndHealth{Resets: 2}, Drops: []model.DropCount{{Reason: "x", SKBs: 2}}}
	one.Breakdown, two.Breakdown = model.Breakdown{Turns: 1, Think: 5}, model.Breakdown{Turns: 2, Wait: 7}
	flows := []model.Flow{one, two, flow(model.ProtoTCP, a, web, 1, 1)}
	want := model.Tally{
		Connect:   latencyOf(time.Millisecond),
		Health:    &model.Health{Refused: 1, Client: model.EndHealth{Resets: 2}, Drops: []model.DropCount{{Reason: "x", SKBs: 3}}},
		Breakdown: model.Breakdown{Turns: 3, Wait: 7, Think: 5},
	}
	for by, got := range map[string]model.Tally{
		"service": rowsOf(Service, model.NewFlows(flows...))[0].Tally, "pair": rowsOf(Pair, model.NewFlows(flows...))[0].Tally,
		"process": rowsOf(Process, model.NewFlows(flows...))[0].Tally, "cgroup": rowsOf(Cgroup, model.NewFlows(flows...))[0].Tally,
	} {
		got.ToServer, got.ToClient = model.Counters{}, model.Counters{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s: %s", by, diff)
		}
	}
	if one.Health.Drops[0].SKBs != 1 || two.Health.Drops[0].SKBs != 2 {
		t.Error("rolling up changed the flows")
	}
}

// A row has the first queue that one of its flows has, in every view.
func TestRollUpsKeepTheAcceptQueue(t *testing.T) {
	a, b, web := endpoint("127.0.0.1:50001", nil), endpoint("127.0.0.1:50002", nil), endpoint("127.0.0.1:80", nil)
	none, one, two := flow(model.ProtoTCP, a, web, 1, 1), flow(model.ProtoTCP, b, web, 1, 1), flow(model.ProtoTCP, b, web, 1, 1)
	one.AcceptQueue, two.AcceptQueue = &model.AcceptQueue{Length: 1}, &model.AcceptQueue{Length: 2}
	for _, by := range []*By{Service, Pair, Process, Cgroup} {
		if rows := rowsOf(by, model.NewFlows(none, one, two)); len(rows) != 1 || rows[0].AcceptQueue != one.AcceptQueue {
			t.Errorf("by %s: %+v", by.Name, rows)
		}
	}
}

// Windows added one by one make the rows that it makes at once, and so it does in memory that was used before.
func TestRollGrows(t *testing.T) {
	for _, by := range []*By{Service, Pair, Process, Cgroup} {
		r := NewRoll(by)
		r.Add(model.NewFlows(crowd(7, 300)...))
		for seed := range uint64(5) {
			flows := crowd(seed, 200)
			r.Reset()
			r.Add(model.NewFlows(flows[:50]...))
			r.Add(model.NewFlows(flows[50:]...))
			got, want := rowsIn(r), rowsOf(by, model.NewFlows(flows...))
			if diff := cmp.Diff(want, got, cmp.Comparer(sameRow)); diff != "" {
				t.Fatalf("by %s, seed %d: %s", by.Name, seed, diff)
			}
		}
	}
}

// sameRow leaves open whether an empty histogram has memory.
func sameRow(a, b Row) bool {
	for _, row := range []*Row{&a, &b} {
		for _, l := range []*model.Latency{&row.Turn, &row.Response, &row.Connect} {
			if l.Count == 0 {
				l.Histogram = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}
