package model

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// packable is a flow with a value in every field, the n-th of its kind.
func packable(n uint64, owner *Owner) Flow {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := Flow{Tally: Tally{Health: &Health{}}, AcceptQueue: &AcceptQueue{}}
	eachNumber(reflect.ValueOf(&f).Elem(), func(number reflect.Value) {
		if number.CanSet() && number.Type() != reflect.TypeFor[Proto]() {
			n++
			set(number, n%60000)
		}
	})
	f.Proto, f.State, f.RoleSource = ProtoTCP, "established", RoleSYN
	f.Client.Addr, f.Server.Addr = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	f.Client.Owner = owner
	f.Turn, f.Response, f.Connect = Latency{}, Latency{}, Latency{}
	for i := range 5 {
		record(&f.Turn, time.Duration(n*uint64(i))*time.Microsecond)
		record(&f.Response, time.Duration(n+uint64(i))*time.Millisecond)
	}
	f.FirstSeen, f.LastSeen = begin.Add(-time.Duration(n)*time.Second), begin.Add(time.Duration(n))
	f.Closed = true
	f.Connect = Single(f.Handshake)
	return f
}

// differing are flows that are packed in every way there is.
func differing() []Flow {
	owners := []*Owner{{PID: 1}, {PID: 2}, nil}
	with := func(change func(f *Flow)) Flow {
		f := packable(7, owners[0])
		change(&f)
		return f
	}
	plain := Flow{
		Proto: ProtoUDP, RoleSource: RoleFirst,
		Client: Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 1},
		Server: Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 2},
	}
	plain.FirstSeen, plain.LastSeen = packable(1, nil).FirstSeen, packable(1, nil).LastSeen
	return []Flow{
		packable(1, owners[0]), packable(100, owners[1]), packable(1000, owners[2]), plain,
		with(func(f *Flow) { f.Server.Owner = owners[0] }),
		with(func(f *Flow) { f.ToClient = Counters{Bytes: 1 << 40} }),
		with(func(f *Flow) { f.ToServer, f.ToClient = Counters{Packets: 1}, Counters{SKBs: 1<<32 - 1} }),
		with(func(f *Flow) { f.Client.Addr, f.Server.Addr = netip.IPv6Loopback(), netip.MustParseAddr("fe80::1%lo") }),
		with(func(f *Flow) { f.Turn, f.Health, f.State = Latency{}, nil, "closed" }),
		with(func(f *Flow) { f.Response, f.Crossed, f.Breakdown = Latency{}, 0, Breakdown{} }),
	}
}

// Any row may become any other flow's.
func TestSet(t *testing.T) {
	flows := differing()
	for i := range flows {
		for j := range flows {
			p := NewFlows(flows[0], flows[i], flows[0])
			p.Set(1, &flows[j])
			for row, want := range []*Flow{&flows[0], &flows[j], &flows[0]} {
				if got := p.At(row); !reflect.DeepEqual(got, want) {
					t.Errorf("row %d, once flow %d was flow %d\ngot  %+v\nwant %+v", row, i, j, *got, *want)
				}
			}
		}
	}
}

func TestFlows(t *testing.T) {
	flows := differing()
	var p Flows
	for round := range 2 {
		p.Reset()
		for i := range flows {
			p.Append(&flows[i])
		}
		clone := p.Clone()
		for name, list := range map[string]*Flows{"list": &p, "clone": clone} {
			if list.Len() != len(flows) {
				t.Fatalf("%s, round %d: %d flows, want %d", name, round, list.Len(), len(flows))
			}
			var errors uint64
			for i := range flows {
				errors += flows[i].Health.Errors()
				if got := list.At(i); !reflect.DeepEqual(*got, flows[i]) {
					t.Errorf("%s, round %d: flow %d\ngot  %+v\nwant %+v", name, round, i, *got, flows[i])
				}
				if got, want := list.Bytes(i), flows[i].ToServer.Bytes+flows[i].ToClient.Bytes; got != want {
					t.Errorf("%s, round %d: flow %d has %d bytes, want %d", name, round, i, got, want)
				}
			}
			if got := list.Errors(); got != errors || !list.HasBreakdown() || NewFlows(flows[9]).HasBreakdown() {
				t.Errorf("%s, round %d: %d errors, want %d; breakdown %v", name, round, got, errors, list.HasBreakdown())
			}
		}
	}
}

// A clone stays as it is when the list is filled anew.
func TestPackedClone(t *testing.T) {
	var p Flows
	was, next := packable(1, &Owner{PID: 1}), packable(9, &Owner{PID: 2})
	p.Append(&was)
	clone := p.Clone()
	p.Reset()
	p.Append(&next)
	if got := clone.At(0); !reflect.DeepEqual(*got, was) {
		t.Errorf("got  %+v\nwant %+v", *got, was)
	}
}

// A flow that only counts takes less than a fifth of a Flow, and no allocation of its own.
func TestPackedSize(t *testing.T) {
	if packed, flow := reflect.TypeFor[packedFlow]().Size(), reflect.TypeFor[Flow]().Size(); packed > flow/5 {
		t.Errorf("a row takes %d bytes, a Flow %d", packed, flow)
	}
	var p Flows
	f := Flow{Client: Endpoint{Owner: &Owner{PID: 1}}}
	f.Client.Addr, f.Server.Addr = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1")
	fillAgain := func() {
		p.Reset()
		for range 1000 {
			p.Append(&f)
		}
	}
	fillAgain()
	if n := testing.AllocsPerRun(3, fillAgain); n > 0 {
		t.Errorf("%.0f allocations to fill it again", n)
	}
}
