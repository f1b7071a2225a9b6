package tui

import (
	"fmt"
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

// kinds are the views that rows of a kind are of.
var kinds = [...]*view.By{view.Service, view.Pair, view.Flow, view.Process, view.Cgroup}

// collected is what a collection left in a node.
type collected struct {
	pass  uint64 // which one it was part of last
	slot  view.Slot
	row   *view.Row // what its flows did in that; of a flow nil
	place int       // of a flow: which it was in it
	flows []int32   // of a pair that was open: places of its flows in it

	number uint64 // what rows are sorted by, if that is a number of the newest frame
}

// node is one row, and what is remembered of it.
type node struct {
	collected
	position view.Position
	kind     kind
	proto    model.Proto
	client   model.Endpoint // of a pair or a process only its owner counts
	server   model.Endpoint
	parent   *node
	kids     []*node // in their order, of the newest arrangement
	open     bool
	rank     int // place among its siblings; unranked: it has none yet

	frame uint64 // the slot that it was part of last
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

// begin readies the node for a new collection.
func (n *node) begin(pass, frame uint64) {
	n.pass, n.frame = pass, frame
	n.kids, n.flows = n.kids[:0], n.flows[:0]
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
func (n *node) remember(c *clock, now *model.Tally) {
	n.past.put(c, sample{toServer: now.ToServer.Bytes, toClient: now.ToClient.Bytes, errors: now.Health.Errors()}, &now.Turn)
}

// closedFor says how long before now the flow was closed.
func (n *node) closedFor(now time.Time) string {
	d := max(0, now.Sub(n.flow.LastSeen)).Round(time.Second)
	if d < time.Minute {
		return fmt.Sprintf("%d%ss", d/time.Second, noBreak)
	}
	return d.String()
}
