package reading

import "github.com/lotrace/lotrace/internal/model"

// Exchange is the requests and answers of one slot, cumulative, as the kernel counts them.
type Exchange struct {
	Asked      uint32 // requests
	Answered   uint32 // answers, which is the newest request that has one
	Crossed    uint32 // requests sent before all of the answer before had come
	AskedNS    uint64 // CLOCK_MONOTONIC of the newest request's newest payload
	AnsweredNS uint64 // the same of the newest answer
	Turn       ExchangeLatency
	Response   ExchangeLatency // of the newest answer only if there is a request again: else it may go on
	Breakdown  model.Breakdown
}

// ExchangeLatency is one kind of latency of an exchange, cumulative.
type ExchangeLatency struct {
	SumNS     uint64
	MinNS     uint64 // since the extremes were taken last; 0: none
	MaxNS     uint64 // the same
	Histogram [model.HistogramBuckets]uint32
}

// Progress is how far a flow has come.
type Progress struct {
	Sent       [2]uint64 // payload, by end of the slot's key
	Asked      uint32    // requests
	Answered   uint32    // the newest request that has an answer
	AnsweredNS uint64    // CLOCK_MONOTONIC of the newest answer's newest payload
}
