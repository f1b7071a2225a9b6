package model

// NoUID is the UID of an Owner that stands for processes of several users. No process can have it.
const NoUID = ^uint32(0)

// Service is all flows to one server endpoint.
type Service struct {
	Name    string // display name
	Netns   uint32
	Proto   Proto
	Server  Endpoint
	Flows   int
	Clients int // distinct client processes; distinct client addresses where no owner is known
	Tally
	AcceptQueue *AcceptQueue // nil: unknown
}

// Pair is all flows from one client process to one service.
type Pair struct {
	ClientName  string // display name
	ServiceName string // display name
	Netns       uint32
	Proto       Proto
	Client      *Owner // nil: all clients whose owner is unknown
	Server      Endpoint
	Flows       int
	Tally
}

// Name is the pair's display name.
func (p *Pair) Name() string { return p.ClientName + " → " + p.ServiceName }

// Usage is what one process, or everything in one cgroup, sent and received. Every packet has one
// sender and one receiver, so over all rows of a view both sums are the totals less the overflow.
type Usage struct {
	Name  string // display name
	Owner *Owner // the process, or what all processes of the cgroup have in common; nil: unknown
	Flows int    // one that it talks to itself on counts once
	Tally        // of all its flows, whichever end it is, but for what was sent: ToServer is what it sent itself
}
