package loader

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// minExchanges is how many flows' turns are followed at once, however small the table.
const minExchanges = 1 << 10

// Exchanges is of how many flows the turns are followed at once, in a table of so many: most have no
// requests, or are over.
func Exchanges(maxFlows int) int { return max(minExchanges, maxFlows/16*3) }

// ReadExchange reads the requests and answers at a place (reading.Slot.Exchange) into into. A place is valid until
// it is released. While nothing was answered, or nothing came since known was read, ReadExchange returns false and
// leaves into alone: most of two kilobytes are histograms. A nil known is older than all. The kernel's memory
// stays as it is, so any number of readers may look on.
func (l *Loader) ReadExchange(place uint32, into, known *reading.Exchange) bool {
	from := &l.table.exchanges.at[place]
	asked, answered := from.numbers()
	if answered == 0 || known != nil && asked == known.Asked && answered == known.Answered && !l.cameBack(place, known) {
		return false
	}
	from.read(into)
	into.Turn.MinNS, into.Turn.MaxNS = lookAtExtremes(&from.Turn)
	into.Response.MinNS, into.Response.MaxNS = lookAtExtremes(&from.Response)
	if int(place) < l.table.breakdowns.reached {
		decodeBreakdown(&into.Breakdown, &l.table.breakdowns.at[place])
	}
	return true
}

// numbers is how many requests there were, and how many answers.
func (from *lotraceLtExchange) numbers() (asked, answered uint32) {
	answered = atomic.LoadUint32(&from.Answered)
	asked = answered
	if answered == 0 && atomic.LoadUint64(&from.AskedNs) != 0 || atomic.LoadUint32(&from.AskedSeq) != atomic.LoadUint32(&from.OfSeq) {
		asked++
	}
	return asked, answered
}

// maxReads bounds how often an exchange is read while answers begin: that takes the kernel some nanoseconds.
const maxReads = 64

// read reads all but the extremes, between the beginnings of two answers.
func (from *lotraceLtExchange) read(into *reading.Exchange) {
	for range maxReads {
		taken := atomic.LoadUint32(&from.Taken)
		into.Asked, into.Answered = from.numbers()
		into.Crossed = atomic.LoadUint32(&from.Crossed)
		into.AskedNS = atomic.LoadUint64(&from.AskedNs)
		into.AnsweredNS = atomic.LoadUint64(&from.AnsweredNs)
		decodeLatency(&into.Turn, &from.Turn, &from.TurnHist)
		decodeLatency(&into.Response, &from.Response, &from.ResponseHist)
		from.readResponses(into, taken == into.Answered)
		if atomic.LoadUint32(&from.Several) == taken && atomic.LoadUint32(&from.Begun) == into.Answered {
			return
		}
	}
}

// readResponses makes the responses of what the kernel keeps of them: the difference to turns. It has counted the turn
// of each answer of one packet, and the response of each of several as the next one began. The newest is complete once
// there is a request again, and not before.
func (from *lotraceLtExchange) readResponses(into *reading.Exchange, several bool) {
	r := &into.Response
	r.SumNS += into.Turn.SumNS
	for i := range r.Histogram {
		r.Histogram[i] += into.Turn.Histogram[i]
	}
	of := atomic.LoadUint64(&from.OfNs)
	switch complete := into.Asked != into.Answered; {
	case complete && several:
		ns := into.AnsweredNS - of
		r.SumNS += ns
		r.Histogram[model.Bucket(time.Duration(ns))]++
	case !complete && !several:
		r.SumNS -= atomic.LoadUint64(&from.BeganNs) - of
		if bucket := atomic.LoadUint32(&from.Bucket); bucket < model.HistogramBuckets {
			r.Histogram[bucket]--
		}
	}
}

// cameBack reports whether a client read an answer since known was read. It does so after the turn.
func (l *Loader) cameBack(place uint32, known *reading.Exchange) bool {
	breakdowns := &l.table.breakdowns
	return int(place) < breakdowns.reached &&
		atomic.LoadUint32(&breakdowns.at[place].Backs) != uint32(known.Breakdown.Backs)
}

// TakeExtremes puts the smallest and the largest latencies at a place since it was called last into into, which
// ReadExchange has just read, and the kernel begins anew. If into counts the newest answer's response, that answer
// goes on no more: what the server says until it has seen the request is of no answer. It is for one caller alone.
func (l *Loader) TakeExtremes(place uint32, into *reading.Exchange) {
	from := &l.table.exchanges.at[place]
	var newest uint64 // the response that the kernel leaves to us
	if into.Asked != into.Answered && atomic.SwapUint32(&from.Told, into.Answered) != into.Answered {
		from.read(into) // it may have gone on in between
		newest = into.AnsweredNS - atomic.LoadUint64(&from.OfNs)
	}
	into.Turn.MinNS, into.Turn.MaxNS = takeExtremes(&from.Turn)
	r := &into.Response
	r.MinNS, r.MaxNS = takeExtremes(&from.Response)
	if newest > 0 {
		r.MaxNS = max(r.MaxNS, newest)
		if r.MinNS == 0 || newest < r.MinNS {
			r.MinNS = newest
		}
	}
}

func lookAtExtremes(from *lotraceLtLatency) (minNS, maxNS uint64) {
	width := atomic.LoadUint64(&from.RangeNs)
	return extremes(atomic.LoadUint64(&from.MinNs), width)
}

// takeExtremes takes the smallest last: the kernel writes it last.
func takeExtremes(from *lotraceLtLatency) (minNS, maxNS uint64) {
	width := atomic.SwapUint64(&from.RangeNs, 0)
	return extremes(atomic.SwapUint64(&from.MinNs, 0), width)
}

// extremes puts a smallest latency (ns; 0: there was none) and how far the largest is above it into the smallest
// and the largest.
func extremes(smallest, width uint64) (minNS, maxNS uint64) {
	if smallest == 0 {
		return 0, 0
	}
	return smallest, smallest + width
}

func decodeLatency(to *reading.ExchangeLatency, from *lotraceLtLatency, histogram *[model.HistogramBuckets]uint32) {
	to.SumNS = atomic.LoadUint64(&from.SumNs)
	for i := range histogram {
		to.Histogram[i] = atomic.LoadUint32(&histogram[i])
	}
}

func decodeBreakdown(to *model.Breakdown, from *lotraceLtBreakdown) {
	*to = model.Breakdown{
		Turns:     uint64(atomic.LoadUint32(&from.Turns)),
		Delivered: uint64(atomic.LoadUint32(&from.Delivered)),
		Delivery:  time.Duration(atomic.LoadUint64(&from.DeliveryNs)),
		Wait:      time.Duration(atomic.LoadUint64(&from.WaitNs)),
		Think:     time.Duration(atomic.LoadUint64(&from.ThinkNs)),
		Backs:     uint64(atomic.LoadUint32(&from.Backs)),
		Back:      time.Duration(atomic.LoadUint64(&from.BackNs)),
	}
}

// ReleaseExchange gives a place back. Its slot must have been freed.
func (l *Loader) ReleaseExchange(place uint32) error {
	l.table.exchanges.at[place] = lotraceLtExchange{}
	if int(place) < l.table.breakdowns.reached {
		l.table.breakdowns.at[place] = lotraceLtBreakdown{}
	}
	if err := l.table.exchangesFree.Put(nil, place-1); err != nil {
		return fmt.Errorf("give exchange back: %w", err)
	}
	return nil
}
