package model

import (
	"maps"
	"slices"
)

// foldedRows is the rows of windows that follow one another, one of each flow.
type foldedRows struct {
	flows  Flows
	newest map[FlowKey]int // the row of each key that began last
	before []int           // by row: the one of its key that began before it; -1: there is none
	goesOn []int           // by row of the window that is being folded: the row that it goes on with; -1: none
}

// fold adds the rows of the next window. Those of one window are of different flows.
func (r *foldedRows) fold(next *Flows) {
	r.goesOn = r.goesOn[:0]
	for i := range next.Len() {
		r.goesOn = append(r.goesOn, r.find(next, i))
	}
	for i, to := range r.goesOn {
		if to < 0 {
			r.add(next.At(i))
			continue
		}
		f := r.flows.At(to)
		f.Health = f.Health.Clone() // others may have the old one
		f.fold(next.At(i))
		r.flows.Set(to, f)
	}
}

// find returns the row that row i of next goes on with: that of the flow that began when it did or, where nobody saw it
// begin, the newest older one of its key, as it would within one window; -1: there is none.
func (r *foldedRows) find(next *Flows, i int) int {
	row := &next.rows[i]
	at, known := r.newest[next.key(i)]
	if !known {
		return -1
	}
	for at >= 0 && r.flows.rows[at].began > row.began {
		at = r.before[at]
	}
	if at >= 0 && r.flows.rows[at].began < row.began && next.roles[row.role] == RoleSYN {
		return -1
	}
	return at
}

// add appends a row, in its place among those of its key.
func (r *foldedRows) add(f *Flow) {
	if r.newest == nil {
		r.newest = make(map[FlowKey]int)
	}
	key, row := f.Key(), r.flows.Len()
	r.flows.Append(f)
	older, known := r.newest[key]
	if !known {
		older = -1
	}
	newer := -1
	for older >= 0 && r.flows.rows[older].began > f.BeganNS {
		newer, older = older, r.before[older]
	}
	r.before = append(r.before, older)
	if newer < 0 {
		r.newest[key] = row
	} else {
		r.before[newer] = row
	}
}

// Bound keeps so many flows once there are more than twice as many, those that spoke last. The others go to the overflow:
// the totals stay what they were, and what rows say beyond counters is lost.
func (f *Folder) Bound(flows int) {
	if f.rows.flows.Len() <= 2*flows {
		return
	}
	cut := f.rows.keepNewest(flows)
	w := f.window
	w.Overflow.Add(cut)
	causes := make(map[string]Count, len(w.ByCause)+1) // a window that was folded may have the old one
	maps.Copy(causes, w.ByCause)
	full := causes[ReportFull]
	full.Add(cut)
	causes[ReportFull] = full
	w.ByCause = causes
}

// keepNewest leaves so many rows, one at least and fewer than there are, and returns what the others count.
func (r *foldedRows) keepNewest(most int) (cut Count) {
	rows := r.flows.rows
	spoke := make([]uint64, len(rows))
	for i := range rows {
		spoke[i] = rows[i].spokeNS()
	}
	slices.Sort(spoke)
	least := spoke[len(spoke)-most]
	first, _ := slices.BinarySearch(spoke, least)
	surplus := len(spoke) - most - first // of those that spoke when the first of those that stay did
	all := r.flows
	r.flows, r.newest, r.before = Flows{}, nil, r.before[:0]
	r.flows.Grow(2 * most)
	for i := range rows {
		f := all.At(i)
		switch at := rows[i].spokeNS(); {
		case at > least || at == least && surplus == 0:
			r.add(f)
			continue
		case at == least:
			surplus--
		}
		for _, c := range []Counters{f.ToServer, f.ToClient} {
			cut.Add(Count{SKBs: c.SKBs, Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	return cut
}

// spokeNS is when either end sent its newest packet, CLOCK_MONOTONIC.
func (row *packedFlow) spokeNS() uint64 { return max(row.lastNS[0], row.lastNS[1]) }

// findQueues says which queue each connection waits in, of those that listen at the end.
func (r *foldedRows) findQueues(listening Listening) {
	for i := range r.flows.Len() {
		if f := r.flows.At(i); f.Proto == ProtoTCP {
			f.AcceptQueue = listening.Of(f.Site, f.Server.AddrPort())
			r.flows.Set(i, f)
		}
	}
}

// fold makes f what one row over its window and the next one would have been; next goes on with f's flow.
func (f *Flow) fold(next *Flow) {
	sameSlot := f.BeganNS == next.BeganNS
	older := *f
	*f = *next
	turned := older.Client.AddrPort() != next.Client.AddrPort()
	if turned {
		older.turnRound()
	}
	f.Tally = older.Tally
	f.Tally.fold(&next.Tally)
	f.foldPath(&older)
	if !sameSlot { // the first part saw how the flow began, and who is the client
		f.RoleSource = older.RoleSource
		f.Handshake, f.Accept, f.FirstByte = older.Handshake, older.Accept, older.FirstByte
		if turned {
			f.turnRound()
		}
	}
	f.BeganNS, f.FirstSeen = older.BeganNS, older.FirstSeen
	f.Judge()
}

// foldPath takes from the older row, its ends in the same order, what this one does not know.
func (f *Flow) foldPath(older *Flow) {
	for i := range f.TCPFlags {
		f.TCPFlags[i] |= older.TCPFlags[i]
	}
	if older.LastNS[0] > f.LastNS[0] { // an end that sent nothing in this part says nothing of its path
		f.LastNS[0], f.ClientSRTT, f.ClientCwnd = older.LastNS[0], older.ClientSRTT, older.ClientCwnd
	}
	if older.LastNS[1] > f.LastNS[1] {
		f.LastNS[1], f.ServerSRTT, f.ServerCwnd = older.LastNS[1], older.ServerSRTT, older.ServerCwnd
	}
	if older.LastSeen.After(f.LastSeen) {
		f.LastSeen = older.LastSeen
	}
	if f.Client.Owner == nil {
		f.Client.Owner = older.Client.Owner
	}
	if f.Server.Owner == nil {
		f.Server.Owner = older.Server.Owner
	}
}

// turnRound makes the client the server.
func (f *Flow) turnRound() {
	f.Client, f.Server = f.Server, f.Client
	f.ClientSRTT, f.ServerSRTT = f.ServerSRTT, f.ClientSRTT
	f.ClientCwnd, f.ServerCwnd = f.ServerCwnd, f.ClientCwnd
	f.TCPFlags[0], f.TCPFlags[1] = f.TCPFlags[1], f.TCPFlags[0]
	f.LastNS[0], f.LastNS[1] = f.LastNS[1], f.LastNS[0]
	f.Tally.turnRound()
}

// fold adds what adds up, and takes over what next says of its end.
func (t *Tally) fold(next *Tally) {
	t.Add(next)
	if t.Health == nil {
		return
	}
	for _, end := range []struct{ to, from *EndHealth }{
		{&t.Health.Client, next.Health.client()}, {&t.Health.Server, next.Health.server()},
	} {
		end.to.ReceiveQueue, end.to.SendQueue = end.from.ReceiveQueue, end.from.SendQueue
	}
	if t.Health.IsZero() {
		t.Health = nil
	}
}

func (h *Health) client() *EndHealth {
	if h == nil {
		return new(EndHealth)
	}
	return &h.Client
}

func (h *Health) server() *EndHealth {
	if h == nil {
		return new(EndHealth)
	}
	return &h.Server
}
