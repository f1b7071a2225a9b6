package stats

import "github.com/lotrace/lotrace/internal/reading"

// Source is what the engine counts from: the kernel, a recording, or a test. Reading changes nothing there; the
// engine alone takes, releases and retires.
type Source interface {
	Slots
	Exchanges
	HealthPlaces
	// ReadQueues reads what sockets have in their queues, reusing r's memory. Where it fails the rest of the
	// reading is none the worse.
	ReadQueues(r *reading.Reading) error
}

// Slots is a source's flow table.
type Slots interface {
	// Read takes a whole reading but for the queues, reusing r's memory. Where it fails r.Slow may have slow
	// turns that are told once only; the rest of r is of no use.
	Read(r *reading.Reading) error
	// ReadSlots reads the flow table, the clock and what there is of slow turns only. It fails as Read does.
	ReadSlots(r *reading.Reading) error
	// ReadSlot reads what there is to say of a slot of the newest reading but its counts: to says which.
	ReadSlot(to *reading.Slot)
	// Retire frees slots of the newest reading and appends what they were at last to into.
	Retire(slots []uint32, into []reading.Slot) ([]reading.Slot, error)
}

// Exchanges is the requests and answers of a source's slots, by place: reading.Slot.Exchange.
type Exchanges interface {
	// ReadExchange reads a place into into. While nothing was answered, or nothing came since known was read,
	// it returns false and leaves into alone. A nil known is older than all.
	ReadExchange(place uint32, into, known *reading.Exchange) bool
	// TakeExtremes puts the smallest and the largest latencies since it was called last into into.
	TakeExtremes(place uint32, into *reading.Exchange)
	// ReleaseExchange gives the place of a slot that was freed back.
	ReleaseExchange(place uint32) error
	// Tell says which end (0 or 1) of a slot is the client where nobody saw the handshake.
	Tell(index uint32, client uint8)
}

// Health is what went wrong on a source's slots, by place: reading.Slot.Health.
type HealthPlaces interface {
	// ReadHealth reads a place into into.
	ReadHealth(place uint32, into *reading.Health)
	// ReleaseHealth gives the place of a slot that was freed back.
	ReleaseHealth(place uint32) error
}
