package view

import (
	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// ServiceName is what people call a service: its process, else what usually listens there.
func ServiceName(proto model.Proto, server *model.Endpoint) string {
	if o := server.Owner; o != nil && o.Comm != "" {
		return o.Comm
	}
	if !proto.HasPorts() {
		return proto.String()
	}
	if name := portNames[server.Port]; name != "" {
		return name
	}
	return server.AddrPort().String()
}

// nameService calls a service by its process, else by its port or address.
func (r *Roll) nameService(row *Row) {
	row.ServiceName = ServiceName(row.Proto, &row.Server)
	row.Name = row.ServiceName
}

// namePair calls a pair by its client and its service. A service that it does not know the process of, as its
// connections are not accepted yet, it calls what the other pairs of the service do.
func (r *Roll) namePair(row *Row) {
	server := row.Server
	if server.Owner == nil {
		server.Owner = r.serverOf(row)
	}
	row.ServiceName = ServiceName(row.Proto, &server)
	row.ClientName = human.ProcessName(row.Client.Owner)
	if row.Client.Owner == nil && row.Client.Addr.IsValid() {
		row.ClientName = row.Client.Addr.String()
	}
	row.Name = row.ClientName + " → " + row.ServiceName
}

// serverOf returns the owner that all pairs of the row's service know for it.
func (r *Roll) serverOf(row *Row) *model.Owner {
	if r.servers == nil {
		r.servers = make(map[Key]*model.Owner)
		for i := range r.n {
			if p := r.At(i); p.Server.Owner == nil {
				r.servers[p.service()] = nil
			}
		}
		for i := range r.n {
			p := r.At(i)
			if owner, wanted := r.servers[p.service()]; wanted {
				r.servers[p.service()] = Common(owner, p.Server.Owner)
			}
		}
	}
	return r.servers[row.service()]
}

func (r *Roll) nameProcess(row *Row) { row.Name = human.ProcessName(row.Owner) }

func (r *Roll) nameCgroup(row *Row) {
	row.Name = row.cgroupPath()
	if row.Name == "" {
		row.Name, row.Owner = human.UnknownName, nil
	}
}

// cgroupPath is the path that all owners of a cgroup's row have.
func (r *Row) cgroupPath() string {
	if r.Owner == nil || r.IsRest() {
		return ""
	}
	return r.Owner.Cgroup
}
