package tui

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

// kind is what a row stands for.
type kind uint8

const (
	kindService kind = iota
	kindPair
	kindFlow
	kindProcess
	kindCgroup
)

// key names a node. It has no pointers, so that a hundred thousand flows find theirs quickly.
type key struct {
	client, server         [16]byte
	owner                  [16]byte // view.Identify
	netns                  uint32
	clientPort, serverPort uint16
	proto                  model.Proto
	kind                   kind
	rest                   bool // of all those that there is no room for
}

// node is one row, and what is remembered of it.
type node struct {
	key    key
	proto  model.Proto
	client model.Endpoint // of a pair or a process only its owner counts
	server model.Endpoint
	parent *node
	kids   []*node // in their order, of the newest arrangement
	open   bool
	rank   int // place among its siblings; unranked: it has none yet

	pass  uint64 // the collection that it was part of last
	frame uint64 // the slot that it was part of last
	flows []int32
	now   sum
	past  *history
	solo  *node  // of a service: the only pair that it ever had, whose past is its own
	since moment // what was before is not in its history, though something may have been

	shown    sample        // over the window that is shown, or as much of it as is known
	truly    time.Duration // how long that is
	frames   int           // how many slots that is
	quantile time.Duration // the one that rows are sorted by, if they are
	label    string        // the text that they are sorted by, if they are

	flow *model.Flow // of a flow, as it was seen last, without its histograms; of others nil
}

const unranked = 1 << 30

// sum is what the flows of a node did in the newest frame.
type sum struct {
	toServer, toClient uint64 // bytes
	turn               model.Latency
	errors             uint64
	flows, closed      int
}

// begin empties the node for a new collection.
func (n *node) begin(pass, frame uint64) {
	n.pass, n.frame = pass, frame
	n.flows, n.kids = n.flows[:0], n.kids[:0]
	turn := n.now.turn
	clear(turn.Histogram)
	n.now = sum{turn: model.Latency{Histogram: turn.Histogram}}
}

func (n *node) add(f *model.Flow) {
	n.now.toServer += f.ToServer.Bytes
	n.now.toClient += f.ToClient.Bytes
	n.addSigns(f)
}

func (n *node) addSigns(f *model.Flow) {
	n.now.turn.Add(&f.Turn)
	n.now.errors += f.Health.Errors()
	n.now.flows++
	if f.Closed {
		n.now.closed++
	}
}

// merge adds a pair to its service.
func (n *node) merge(pair *node) {
	n.now.toServer += pair.now.toServer
	n.now.toClient += pair.now.toClient
	n.now.turn.Add(&pair.now.turn)
	n.now.errors += pair.now.errors
	n.now.flows += pair.now.flows
	n.now.closed += pair.now.closed
}

// adopt makes a service share the past of its pair, as long as that is its only one. It comes before the
// pair remembers the newest frame.
func (n *node) adopt(pair *node) {
	switch {
	case n.past == nil:
		n.past, n.solo = pair.past, pair
	case n.solo != nil && n.solo != pair:
		n.past, n.solo = n.past.clone(), nil
	}
}

// remember puts the newest frame into the node's history.
func (n *node) remember(c *clock) {
	n.past.put(c, sample{toServer: n.now.toServer, toClient: n.now.toClient, errors: n.now.errors}, &n.now.turn)
}

// closedFor says how long before now the flow was closed.
func (n *node) closedFor(now time.Time) string {
	d := max(0, now.Sub(n.flow.LastSeen)).Round(time.Second)
	if d < time.Minute {
		return fmt.Sprintf("%d%ss", d/time.Second, noBreak)
	}
	return d.String()
}

func pairKey(f *model.Flow) key {
	k := serviceKey(f)
	k.kind, k.owner = kindPair, view.Identify(f.Client.Owner)
	return k
}

func serviceKey(f *model.Flow) key {
	return key{
		kind: kindService, server: f.Server.Addr.As16(), netns: f.Netns, serverPort: f.Server.Port, proto: f.Proto,
	}
}

func (k key) service() key {
	k.kind, k.owner = kindService, [16]byte{}
	return k
}

func processKey(o *model.Owner) key { return key{kind: kindProcess, owner: view.Identify(o)} }

func flowKey(f *model.Flow) key {
	k := serviceKey(f)
	k.kind, k.client, k.clientPort = kindFlow, f.Client.Addr.As16(), f.Client.Port
	return k
}

// only returns a if both are the same, and nothing otherwise.
func only(a, b netip.Addr) netip.Addr {
	if a == b {
		return a
	}
	return netip.Addr{}
}
