package stats

import (
	"net/netip"

	"github.com/lotrace/lotrace/internal/model"
)

// serviceKey names a service.
type serviceKey struct {
	netns  uint32
	proto  model.Proto
	server netip.AddrPort
}

// clientKey tells the clients of one service apart: by process, or by address while it is unknown.
type clientKey struct {
	service int
	pid     uint32
	addr    netip.Addr
}

// Services rolls flows up by netns, protocol and server endpoint, in the order in which the flows
// first name them. A client counts once: by its process, by its address where that is unknown.
// Server.Owner holds what all known processes behind it have in common; the PID of a service that
// several workers answer is 0.
func Services(flows []model.Flow) []model.Service {
	var services []model.Service
	index := make(map[serviceKey]int)
	clients := make(map[clientKey]struct{})
	for i := range flows {
		f := &flows[i]
		key := serviceKey{f.Netns, f.Proto, f.Server.AddrPort()}
		n, ok := index[key]
		if !ok {
			n = len(services)
			index[key] = n
			services = append(services, model.Service{Netns: f.Netns, Proto: f.Proto, Server: f.Server})
		}
		s := &services[n]
		s.Server.Owner = common(s.Server.Owner, f.Server.Owner)
		s.Flows++
		s.ToServer.Add(f.ToServer)
		s.ToClient.Add(f.ToClient)
		client := clientOf(n, f)
		if _, ok := clients[client]; !ok {
			clients[client] = struct{}{}
			s.Clients++
		}
	}
	for i := range services {
		s := &services[i]
		if s.Server.Owner == &strangers {
			s.Server.Owner = nil
		}
		s.Name = serviceName(s)
	}
	return services
}

// serviceName is what people call a service: its process, else what usually listens there.
func serviceName(s *model.Service) string {
	if o := s.Server.Owner; o != nil && o.Comm != "" {
		return o.Comm
	}
	if !s.Proto.HasPorts() {
		return s.Proto.String()
	}
	if name := portNames[s.Server.Port]; name != "" {
		return name
	}
	return s.Server.AddrPort().String()
}

func clientOf(service int, f *model.Flow) clientKey {
	if f.Client.Owner != nil {
		return clientKey{service: service, pid: f.Client.Owner.PID}
	}
	return clientKey{service: service, addr: f.Client.Addr}
}

// strangers stands for owners with too little in common to say anything about them.
var strangers model.Owner

// common returns what two owners agree on; nil is an unknown one, and does not count. Workers of
// a prefork server share their program, not their PID, and naming one of them would blame it for
// what the others did. No value of a UID says "several", so owners of two users are strangers.
func common(a, b *model.Owner) *model.Owner {
	switch {
	case a == nil:
		return b
	case b == nil || a == b || a == &strangers || *a == *b:
		return a
	case a.UID != b.UID:
		return &strangers
	}
	c := *a
	if c.PID != b.PID {
		c.PID = 0
	}
	if c.Source != b.Source {
		c.Source = "scan" // the weaker of the two
	}
	keepEqual(&c.Comm, b.Comm)
	keepEqual(&c.Exe, b.Exe)
	keepEqual(&c.Cmdline, b.Cmdline)
	keepEqual(&c.Cgroup, b.Cgroup)
	keepEqual(&c.Unit, b.Unit)
	keepEqual(&c.Container, b.Container)
	return &c
}

func keepEqual(s *string, other string) {
	if *s != other {
		*s = ""
	}
}
