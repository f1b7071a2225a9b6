package stats

import (
	"cmp"
	"net/netip"
	"strconv"

	"github.com/lotrace/lotrace/internal/model"
)

// unknownName stands for a name nobody knows.
const unknownName = "?"

// groups numbers keys in the order in which they are first asked for.
type groups[K comparable] map[K]int32

func (g groups[K]) number(key K) int32 {
	n, ok := g[key]
	if !ok {
		n = int32(len(g))
		g[key] = n
	}
	return n
}

// group returns the number of each flow's row, and how many rows there are: they are large, and made once
// that is known.
func group[K comparable](flows *model.Flows, key func(*model.Flow) K) (numbers []int32, rows int) {
	keys := make(groups[K], flows.Len())
	numbers = make([]int32, 0, flows.Len())
	for f := range flows.All() {
		numbers = append(numbers, keys.number(key(f)))
	}
	return numbers, len(keys)
}

// serviceKey names a service. Keys of maps have neither pointers nor padding, so that they are hashed and
// compared as one piece of memory.
type serviceKey struct {
	addr        [16]byte
	netns       uint32
	port, proto uint16
}

func keyOf(netns uint32, proto model.Proto, server *model.Endpoint) serviceKey {
	return serviceKey{server.Addr.As16(), netns, server.Port, uint16(proto)}
}

func serviceOf(f *model.Flow) serviceKey { return keyOf(f.Netns, f.Proto, &f.Server) }

// Identity names the process behind an endpoint; the zero value is an unknown one.
type Identity struct {
	startNS uint64
	tgid    uint32
	known   uint32 // 1 if it is
}

// Compare orders processes by age; one that is unknown comes before all.
func (i Identity) Compare(j Identity) int {
	return cmp.Or(cmp.Compare(i.known, j.known), cmp.Compare(i.startNS, j.startNS), cmp.Compare(i.tgid, j.tgid))
}

// Identify returns who the owner is; nil is the zero value.
func Identify(o *model.Owner) Identity {
	switch {
	case o == nil:
		return Identity{}
	case o.TGID == 0: // the kernel was never started
		return Identity{known: 1}
	}
	return Identity{o.StartNS, o.TGID, 1}
}

// clientKey tells the clients of one service apart: by process, or by address while it is unknown.
type clientKey struct {
	service uint64
	process Identity
	addr    [16]byte
}

func clientOf(service int32, f *model.Flow) clientKey {
	key := clientKey{service: uint64(service), process: Identify(f.Client.Owner)}
	if key.process.known == 0 {
		key.addr = f.Client.Addr.As16()
	}
	return key
}

// Services rolls flows up by netns, protocol and server endpoint, in the order in which the flows
// first name them. A client counts once: by its process, by its address where that is unknown.
// Server.Owner holds what all known processes behind it have in common; the PID of a service that
// several workers answer is 0.
func Services(flows *model.Flows) []model.Service {
	numbers, count := group(flows, serviceOf)
	services := make([]model.Service, count)
	first := make([]clientKey, count)      // per service
	others := make(map[clientKey]struct{}) // clients beyond the first
	i := -1
	for f := range flows.All() {
		i++
		n := numbers[i]
		s, client := &services[n], clientOf(n, f)
		if s.Flows == 0 {
			*s = model.Service{Netns: f.Netns, Proto: f.Proto, Server: f.Server, Clients: 1}
			first[n] = client
		}
		s.Server.Owner = Common(s.Server.Owner, f.Server.Owner)
		s.Flows++
		s.Add(&f.Tally)
		if s.AcceptQueue == nil {
			s.AcceptQueue = f.AcceptQueue
		}
		if _, ok := others[client]; !ok && client != first[n] {
			others[client] = struct{}{}
			s.Clients++
		}
	}
	for i := range services {
		s := &services[i]
		s.Name = ServiceName(s.Proto, &s.Server)
	}
	return services
}

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

// pairKey names a pair. All unknown clients of a service are one.
type pairKey struct {
	service serviceKey
	client  Identity
}

func pairOf(f *model.Flow) pairKey { return pairKey{serviceOf(f), Identify(f.Client.Owner)} }

// Pairs rolls flows up by client process and service, in the order in which the flows first name
// them. Clients are told apart by ProcessID, so one that got another's PID is another row.
func Pairs(flows *model.Flows) []model.Pair {
	numbers, count := group(flows, pairOf)
	pairs := make([]model.Pair, count)
	addrs := make([]netip.Addr, count) // what all clients of the pair share; the zero Addr: nothing
	i := -1
	for f := range flows.All() {
		i++
		n := numbers[i]
		p := &pairs[n]
		if p.Flows == 0 {
			*p = model.Pair{Netns: f.Netns, Proto: f.Proto, Server: f.Server}
			addrs[n] = f.Client.Addr
		}
		if addrs[n] != f.Client.Addr {
			addrs[n] = netip.Addr{}
		}
		p.Client = Common(p.Client, f.Client.Owner)
		p.Server.Owner = Common(p.Server.Owner, f.Server.Owner)
		p.Flows++
		p.Add(&f.Tally)
	}
	servers := serversOfOthers(pairs)
	for i := range pairs {
		p := &pairs[i]
		server := p.Server
		if server.Owner == nil {
			server.Owner = servers[serviceOfPair(p)]
		}
		p.ServiceName = ServiceName(p.Proto, &server)
		p.ClientName = ProcessName(p.Client)
		if p.Client == nil && addrs[i].IsValid() {
			p.ClientName = addrs[i].String()
		}
	}
	return pairs
}

// serversOfOthers returns who answers for the services of pairs that do not know it themselves, as theirs
// is not accepted yet, by the other pairs of the service.
func serversOfOthers(pairs []model.Pair) map[serviceKey]*model.Owner {
	servers := make(map[serviceKey]*model.Owner)
	for i := range pairs {
		if p := &pairs[i]; p.Server.Owner == nil {
			servers[serviceOfPair(p)] = nil
		}
	}
	if len(servers) == 0 {
		return servers
	}
	for i := range pairs {
		p := &pairs[i]
		if owner, wanted := servers[serviceOfPair(p)]; wanted {
			servers[serviceOfPair(p)] = Common(owner, p.Server.Owner)
		}
	}
	return servers
}

func serviceOfPair(p *model.Pair) serviceKey {
	return keyOf(p.Netns, p.Proto, &p.Server)
}

// Processes says what each process sent and received, in the order in which the flows first name
// them. Unknown owners share one row; the kernel has one of its own.
func Processes(flows *model.Flows) []model.Usage {
	usages := use(flows, Identify)
	for i := range usages {
		usages[i].Name = ProcessName(usages[i].Owner)
	}
	return usages
}

// Cgroups says what the processes of each cgroup sent and received, in the order in which the flows
// first name them. All whose cgroup is unknown share one row.
func Cgroups(flows *model.Flows) []model.Usage {
	usages := use(flows, cgroupOf)
	for i := range usages {
		u := &usages[i]
		u.Name = cgroupOf(u.Owner)
		if u.Name == "" {
			u.Name, u.Owner = unknownName, nil
		}
	}
	return usages
}

func cgroupOf(o *model.Owner) string {
	if o == nil {
		return ""
	}
	return o.Cgroup
}

// use adds up both ends of each flow, under the keys of their owners.
func use[K comparable](flows *model.Flows, key func(*model.Owner) K) []model.Usage {
	keys := make(groups[K])
	numbers := make([][2]int32, 0, flows.Len())
	for f := range flows.All() {
		numbers = append(numbers, [2]int32{keys.number(key(f.Client.Owner)), keys.number(key(f.Server.Owner))})
	}
	usages := make([]model.Usage, len(keys))
	i := -1
	for f := range flows.All() {
		i++
		client, server := &usages[numbers[i][0]], &usages[numbers[i][1]]
		client.Owner = Common(client.Owner, f.Client.Owner)
		server.Owner = Common(server.Owner, f.Server.Owner)
		client.Flows++
		client.Add(&f.Tally)
		if client == server {
			client.ToServer.Add(f.ToClient)
			client.ToClient.Add(f.ToServer)
			continue
		}
		server.Flows++
		answering := f.Tally
		answering.ToServer, answering.ToClient = f.ToClient, f.ToServer
		server.Add(&answering)
	}
	return usages
}

// ProcessName is the process's display name, without its PID unless that is all there is.
func ProcessName(o *model.Owner) string {
	switch {
	case o == nil || o.Comm == "" && o.PID == 0:
		return unknownName
	case o.Comm == "":
		return "pid " + strconv.FormatUint(uint64(o.PID), 10)
	}
	return o.Comm
}

// Common returns what two owners agree on; nil is an unknown one, and does not count. Workers of
// a prefork server share their program, not their PID, and naming one of them would blame it for
// what the others did.
func Common(a, b *model.Owner) *model.Owner {
	switch {
	case a == nil:
		return b
	case b == nil || a == b || *a == *b:
		return a
	case sameProcess(a, b):
		return fuller(a, b)
	}
	c := *a
	if c.ProcessID != b.ProcessID {
		c.ProcessID, c.PID = model.ProcessID{}, 0
	}
	if c.UID != b.UID {
		c.UID = model.NoUID
	}
	if c.Source != b.Source {
		c.Source = model.OwnerScan // the weaker of the two
	}
	keepEqual(&c.Comm, b.Comm)
	keepEqual(&c.Exe, b.Exe)
	keepEqual(&c.Cmdline, b.Cmdline)
	keepEqual(&c.Cgroup, b.Cgroup)
	keepEqual(&c.Unit, b.Unit)
	keepEqual(&c.Container, b.Container)
	keepEqual(&c.ContainerName, b.ContainerName)
	if c == *a {
		return a
	}
	merged := c // or every c would be an allocation
	return &merged
}

// sameProcess takes no chances with several processes rolled up, which have no ProcessID: they are
// not the kernel, which has none either.
func sameProcess(a, b *model.Owner) bool {
	return a.ProcessID == b.ProcessID && (a.TGID != 0 || a.Comm == model.KernelComm && b.Comm == model.KernelComm)
}

// fuller returns the one of two reports on a process that tells more: the other may have been made
// when the process was gone, or by somebody who may not look closer.
func fuller(a, b *model.Owner) *model.Owner {
	if details(b) > details(a) {
		return b
	}
	return a
}

func details(o *model.Owner) int {
	n := 0
	for _, s := range [...]string{o.Comm, o.Exe, o.Cmdline, o.Cgroup, o.Unit, o.Container, o.ContainerName} {
		if s != "" {
			n += 2
		}
	}
	if o.Source == model.OwnerKernel {
		n++
	}
	return n
}

func keepEqual(s *string, other string) {
	if *s != other {
		*s = ""
	}
}
