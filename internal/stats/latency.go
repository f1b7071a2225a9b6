package stats

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// turns is what is known of requests and answers.
type turns struct {
	base       []*reading.Exchange // by place: as it was when the window began; nil: empty
	now        reading.Exchange    // the one being read
	nothing    reading.Exchange    // what an empty one is compared with
	histograms histograms
}

// counted reports whether there is anything in a slot's part of a window but packets, and what waits in queues.
func counted(t *model.Tally) bool {
	if t.Health == nil {
		return !t.IsZero()
	}
	health := *t.Health
	for _, end := range []*model.EndHealth{&health.Client, &health.Server} {
		end.ReceiveQueue, end.SendQueue = 0, 0
	}
	rest := *t
	rest.Health = nil
	return !health.IsZero() || !rest.IsZero()
}

// tallyOf returns the window's part of a slot's requests and answers, and of its health; the next call
// returns what came after this one.
func (e *Engine) tallyOf(slot *reading.Slot) model.Tally {
	t := model.Tally{Health: e.healthOf(slot)}
	if slot.Exchange == 0 {
		return t
	}
	for int(slot.Exchange) >= len(e.turns.base) {
		e.turns.base = append(e.turns.base, nil)
	}
	base := e.turns.base[slot.Exchange]
	if base == nil {
		base = &e.turns.nothing
	}
	now, known, over := &e.turns.now, base, isOver(slot)
	if over {
		known = nil // its last response may be due
	}
	if !e.source.ReadExchange(slot.Exchange, now, known) {
		return t
	}
	e.source.TakeExtremes(slot.Exchange, now)
	if over {
		endResponse(now)
	}
	t.Turn = e.difference(&now.Turn, &base.Turn)
	t.Response = e.difference(&now.Response, &base.Response)
	t.Crossed = uint64(now.Crossed - base.Crossed)
	t.Breakdown = breakdown(&now.Breakdown, &base.Breakdown)
	if base == &e.turns.nothing {
		base = new(reading.Exchange)
		e.turns.base[slot.Exchange] = base
	}
	*base = *now
	return t
}

// isOver reports whether no more data can come on the slot's connection.
func isOver(slot *reading.Slot) bool {
	if slot.Key.Proto != model.ProtoTCP {
		return false
	}
	_, closed := model.TCPState(slot.TCPFlags[0], slot.TCPFlags[1], 0, 0)
	return closed
}

// endResponse counts the newest answer, which the kernel does when the next request shows that it is
// complete. The end of the connection shows that too.
func endResponse(x *reading.Exchange) {
	if x.Asked == 0 || x.Asked != x.Answered || x.AnsweredNS < x.AskedNS {
		return
	}
	ns := x.AnsweredNS - x.AskedNS
	r := &x.Response
	r.SumNS += ns
	r.Histogram[model.Bucket(time.Duration(ns))]++
	if r.MinNS == 0 || ns < r.MinNS {
		r.MinNS = ns
	}
	r.MaxNS = max(r.MaxNS, ns)
}

// difference is what came to a latency since base. The extremes are the kernel's where they fit what is
// counted; of a turn at the window's very edge they may be in another than its count is, and then the
// buckets' bounds stand in.
func (e *Engine) difference(now, base *reading.ExchangeLatency) model.Latency {
	var l model.Latency
	lowest, highest := -1, -1
	for i := range now.Histogram {
		n := now.Histogram[i] - base.Histogram[i]
		if n == 0 {
			continue
		}
		if l.Histogram == nil {
			l.Histogram = e.turns.histograms.next()
			lowest = i
		}
		l.Histogram[i] = uint64(n)
		l.Count += uint64(n)
		highest = i
	}
	if l.Count == 0 {
		return l
	}
	l.Sum = time.Duration(now.SumNS - base.SumNS)
	l.Min, l.Max = time.Duration(now.MinNS), time.Duration(now.MaxNS)
	if low, _ := model.BucketBounds(lowest); now.MinNS == 0 || model.Bucket(l.Min) != lowest {
		l.Min = low
	}
	if _, high := model.BucketBounds(highest); model.Bucket(l.Max) != highest {
		l.Max = high - 1
	}
	return l
}

// breakdown is where the time of the turns since base went. The kernel counts in 32 bits, which come
// round.
func breakdown(now, base *model.Breakdown) model.Breakdown {
	b := now.Sub(base)
	b.Turns, b.Delivered, b.Backs = uint64(uint32(b.Turns)), uint64(uint32(b.Delivered)), uint64(uint32(b.Backs))
	return b
}

func (e *Engine) releaseExchange(place uint32) error {
	if place == 0 {
		return nil
	}
	e.turns.base[place] = nil
	return e.source.ReleaseExchange(place)
}

// tellClient says who is the client where the kernel does not know, or takes the sender of the first datagram that it
// saw for one though the other end was there to be asked: then turns are those of the client that windows show.
// The answer for a flow does not change, and is asked for once.
func (e *Engine) tellClient(slot *reading.Slot) {
	unsure := slot.Role == reading.SlotRoleNone || slot.Role == reading.SlotRoleFirst
	if !unsure || slot.State != reading.SlotLive {
		return
	}
	ends := e.endsOf(slot)
	if ends.judged == slot.Role+1 {
		return
	}
	ends.judged = slot.Role + 1
	client, _ := e.listeners.roleOf(slot)
	if slot.Role == reading.SlotRoleNone || client != int(slot.Client&1) {
		e.source.Tell(slot.Index, uint8(client))
	}
}

// histograms are lent to the tallies of one window; its rows have copies.
type histograms struct {
	all  [][]uint64
	used int
}

func (h *histograms) reset() { h.used = 0 }

// next returns an empty one.
func (h *histograms) next() []uint64 {
	if h.used == len(h.all) {
		h.all = append(h.all, make([]uint64, model.HistogramBuckets))
	}
	h.used++
	clear(h.all[h.used-1])
	return h.all[h.used-1]
}
