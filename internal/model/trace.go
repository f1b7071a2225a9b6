package model

import "time"

// Traced is one thing that happened on a flow: of Turn and Conn one is there.
type Traced struct {
	Time time.Time // Turn: when the request had left
	Flow *Flow     // its ends; what it counts is this turn alone
	Turn *Turn
	Conn *ConnEvent
}

// Turn is one request and its answer.
type Turn struct {
	Number       uint32 // of the request on its flow, from 1
	AskedNS      uint64 // CLOCK_MONOTONIC of the request's last payload
	RequestBytes uint64 // payload; 0: unknown
	AnswerBytes  uint64 // payload so far; 0: unknown
	Took         time.Duration
	Response     time.Duration // so far; 0: unknown
	Complete     bool          // the answer has ended
	Parts        *SlowParts    // nil: unknown
	Retransmits  uint64        // segments sent again from the request to here, with SampleErrors
	Drops        uint64        // packets dropped, likewise
	Request      []byte        // how it begins, as far as that was asked for; nil: unknown
	Answer       []byte
}

// ConnChange is what happened to a TCP connection.
type ConnChange string

// The changes.
const (
	ConnOpen    ConnChange = "open"    // the server's end accepted the handshake
	ConnRefused ConnChange = "refused" // it answered with a RST
	ConnClosed  ConnChange = "closed"  // both ends said that they were done
	ConnReset   ConnChange = "reset"
)

// ConnEvent is a change of a TCP connection.
type ConnEvent struct {
	Change     ConnChange
	ByServer   bool          // who reset it or closed it first; meaningless while it opens
	Lasted     time.Duration // since its SYN; 0: unknown
	Unanswered uint64        // payload of a request that stays without an answer
}

// TraceCounts says what became of what happened: all was either shown or left out.
type TraceCounts struct {
	Turns, Conns               uint64 // that matched
	ShownTurns, ShownConns     uint64
	LimitedTurns, LimitedConns uint64 // left out by the limit
	Forgotten                  uint64 // requests under way for which there was no memory left
}

// TraceSummary is what is said when a trace ends.
type TraceSummary struct {
	Start, End time.Time
	Origin     Origin
	Counts     TraceCounts
	Samples    SampleCounts // of packets in which something begins or ends
}

// TraceGap is what a limit hid within a second.
type TraceGap struct {
	Turns, Conns uint64
	Longest      time.Duration // of the turns
}
