package tui

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

const manyFlows = 100_000

// crowd is many flows of as many clients and services, of which a fifth has turns and responses.
func crowd(flows, clients, services int) *window {
	owners := make([]*model.Owner, clients)
	for i := range owners {
		owners[i] = process(uint32(i+1), fmt.Sprintf("client%d", i), "client --number", "client.service")
	}
	server := process(1<<20, "server", "server", "server.service")
	local := netip.MustParseAddr("127.0.0.1")
	s := window{Flows: make([]model.Flow, flows)}
	for i := range s.Flows {
		c := i % clients
		f := &s.Flows[i]
		*f = model.Flow{
			Proto: model.ProtoTCP, State: "established", RoleSource: model.RoleSYN,
			Client: model.Endpoint{Addr: netip.AddrFrom4([4]byte{127, 0, byte(i >> 16), 1}), Port: uint16(i), Owner: owners[c]},
			Server: model.Endpoint{Addr: local, Port: uint16(8000 + c%services), Owner: server},
			Tally:  model.Tally{ToServer: sent(uint64(i%7), uint64(i*31%9973)), ToClient: sent(uint64(i%5), uint64(i*17%9973))},
		}
		if i%5 == 0 {
			for k := range 20 {
				testkit.Record(&f.Turn, time.Duration(k*k+i%100)*time.Microsecond)
				testkit.Record(&f.Response, time.Duration(2*k*k+i%100)*time.Microsecond)
			}
		}
	}
	return finish(1, s)
}

// strangers are as many services, a datagram each, of one client.
func strangers(flows int) *window {
	s := crowd(flows, 1, 1)
	for i := range s.Flows {
		f := &s.Flows[i]
		f.Proto, f.State, f.RoleSource = model.ProtoUDP, "", model.RoleFirst
		f.Client.Addr, f.Client.Port = netip.MustParseAddr("127.0.0.1"), 40000
		f.Server.Addr = netip.AddrFrom4([4]byte{127, 1 + byte(i>>16), byte(i >> 8), byte(i)})
		f.ToServer, f.ToClient, f.Turn = sent(1, 100), model.Counters{}, model.Latency{}
		f.Response = model.Latency{}
	}
	return finish(1, window{Flows: s.Flows})
}

// reportCPU adds the CPU time of a round, which other programs do not make longer.
func reportCPU(b *testing.B, round func()) {
	used := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
			b.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	before := used()
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64(used()-before)/float64(b.N)/float64(time.Millisecond), "cpu-ms/op")
}

// A frame is what the view does once a second: take the window and draw it.
func BenchmarkFrame(b *testing.B) {
	for _, bench := range []struct {
		name              string
		clients, services int
		options           Options
		keys              []string
	}{
		{"service", 200, 20, Options{}, nil},
		{"service, by p99 over a minute", 200, 20, Options{Sort: "p99"}, []string{"3"}},
		{"pair", 200, 20, Options{By: "pair"}, nil},
		{"flow", 200, 20, Options{By: "flow"}, nil},
		{"process", 200, 20, Options{By: "process"}, nil},
		{"cgroup", 200, 20, Options{By: "cgroup"}, nil},
		{"filtered", 200, 20, Options{}, []string{"/", "type:port:8003", "enter"}},
		{"a client each", manyFlows, 20, Options{}, nil},
		{"a service each", 0, 0, Options{}, nil},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s := strangers(manyFlows)
			if bench.clients > 0 {
				s = crowd(manyFlows, bench.clients, bench.services)
			}
			m := screenOf(b, bench.options, 200, 60, []*window{s}, bench.keys...)
			f := frame(s)
			b.ReportAllocs()
			reportCPU(b, func() {
				m.Update(f)
				m.View()
			})
		})
	}
}

// BenchmarkKey is from a key to the screen that shows what it did.
func BenchmarkKey(b *testing.B) {
	for _, key := range []string{"down", "s", "2", "g", "right"} {
		b.Run(key, func(b *testing.B) {
			m := screenOf(b, Options{}, 200, 60, []*window{crowd(manyFlows, 200, 20)})
			reportCPU(b, func() {
				press(m, key)
				m.View()
			})
		})
	}
}
