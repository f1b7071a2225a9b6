package view

import (
	"slices"

	"github.com/lotrace/lotrace/internal/model"
)

// Roll rolls flows up to the rows of a view, which come in the order in which flows first name them. It keeps
// its memory from one Reset to the next, and is for one goroutine.
type Roll struct {
	Match func(*model.Flow) bool // which flows count, asked once for each; nil: all. By flow it is not asked
	Slot  func(*Key) *Slot       // where to note the key's row, or nil if By.Rest is to have its flows; nil: every key has a row

	by      *By
	skipped latencies // which rows do not have
	round   uint64    // another one after each Reset
	n       int
	chunks  [][]Row // of chunkRows each, so that rows stay where they are
	places  map[Key]int32
	rest    int32                  // the row for the rest; -1: there is none yet
	ends    map[*model.Owner]int32 // rows of owners, nobody's included
	of      []int32                // per flow of the newest Add, its row
	flows   []*model.Flows         // by flow: what was added, borrowed until Reset
	servers map[Key]*model.Owner
	first   []client            // per row: the client that came first
	others  map[client]struct{} // clients beyond the first
	one     Row                 // by flow: the row that is looked at
	key     Key                 // the one that is being placed
}

// Slot is where a Roll notes which row a key has, for somebody who remembers keys for longer than it does. The
// zero value is ready.
type Slot struct {
	round uint64 // of its Roll
	at    int32
}

// fewRows is up to how many rows memory does not matter.
const fewRows = 4096

// chunkRows is how many rows get their memory at once.
const chunkRows = 128

// client tells the clients of one row apart: by process, or by address while it is unknown.
type client struct {
	row     uint64
	process [16]byte // identity
	addr    [16]byte
}

// NewRoll returns a roll-up without a row.
func NewRoll(by *By) *Roll {
	return &Roll{by: by, round: 1, rest: -1, ends: make(map[*model.Owner]int32)}
}

// Reset takes all rows away.
func (r *Roll) Reset() {
	for i := range r.n {
		r.At(i).reset()
	}
	if len(r.chunks)*chunkRows > 4*max(r.n, fewRows) { // there were far more once
		r.chunks = slices.Clone(r.chunks[:(r.n+chunkRows-1)/chunkRows])
		r.places = make(map[Key]int32, r.n)
	}
	r.n, r.of, r.flows, r.first, r.servers = 0, r.of[:0], r.flows[:0], r.first[:0], nil
	r.rest = -1
	r.round++
	clear(r.places)
	clear(r.ends)
	clear(r.others)
}

// Only has rows added from now on know what these measures take, and of other latencies nothing.
func (r *Roll) Only(measures []*Measure) {
	r.skipped = ^latencies(0)
	for _, m := range measures {
		r.skipped &^= m.needs
	}
}

// skip takes from a tally the latencies that nobody asks for.
func (r *Roll) skip(t *model.Tally) {
	if r.skipped&ofTurns != 0 {
		t.Turn = model.Latency{}
	}
	if r.skipped&ofResponses != 0 {
		t.Response = model.Latency{}
	}
	if r.skipped&ofConnects != 0 {
		t.Connect = model.Latency{}
	}
}

// Len is how many rows there are.
func (r *Roll) Len() int {
	if !r.by.each {
		return r.n
	}
	n := 0
	for _, flows := range r.flows {
		n += flows.Len()
	}
	return n
}

// At returns row i, valid until the next Reset. By flow there is none.
func (r *Roll) At(i int) *Row { return &r.chunks[i/chunkRows][i%chunkRows] }

// Of returns which row flow i of the newest Add is in, -1 if it does not count; after Merge, which row that of pair i
// is in. Views with a row for each end do not know it.
func (r *Roll) Of(i int) int32 { return r.of[i] }

// Add adds flows, which stay as they are. By flow each is another row, so those of one flow in several windows
// are to be folded before; they must stay until the next Reset.
func (r *Roll) Add(flows *model.Flows) {
	r.servers = nil
	switch {
	case r.by.each:
		r.flows = append(r.flows, flows)
	case r.by.key != nil:
		r.addPairs(flows)
	default:
		r.addEnds(flows)
	}
}

func (r *Roll) addPairs(flows *model.Flows) {
	r.of = slices.Grow(r.of[:0], flows.Len())
	if r.Slot == nil && r.places == nil {
		r.places = make(map[Key]int32, flows.Len()) // growing, it would take as much
		if r.by.counts {
			r.first = make([]client, 0, flows.Len())
		}
	}
	for i := range flows.Len() {
		f := flows.At(i)
		if r.Match != nil && !r.Match(f) {
			r.of = append(r.of, -1)
			continue
		}
		r.skip(&f.Tally)
		r.key = Key{view: r.by.number}
		r.by.key(&r.key, f)
		at := r.place(&r.key)
		r.of = append(r.of, at)
		row := r.At(int(at))
		if r.by.counts {
			r.count(row, at, f)
		} else {
			row.joinClient(f)
		}
		row.join(f)
	}
}

func (r *Roll) addEnds(flows *model.Flows) {
	r.of = r.of[:0]
	for f := range flows.All() {
		if r.Match != nil && !r.Match(f) {
			continue
		}
		r.skip(&f.Tally)
		client, server := r.end(f.Client.Owner), r.end(f.Server.Owner)
		r.At(int(client)).use(f, false)
		if client == server {
			r.At(int(client)).useAgain(f)
			continue
		}
		r.At(int(server)).use(f, true)
	}
}

// end returns the number of an owner's row.
func (r *Roll) end(o *model.Owner) int32 {
	at, known := r.ends[o]
	if !known {
		r.key = Key{view: r.by.number}
		r.by.ofEnd(&r.key, o)
		at = r.place(&r.key)
		r.ends[o] = at
	}
	return at
}

// Merge adds the rows of pairs to those of their services.
func (r *Roll) Merge(pairs *Roll) {
	r.of = r.of[:0]
	for i := range pairs.n {
		pair := pairs.At(i)
		r.key = pair.service()
		r.key.view = r.by.number
		at := r.place(&r.key)
		r.of = append(r.of, at)
		r.At(int(at)).merge(pair)
	}
}

// place returns the number of a key's row, which it makes if there is none.
func (r *Roll) place(k *Key) int32 {
	if k.rest == 1 {
		return r.placeOfRest()
	}
	if r.Slot != nil {
		slot := r.Slot(k)
		if slot == nil {
			return r.placeOfRest()
		}
		if slot.round != r.round {
			slot.round, slot.at = r.round, r.newRow(*k)
		}
		return slot.at
	}
	at, known := r.places[*k]
	if !known {
		at = r.newRow(*k)
		if r.places == nil {
			r.places = make(map[Key]int32)
		}
		r.places[*k] = at
	}
	return at
}

func (r *Roll) placeOfRest() int32 {
	if r.rest < 0 {
		r.rest = r.newRow(r.by.Rest())
	}
	return r.rest
}

func (r *Roll) newRow(k Key) int32 {
	if r.n++; r.n > len(r.chunks)*chunkRows {
		r.chunks = append(r.chunks, make([]Row, chunkRows))
	}
	r.At(r.n - 1).Key = k
	return int32(r.n - 1)
}

// count notes the flow's client.
func (r *Roll) count(row *Row, number int32, f *model.Flow) {
	c := client{row: uint64(number), process: Identify(f.Client.Owner)}
	if f.Client.Owner == nil {
		c.addr = f.Client.Addr.As16()
	}
	if row.Clients == 0 {
		row.Clients = 1
		for len(r.first) <= int(number) {
			r.first = append(r.first, c)
		}
		return
	}
	if c == r.first[number] {
		return
	}
	if r.others == nil {
		r.others = make(map[client]struct{})
	}
	if _, known := r.others[c]; !known {
		r.others[c] = struct{}{}
		row.Clients++
	}
}

// Named returns a row of its own with its names.
func (r *Roll) Named(row *Row) *Row {
	if row.Name == "" && r.by.name != nil {
		r.by.name(r, row)
	}
	return row
}
