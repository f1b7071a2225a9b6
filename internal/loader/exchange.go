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
	asked, answered := atomic.LoadUint32(&from.Asked), atomic.LoadUint32(&from.Answered)
	if answered == 0 || known != nil && asked == known.Asked && answered == known.Answered && !l.cameBack(place, known) {
		return false
	}
	into.Asked, into.Answered = asked, answered
	into.Crossed = atomic.LoadUint32(&from.Crossed)
	into.AskedNS = atomic.LoadUint64(&from.AskedNs)
	into.AnsweredNS = atomic.LoadUint64(&from.AnsweredNs)
	decodeLatency(&into.Turn, &from.Turn, &from.TurnHist)
	decodeLatency(&into.Response, &from.Response, &from.ResponseHist)
	if int(place) < l.table.breakdowns.reached {
		decodeBreakdown(&into.Breakdown, &l.table.breakdowns.at[place])
	}
	return true
}

// cameBack reports whether a client read an answer since known was read. It does so after the turn.
func (l *Loader) cameBack(place uint32, known *reading.Exchange) bool {
	breakdowns := &l.table.breakdowns
	return int(place) < breakdowns.reached &&
		atomic.LoadUint32(&breakdowns.at[place].Backs) != uint32(known.Breakdown.Backs)
}

// TakeExtremes puts the smallest and the largest latencies at a place since it was called last into into, and
// the kernel begins anew. It is for one caller alone.
func (l *Loader) TakeExtremes(place uint32, into *reading.Exchange) {
	from := &l.table.exchanges.at[place]
	takeExtremes(&into.Turn, &from.Turn)
	takeExtremes(&into.Response, &from.Response)
}

// takeExtremes takes the smallest last: the kernel writes it last.
func takeExtremes(to *reading.ExchangeLatency, from *lotraceLtLatency) {
	width := atomic.SwapUint64(&from.RangeNs, 0)
	to.MinNS, to.MaxNS = extremes(atomic.SwapUint64(&from.MinNs, 0), width)
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
	width := atomic.LoadUint64(&from.RangeNs)
	to.MinNS, to.MaxNS = extremes(atomic.LoadUint64(&from.MinNs), width)
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
