// Package view makes rows of flows: it rolls them up, names, measures and sorts them. Every face shows its rows,
// and every number of one comes out of the table of measures.
package view

import (
	"net/netip"

	"github.com/lotrace/lotrace/internal/model"
)

// Row is all flows with one key. What a view does not have is the zero value.
type Row struct {
	Key
	Name        string // display name
	ClientName  string // by pair: the two parts of its name
	ServiceName string
	Netns       uint32
	Proto       model.Proto
	Client      model.Endpoint // by pair the owner, nil of all that are unknown, and the address if all have one
	Server      model.Endpoint // its owner is what all known processes behind it have in common
	Owner       *model.Owner   // the process, or what all of the cgroup have in common; nil: unknown
	Flows       int            // one that a process talks to itself on counts once
	Clients     int            // by service: distinct processes; distinct addresses of those that are unknown
	model.Tally                // ToServer is what a process or a cgroup sent itself, whichever end it is
	AcceptQueue *model.AcceptQueue
	Flow        *model.Flow // by flow: the flow itself
}

// reset empties the row, which keeps its memory.
func (r *Row) reset() {
	turn, response, connect := r.Turn.Histogram, r.Response.Histogram, r.Connect.Histogram
	clear(turn)
	clear(response)
	clear(connect)
	*r = Row{}
	r.Turn.Histogram, r.Response.Histogram, r.Connect.Histogram = turn, response, connect
}

// joinClient adds the client of a flow that join adds next.
func (r *Row) joinClient(f *model.Flow) {
	if r.Flows == 0 {
		r.Client.Addr = f.Client.Addr
	}
	if r.Client.Addr != f.Client.Addr {
		r.Client.Addr = netip.Addr{}
	}
	r.Client.Owner = Common(r.Client.Owner, f.Client.Owner)
}

// join adds a flow to a row of its server.
func (r *Row) join(f *model.Flow) {
	if r.Flows == 0 {
		r.Netns, r.Proto, r.Server = f.Netns, f.Proto, f.Server
	}
	r.Server.Owner = Common(r.Server.Owner, f.Server.Owner)
	r.Flows++
	r.Add(&f.Tally)
	if r.AcceptQueue == nil {
		r.AcceptQueue = f.AcceptQueue
	}
	if r.Name != "" {
		r.Name, r.ClientName, r.ServiceName = "", "", ""
	}
}

// merge adds a pair to the row of its service.
func (r *Row) merge(pair *Row) {
	if r.Flows == 0 {
		r.Netns, r.Proto, r.Server = pair.Netns, pair.Proto, pair.Server
	}
	r.Server.Owner = Common(r.Server.Owner, pair.Server.Owner)
	r.Flows += pair.Flows
	r.Add(&pair.Tally)
	if r.AcceptQueue == nil {
		r.AcceptQueue = pair.AcceptQueue
	}
	r.Name, r.ServiceName = "", ""
}

// use adds a flow of which one end is the row's.
func (r *Row) use(f *model.Flow, asServer bool) {
	tally, owner := f.Tally, f.Client.Owner
	if asServer {
		tally.ToServer, tally.ToClient = f.ToClient, f.ToServer
		owner = f.Server.Owner
	}
	r.Owner = Common(r.Owner, owner)
	r.Flows++
	r.Add(&tally)
	if r.AcceptQueue == nil {
		r.AcceptQueue = f.AcceptQueue
	}
	r.Name = ""
}

// useAgain adds the other end of a flow that the row talks to itself on.
func (r *Row) useAgain(f *model.Flow) {
	r.Owner = Common(r.Owner, f.Server.Owner)
	r.ToServer.Add(f.ToClient)
	r.ToClient.Add(f.ToServer)
}

// show makes the row that of one flow, which it points to.
func (r *Row) show(f *model.Flow) {
	*r = Row{
		Key: flowKey(f), Netns: f.Netns, Proto: f.Proto, Client: f.Client, Server: f.Server,
		Flows: 1, Tally: f.Tally, AcceptQueue: f.AcceptQueue, Flow: f,
	}
}

// RowOf returns the row of a flow, which it points to.
func RowOf(f *model.Flow) *Row {
	var r Row
	r.show(f)
	return &r
}
