package model

import (
	"errors"
	"time"
)

// ErrEnough is returned by what takes packets or turns when it has all it wants. It ends a run in good order.
var ErrEnough = errors.New("as many as asked for")

// Packet is one that a device has seen.
type Packet struct {
	Time       time.Time
	Data       []byte // from the MAC header on
	Length     int    // on the wire; at least that of Data
	ToServer   bool
	Flow       *Flow  // without counts
	OneIn      uint32 // how many packets this one stands for on average; 1: itself alone
	Retransmit bool
	Drop       string // why the kernel dropped it; "": it did not
}
