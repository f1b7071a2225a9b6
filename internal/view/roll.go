package view

import (
	"slices"

	"github.com/lotrace/lotrace/internal/model"
)

// Roll rolls flows up to the rows of a view, which come in the order in which flows first name them. It keeps
// its memory from one Reset to the next, and is for one goroutine.
type Roll struct {
	by      *By
	rows    []Row
	places  map[Key]int32
	of      []int32        // per flow of the newest Add, its row, or the rows of both its ends
	flows   []*model.Flows // by flow: what was added, borrowed until Reset
	servers map[Key]*model.Owner
	first   []client            // per row: the client that came first
	others  map[client]struct{} // clients beyond the first
	one     Row                 // by flow: the row that is looked at
}

// client tells the clients of one row apart: by process, or by address while it is unknown.
type client struct {
	row     uint64
	process [16]byte // identity
	addr    [16]byte
}

// NewRoll returns a roll-up without a row.
func NewRoll(by *By) *Roll {
	return &Roll{by: by}
}

// Reset takes all rows away.
func (r *Roll) Reset() {
	for i := range r.rows {
		r.rows[i].reset()
	}
	r.rows, r.flows, r.first, r.servers = r.rows[:0], r.flows[:0], r.first[:0], nil
	clear(r.places)
	clear(r.others)
}

// Len is how many rows there are.
func (r *Roll) Len() int {
	if !r.by.each {
		return len(r.rows)
	}
	n := 0
	for _, flows := range r.flows {
		n += flows.Len()
	}
	return n
}

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
	r.expect(flows.Len())
	for f := range flows.All() {
		r.of = append(r.of, r.place(r.by.key(f)))
	}
	r.grow()
	i := -1
	for f := range flows.All() {
		i++
		row := &r.rows[r.of[i]]
		if row.Flows == 0 {
			row.Key = r.key(r.by.key(f))
		}
		if r.by.counts {
			r.count(row, r.of[i], f)
		} else {
			row.joinClient(f)
		}
		row.join(f)
	}
}

func (r *Roll) addEnds(flows *model.Flows) {
	r.of = slices.Grow(r.of[:0], 2*flows.Len())
	r.expect(0)
	var newest [2]*model.Owner // flows of one owner often come together
	var at [2]int32
	for f := range flows.All() {
		for end, owner := range [...]*model.Owner{f.Client.Owner, f.Server.Owner} {
			if owner == nil || owner != newest[end] {
				newest[end], at[end] = owner, r.place(r.by.ofEnd(owner))
			}
		}
		r.of = append(r.of, at[0], at[1])
	}
	r.grow()
	i := 0
	for f := range flows.All() {
		client, server := r.of[i], r.of[i+1]
		i += 2
		if row := &r.rows[client]; row.Flows == 0 {
			row.Key = r.key(r.by.ofEnd(f.Client.Owner))
		}
		if row := &r.rows[server]; row.Flows == 0 {
			row.Key = r.key(r.by.ofEnd(f.Server.Owner))
		}
		r.rows[client].use(f, false)
		if client == server {
			r.rows[client].useAgain(f)
			continue
		}
		r.rows[server].use(f, true)
	}
}

// key returns the key as one of the view.
func (r *Roll) key(k Key) Key {
	k.view = r.by.number
	return k
}

// place returns the number of a key's row, which grow makes.
func (r *Roll) place(k Key) int32 {
	k = r.key(k)
	at, known := r.places[k]
	if !known {
		at = int32(len(r.places))
		r.places[k] = at
	}
	return at
}

// expect makes the first Add's places, of which there are at most so many, but rarely.
func (r *Roll) expect(most int) {
	if r.places == nil {
		r.places = make(map[Key]int32, most)
	}
}

// grow makes empty rows for new keys. They are large, so it is done at once when their number is
// known.
func (r *Roll) grow() {
	r.rows = slices.Grow(r.rows, len(r.places)-len(r.rows))[:len(r.places)]
}

// count notes the flow's client.
func (r *Roll) count(row *Row, number int32, f *model.Flow) {
	c := client{row: uint64(number), process: Identify(f.Client.Owner)}
	if f.Client.Owner == nil {
		c.addr = f.Client.Addr.As16()
	}
	if row.Clients == 0 {
		row.Clients = 1
		r.first = slices.Grow(r.first, len(r.rows)-len(r.first))[:len(r.rows)]
		r.first[number] = c
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

// named returns the row with its names.
func (r *Roll) named(row *Row) *Row {
	if row.Name == "" && r.by.name != nil {
		r.by.name(r, row)
	}
	return row
}
