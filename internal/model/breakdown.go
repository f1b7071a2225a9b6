package model

import (
	"time"
)

// Breakdown is where the time of turns went: Delivery, Wait and Think add up to the turns' sum. The zero
// value is none.
type Breakdown struct {
	Turns     uint64        // of which it is known
	Delivered uint64        // of these, turns whose Delivery is known; of the others it is part of Wait
	Delivery  time.Duration // sum: from a request's last payload to the server's socket
	Wait      time.Duration // sum: from there until the server's process read it
	Think     time.Duration // sum: from there to the first payload of the answer
	Backs     uint64        // answers of which Back is known
	Back      time.Duration // sum: from there until the client's process read it; after the turn
}

// Add adds o to b.
func (b *Breakdown) Add(o *Breakdown) {
	b.Turns += o.Turns
	b.Delivered += o.Delivered
	b.Delivery += o.Delivery
	b.Wait += o.Wait
	b.Think += o.Think
	b.Backs += o.Backs
	b.Back += o.Back
}

// Sub returns b less o; both cumulative, o the older.
func (b Breakdown) Sub(o *Breakdown) Breakdown {
	return Breakdown{
		Turns:     b.Turns - o.Turns,
		Delivered: b.Delivered - o.Delivered,
		Delivery:  b.Delivery - o.Delivery,
		Wait:      b.Wait - o.Wait,
		Think:     b.Think - o.Think,
		Backs:     b.Backs - o.Backs,
		Back:      b.Back - o.Back,
	}
}

// SlowParts is where the time of one slow turn went; the sum is the turn.
type SlowParts struct{ Delivery, Wait, Think time.Duration }
