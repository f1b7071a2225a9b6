package view

import (
	"net/netip"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
)

// A roll-up and a list of flows keep the memory of many rows no longer than there are many.
func TestMemoryOfManyIsLetGoOf(t *testing.T) {
	roll, flows := NewRoll(Service), new(model.Flows)
	fill := func(n int) {
		roll.Reset()
		flows.Reset()
		for i := range n {
			addr := netip.AddrFrom4([4]byte{127, byte(i >> 16), byte(i >> 8), byte(i)})
			flows.Append(&model.Flow{Proto: model.ProtoUDP, Client: model.Endpoint{Addr: addr}, Server: model.Endpoint{Addr: addr}})
		}
		roll.Add(flows)
		if roll.Len() != n {
			t.Fatalf("%d rows, want %d", roll.Len(), n)
		}
	}
	fill(50_000)
	fill(10)
	if len(roll.chunks) < 50_000/chunkRows {
		t.Error("it did not keep its memory for the next window")
	}
	fill(10)
	fill(10)
	if n := len(roll.chunks); n > fewRows/chunkRows {
		t.Errorf("%d chunks kept for 10 rows", n)
	}
}
