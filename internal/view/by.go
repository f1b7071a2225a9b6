package view

import (
	"slices"

	"github.com/lotrace/lotrace/internal/model"
)

// By is one way to look at flows: what makes them one row, and what that can be sorted by.
type By struct {
	Name   string                   // as --by takes it
	number uint16                   // tells its keys from those of other views
	key    func(*Key, *model.Flow)  // puts into a Key what names the row for both ends; nil: there is none
	ofEnd  func(*Key, *model.Owner) // the same of the row for each end
	each   bool                     // every flow is a row: neither is there
	counts bool                     // a row counts its clients
	name   func(r *Roll, row *Row)  // sets the row's names
	labels []string                 // what its rows can be sorted by that is no measure
}

const (
	byPair uint16 = iota
	byService
	byFlow
	byProcess
	byCgroup
)

// The views. A new one is one more entry of all.
var (
	Pair    = &By{Name: "pair", number: byPair, key: pairKey, name: (*Roll).namePair, labels: []string{"name", "client", "server", "proto"}}
	Service = &By{Name: "service", number: byService, key: serviceKey, name: (*Roll).nameService, counts: true, labels: []string{"name", "server", "proto"}}
	Flow    = &By{Name: "flow", number: byFlow, each: true, labels: []string{"client", "server", "proto", "state", "first", "last"}}
	Process = &By{Name: "process", number: byProcess, ofEnd: processKey, name: (*Roll).nameProcess, labels: []string{"name", "command"}}
	Cgroup  = &By{Name: "cgroup", number: byCgroup, ofEnd: cgroupKey, name: (*Roll).nameCgroup, labels: []string{"name", "unit"}}

	all = []*By{Pair, Service, Flow, Process, Cgroup}
)

// All lists the views, the default first.
func All() []*By { return slices.Clone(all) }

// Rest is the key of the row for flows that there is no other row for.
func (b *By) Rest() Key { return Key{view: b.number, rest: 1} }

// KeyOf is the key of the row that a flow is in. Views with a row for each end have none.
func (b *By) KeyOf(f *model.Flow) Key {
	if b.each {
		return flowKey(f)
	}
	k := Key{view: b.number}
	b.key(&k, f)
	return k
}

// KeyOfEnd is the key of the row that an end of a flow is in, of views with a row for each.
func (b *By) KeyOfEnd(o *model.Owner) Key {
	k := Key{view: b.number}
	b.ofEnd(&k, o)
	return k
}
