package export

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
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
	Crossed    uint64    `json:"crossed"`
	ConnectNs  *int64    `json:"connect_ns"`
	SRTTNs     srtt      `json:"srtt_ns"`
	Cwnd       cwnd      `json:"cwnd"`
	FirstSeen  *string   `json:"first_seen"`
	LastSeen   *string   `json:"last_seen"`
	Closed     bool      `json:"closed"`
	tally
	AcceptNs    *int64 `json:"accept_ns"`
	FirstByteNs *int64 `json:"first_byte_ns"`
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
	Connect  latency   `json:"connect"`
	tally
	AcceptQueue *acceptQueue `json:"accept_queue"`
}

type pairRow struct {
	Pair     string    `json:"pair"`
	Netns    uint32    `json:"netns"`
	Proto    string    `json:"proto"`
	Client   endpoint  `json:"client"`
	Server   endpoint  `json:"server"`
	Flows    int       `json:"flows"`
	ToServer direction `json:"to_server"`
	ToClient direction `json:"to_client"`
	Turn     latency   `json:"turn"`
	Response latency   `json:"response"`
	Connect  latency   `json:"connect"`
	tally
}

type processRow struct {
	Process  owner     `json:"process"`
	Flows    int       `json:"flows"`
	Sent     direction `json:"sent"`
	Received direction `json:"received"`
	Turn     latency   `json:"turn"`
	Response latency   `json:"response"`
	tally
}

type cgroupRow struct {
	Cgroup        *string   `json:"cgroup"`
	Unit          *string   `json:"unit"`
	Container     *string   `json:"container"`
	ContainerName *string   `json:"container_name"`
	Flows         int       `json:"flows"`
	Sent          direction `json:"sent"`
	Received      direction `json:"received"`
	Turn          latency   `json:"turn"`
	Response      latency   `json:"response"`
	tally
}

type endpoint struct {
	Addr *string `json:"addr"`
	Port *uint16 `json:"port"`
	owner
}

type owner struct {
	PID           *uint32 `json:"pid"`
	HostPID       *uint32 `json:"host_pid"`
	Comm          *string `json:"comm"`
	Exe           *string `json:"exe"`
	Cmdline       *string `json:"cmdline"`
	UID           *uint32 `json:"uid"`
	Cgroup        *string `json:"cgroup"`
	Unit          *string `json:"unit"`
	Container     *string `json:"container"`
	ContainerName *string `json:"container_name"`
	OwnerSource   *string `json:"owner_source"`
}

type direction struct {
	Packets      uint64 `json:"packets"`
	Bytes        uint64 `json:"bytes"`
	SKBs         uint64 `json:"skbs"`
	PayloadBytes uint64 `json:"payload_bytes"`
	Retransmits  uint64 `json:"retransmits"`
	RetransBytes uint64 `json:"retrans_bytes"`
}

// latency sums up turns or responses; without any there is no shortest and no longest.
type latency struct {
	Count uint64 `json:"count"`
	SumNs int64  `json:"sum_ns"`
	MinNs *int64 `json:"min_ns"`
	P50Ns *int64 `json:"p50_ns"`
	P90Ns *int64 `json:"p90_ns"`
	P99Ns *int64 `json:"p99_ns"`
	MaxNs *int64 `json:"max_ns"`
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
		Turn:       newLatency(&f.Turn),
		Response:   newLatency(&f.Response),
		Crossed:    f.Crossed,
		ConnectNs:  nanoseconds(f.Handshake),
		SRTTNs:     srtt{Client: nanoseconds(f.ClientSRTT), Server: nanoseconds(f.ServerSRTT)},
		Cwnd:       cwnd{Client: known(&f.ClientCwnd), Server: known(&f.ServerCwnd)},
		FirstSeen:  timestamp(f.FirstSeen),
		LastSeen:   timestamp(f.LastSeen),
		Closed:     f.Closed,

		tally:       newTally(&f.Tally),
		AcceptNs:    nanoseconds(f.Accept),
		FirstByteNs: nanoseconds(f.FirstByte),
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

// newServiceRow returns r's row; it points into r.
func newServiceRow(r *view.Row) any {
	return serviceRow{
		Service:  r.Name,
		Netns:    r.Netns,
		Proto:    r.Proto.String(),
		Server:   newServer(&r.Server),
		Flows:    r.Flows,
		Clients:  r.Clients,
		ToServer: direction(r.ToServer),
		ToClient: direction(r.ToClient),
		Turn:     newLatency(&r.Turn),
		Response: newLatency(&r.Response),
		Connect:  newLatency(&r.Connect),

		tally:       newTally(&r.Tally),
		AcceptQueue: newAcceptQueue(r.AcceptQueue),
	}
}

// newPairRow returns r's row; it points into r.
func newPairRow(r *view.Row) any {
	return pairRow{
		Pair:     r.Name,
		Netns:    r.Netns,
		Proto:    r.Proto.String(),
		Client:   endpoint{owner: newOwner(r.Client.Owner)},
		Server:   newServer(&r.Server),
		Flows:    r.Flows,
		ToServer: direction(r.ToServer),
		ToClient: direction(r.ToClient),
		Turn:     newLatency(&r.Turn),
		Response: newLatency(&r.Response),
		Connect:  newLatency(&r.Connect),
		tally:    newTally(&r.Tally),
	}
}

// newProcessRow returns r's row; it points into r.
func newProcessRow(r *view.Row) any {
	return processRow{
		Process:  newOwner(r.Owner),
		Flows:    r.Flows,
		Sent:     direction(r.ToServer),
		Received: direction(r.ToClient),
		Turn:     newLatency(&r.Turn),
		Response: newLatency(&r.Response),
		tally:    newTally(&r.Tally),
	}
}

// newCgroupRow returns r's row; it points into r.
func newCgroupRow(r *view.Row) any {
	o := newOwner(r.Owner)
	return cgroupRow{
		Cgroup:        o.Cgroup,
		Unit:          o.Unit,
		Container:     o.Container,
		ContainerName: o.ContainerName,
		Flows:         r.Flows,
		Sent:          direction(r.ToServer),
		Received:      direction(r.ToClient),
		Turn:          newLatency(&r.Turn),
		Response:      newLatency(&r.Response),
		tally:         newTally(&r.Tally),
	}
}

func newEndpoint(e *model.Endpoint) endpoint {
	addr := e.Addr.String()
	return endpoint{&addr, &e.Port, newOwner(e.Owner)}
}

// newServer is the endpoint of a service.
func newServer(e *model.Endpoint) endpoint {
	row := newEndpoint(e)
	if e.Port == 0 {
		row.Port = nil
	}
	return row
}

// newOwner points into o, of which nil is an unknown one.
func newOwner(o *model.Owner) owner {
	if o == nil {
		return owner{}
	}
	row := owner{
		PID:           known(&o.PID),
		HostPID:       known(&o.TGID),
		Comm:          known(&o.Comm),
		Exe:           known(&o.Exe),
		Cmdline:       known(&o.Cmdline),
		Cgroup:        known(&o.Cgroup),
		Unit:          known(&o.Unit),
		Container:     known(&o.Container),
		ContainerName: known(&o.ContainerName),
		OwnerSource:   known((*string)(&o.Source)),
	}
	if o.UID != model.NoUID {
		row.UID = &o.UID
	}
	return row
}

func newLatency(l *model.Latency) latency {
	row := latency{Count: l.Count, SumNs: l.Sum.Nanoseconds()}
	if l.Count == 0 {
		return row
	}
	row.MinNs, row.MaxNs = exactly(l.Min), exactly(l.Max)
	row.P50Ns, row.P90Ns, row.P99Ns = exactly(l.Quantile(0.50)), exactly(l.Quantile(0.90)), exactly(l.Quantile(0.99))
	return row
}

// exactly is d, of which zero is known as well.
func exactly(d time.Duration) *int64 {
	ns := d.Nanoseconds()
	return &ns
}

func nanoseconds(d time.Duration) *int64 {
	ns := d.Nanoseconds()
	return known(&ns)
}
