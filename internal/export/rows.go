package export

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

type flowRow struct {
	Netns      uint32    `json:"netns"`
	Family     string    `json:"family"`
	Proto      string    `json:"proto"`
	State      *string   `json:"state"`
	RoleSource *string   `json:"role_source"`
	Client     endpoint  `json:"client"`
	Server     endpoint  `json:"server"`
	ToServer   direction `json:"to_server"`
	ToClient   direction `json:"to_client"`
	Turn       latency   `json:"turn"`
	Response   latency   `json:"response"`
	ConnectNs  *int64    `json:"connect_ns"`
	SRTTNs     srtt      `json:"srtt_ns"`
	Cwnd       cwnd      `json:"cwnd"`
	FirstSeen  *string   `json:"first_seen"`
	LastSeen   *string   `json:"last_seen"`
	Closed     bool      `json:"closed"`
}

type serviceRow struct {
	Service  string    `json:"service"`
	Netns    uint32    `json:"netns"`
	Proto    string    `json:"proto"`
	Server   endpoint  `json:"server"`
	Flows    int       `json:"flows"`
	Clients  int       `json:"clients"`
	ToServer direction `json:"to_server"`
	ToClient direction `json:"to_client"`
	Turn     latency   `json:"turn"`
	Response latency   `json:"response"`
}

type endpoint struct {
	Addr        string  `json:"addr"`
	Port        *uint16 `json:"port"`
	PID         *uint32 `json:"pid"`
	Comm        *string `json:"comm"`
	Exe         *string `json:"exe"`
	Cmdline     *string `json:"cmdline"`
	UID         *uint32 `json:"uid"`
	Cgroup      *string `json:"cgroup"`
	Unit        *string `json:"unit"`
	Container   *string `json:"container"`
	OwnerSource *string `json:"owner_source"`
}

type direction struct {
	Packets      uint64 `json:"packets"`
	Bytes        uint64 `json:"bytes"`
	SKBs         uint64 `json:"skbs"`
	PayloadBytes uint64 `json:"payload_bytes"`
	Retransmits  uint64 `json:"retransmits"`
	RetransBytes uint64 `json:"retrans_bytes"`
}

// latency sums up turns or responses. Nothing measures them so far, so all of it is unknown.
type latency struct {
	Count *uint64 `json:"count"`
	SumNs *uint64 `json:"sum_ns"`
	MinNs *uint64 `json:"min_ns"`
	P50Ns *uint64 `json:"p50_ns"`
	P90Ns *uint64 `json:"p90_ns"`
	P99Ns *uint64 `json:"p99_ns"`
	MaxNs *uint64 `json:"max_ns"`
}

type srtt struct {
	Client *int64 `json:"client"`
	Server *int64 `json:"server"`
}

type cwnd struct {
	Client *uint32 `json:"client"`
	Server *uint32 `json:"server"`
}

// newFlowRow returns f's row; it points into f.
func newFlowRow(f *model.Flow) flowRow {
	row := flowRow{
		Netns:      f.Netns,
		Family:     "ipv4",
		Proto:      f.Proto.String(),
		State:      known(&f.State),
		RoleSource: known((*string)(&f.RoleSource)),
		Client:     newEndpoint(&f.Client),
		Server:     newEndpoint(&f.Server),
		ToServer:   direction(f.ToServer),
		ToClient:   direction(f.ToClient),
		SRTTNs:     srtt{Client: nanoseconds(f.ClientSRTT), Server: nanoseconds(f.ServerSRTT)},
		Cwnd:       cwnd{Client: known(&f.ClientCwnd), Server: known(&f.ServerCwnd)},
		FirstSeen:  timestamp(f.FirstSeen),
		LastSeen:   timestamp(f.LastSeen),
		Closed:     f.Closed,
	}
	if f.IPv6() {
		row.Family = "ipv6"
	}
	// The answering side of an ICMP echo is port 0, which means something: it is not the client.
	if f.Client.Port == 0 && f.Server.Port == 0 {
		row.Client.Port, row.Server.Port = nil, nil
	}
	return row
}

// newServiceRow returns s's row; it points into s.
func newServiceRow(s *model.Service) serviceRow {
	row := serviceRow{
		Service:  s.Name,
		Netns:    s.Netns,
		Proto:    s.Proto.String(),
		Server:   newEndpoint(&s.Server),
		Flows:    s.Flows,
		Clients:  s.Clients,
		ToServer: direction(s.ToServer),
		ToClient: direction(s.ToClient),
	}
	if s.Server.Port == 0 {
		row.Server.Port = nil
	}
	return row
}

func newEndpoint(e *model.Endpoint) endpoint {
	row := endpoint{Addr: e.Addr.String(), Port: &e.Port}
	if o := e.Owner; o != nil {
		row.PID = known(&o.PID)
		row.Comm = known(&o.Comm)
		row.Exe = known(&o.Exe)
		row.Cmdline = known(&o.Cmdline)
		row.UID = &o.UID
		row.Cgroup = known(&o.Cgroup)
		row.Unit = known(&o.Unit)
		row.Container = known(&o.Container)
		row.OwnerSource = known((*string)(&o.Source))
	}
	return row
}

func nanoseconds(d time.Duration) *int64 {
	ns := d.Nanoseconds()
	return known(&ns)
}

func flowRows(flows []model.Flow) []flowRow {
	rows := make([]flowRow, len(flows))
	for i := range flows {
		rows[i] = newFlowRow(&flows[i])
	}
	return rows
}

func serviceRows(services []model.Service) []serviceRow {
	rows := make([]serviceRow, len(services))
	for i := range services {
		rows[i] = newServiceRow(&services[i])
	}
	return rows
}
