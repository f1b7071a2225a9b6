package loader

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// minExchanges is how many flows' turns are followed at once, however small the table.
const minExchanges = 1 << 10

// Exchanges is of how many flows the turns are followed at once, in a table of so many: most have no
// requests, or are over.
func Exchanges(maxFlows int) int { return max(minExchanges, maxFlows/16*3) }

// ReadExchange reads the requests and answers at a place (model.Slot.Exchange), which stays valid until
// it is released. While nothing was answered, or nothing asked or answered beyond the numbers that the
// caller knows, it reads no more and returns false: most of two kilobytes are histograms. It takes the
// extremes with it: the next call has those of what came since.
func (l *Loader) ReadExchange(place uint32, into *model.Exchange, asked, answered uint32) bool {
	from := &l.table.exchanges.at[place-1]
	nowAsked, nowAnswered := atomic.LoadUint32(&from.Asked), atomic.LoadUint32(&from.Answered)
	if nowAnswered == 0 || nowAsked == asked && nowAnswered == answered {
		return false
	}
	into.Asked, into.Answered = nowAsked, nowAnswered
	into.Crossed = atomic.LoadUint32(&from.Crossed)
	into.AskedNS = atomic.LoadUint64(&from.AskedNs)
	into.AnsweredNS = atomic.LoadUint64(&from.AnsweredNs)
	decodeLatency(&into.Turn, &from.Turn, &from.TurnHist)
	decodeLatency(&into.Response, &from.Response, &from.ResponseHist)
	if int(place) <= l.table.breakdowns.reached {
		decodeBreakdown(&into.Breakdown, &l.table.breakdowns.at[place-1])
	}
	return true
}

func decodeLatency(to *model.ExchangeLatency, from *lotraceLtLatency, histogram *[model.HistogramBuckets]uint32) {
	to.SumNS = atomic.LoadUint64(&from.SumNs)
	width := atomic.SwapUint64(&from.RangeNs, 0)
	if to.MinNS, to.MaxNS = atomic.SwapUint64(&from.MinNs, 0), 0; to.MinNS != 0 {
		to.MaxNS = to.MinNS + width
	}
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
	l.table.exchanges.at[place-1] = lotraceLtExchange{}
	if int(place) <= l.table.breakdowns.reached {
		l.table.breakdowns.at[place-1] = lotraceLtBreakdown{}
	}
	if err := l.table.exchangesFree.Put(nil, place-1); err != nil {
		return fmt.Errorf("give exchange back: %w", err)
	}
	return nil
}

// Tell says which end of a slot is the client, of a connection that is older than we are: from then on
// its turns are followed.
func (l *Loader) Tell(index uint32, client uint8) {
	slot := &l.table.slots.at[index]
	slot.Client = client
	slot.Role = uint8(model.SlotRoleTold)
}
