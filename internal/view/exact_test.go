package view

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// crowd returns flows between a few processes of every kind, of a seed.
func crowd(seed uint64, n int) []model.Flow {
	rnd := rand.New(rand.NewPCG(seed, 1))
	owners := []*model.Owner{nil, {Comm: model.KernelComm}}
	for i := range uint32(12) { // some share a PID, some a cgroup, some have none
		o := process(100+i/2, uint64(i), "p")
		o.UID = i / 6
		o.Cgroup = []string{"", "/a", "/b", "/a/b"}[i%4]
		owners = append(owners, o)
	}
	count := func() model.Counters {
		return model.Counters{Packets: rnd.Uint64N(1e6), Bytes: rnd.Uint64N(1e12), SKBs: rnd.Uint64N(1e6),
			PayloadBytes: rnd.Uint64N(1e12), Retransmits: rnd.Uint64N(9), RetransBytes: rnd.Uint64N(1e5)}
	}
	took := func() model.Latency {
		samples := make([]time.Duration, rnd.IntN(9))
		for i := range samples {
			samples[i] = time.Duration(rnd.ExpFloat64() * float64(time.Millisecond))
		}
		return latencyOf(samples...)
	}
	flows := make([]model.Flow, n)
	for i := range flows {
		addr := func() netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(rnd.IntN(3))}), uint16(rnd.IntN(9)))
		}
		client, server := addr(), addr()
		flows[i] = model.Flow{
			Netns:  uint32(rnd.IntN(2)),
			Proto:  []model.Proto{model.ProtoTCP, model.ProtoUDP, model.ProtoICMP}[rnd.IntN(3)],
			Client: model.Endpoint{Addr: client.Addr(), Port: client.Port(), Owner: owners[rnd.IntN(len(owners))]},
			Server: model.Endpoint{Addr: server.Addr(), Port: server.Port(), Owner: owners[rnd.IntN(len(owners))]},
			Tally:  model.Tally{ToServer: count(), ToClient: count(), Turn: took(), Response: took()},
		}
		flows[i].Site = 1 + flows[i].Netns
	}
	return flows
}

// latencyOf is what turns, or responses, of these lengths make.
func latencyOf(samples ...time.Duration) model.Latency {
	if len(samples) == 0 {
		return model.Latency{}
	}
	l := model.Latency{
		Count: uint64(len(samples)), Min: slices.Min(samples), Max: slices.Max(samples),
		Histogram: make([]uint64, model.HistogramBuckets),
	}
	for _, d := range samples {
		l.Sum += d
		l.Histogram[model.Bucket(d)]++
	}
	return l
}

// No roll-up loses or invents a byte, whoever owns what.
func TestRollUpsAreExact(t *testing.T) {
	for seed := range uint64(50) {
		flows := crowd(seed, 200)
		var toServer, toClient model.Counters
		for i := range flows {
			toServer.Add(flows[i].ToServer)
			toClient.Add(flows[i].ToClient)
		}
		var up, down model.Counters
		n := 0
		for _, s := range rowsOf(Service, model.NewFlows(flows...)) {
			up.Add(s.ToServer)
			down.Add(s.ToClient)
			n += s.Flows
		}
		if up != toServer || down != toClient || n != len(flows) {
			t.Errorf("seed %d: services make %d flows, %+v and %+v, want %+v and %+v", seed, n, up, down, toServer, toClient)
		}
		up, down, n = model.Counters{}, model.Counters{}, 0
		for _, p := range rowsOf(Pair, model.NewFlows(flows...)) {
			up.Add(p.ToServer)
			down.Add(p.ToClient)
			n += p.Flows
		}
		if up != toServer || down != toClient || n != len(flows) {
			t.Errorf("seed %d: pairs make %d flows, %+v and %+v, want %+v and %+v", seed, n, up, down, toServer, toClient)
		}
		all := toServer
		all.Add(toClient)
		for by, usages := range map[string][]Row{"process": rowsOf(Process, model.NewFlows(flows...)), "cgroup": rowsOf(Cgroup, model.NewFlows(flows...))} {
			var sent, received model.Counters
			for _, u := range usages {
				sent.Add(u.ToServer)
				received.Add(u.ToClient)
			}
			if sent != all || received != all {
				t.Errorf("seed %d: by %s %+v were sent and %+v received, want %+v", seed, by, sent, received, all)
			}
		}
	}
}

// Nor does any lose a turn. One between two processes is a turn of both.
func TestRollUpsKeepTurns(t *testing.T) {
	for seed := range uint64(50) {
		flows := crowd(seed, 200)
		var once, perProcess, services, pairs, processes model.Tally
		for _, f := range flows {
			of := model.Tally{Turn: f.Turn, Response: f.Response}
			once.Add(&of)
			perProcess.Add(&of)
			if Identify(f.Client.Owner) != Identify(f.Server.Owner) {
				perProcess.Add(&of)
			}
		}
		for _, s := range rowsOf(Service, model.NewFlows(flows...)) {
			services.Add(&model.Tally{Turn: s.Turn, Response: s.Response})
		}
		for _, p := range rowsOf(Pair, model.NewFlows(flows...)) {
			pairs.Add(&model.Tally{Turn: p.Turn, Response: p.Response})
		}
		for _, u := range rowsOf(Process, model.NewFlows(flows...)) {
			processes.Add(&model.Tally{Turn: u.Turn, Response: u.Response})
		}
		if !reflect.DeepEqual(services, once) || !reflect.DeepEqual(pairs, once) {
			t.Errorf("seed %d: services have %+v\npairs %+v\nflows %+v", seed, services, pairs, once)
		}
		if !reflect.DeepEqual(processes, perProcess) {
			t.Errorf("seed %d: processes have %+v\nwant %+v", seed, processes, perProcess)
		}
		if !reflect.DeepEqual(flows, crowd(seed, 200)) {
			t.Errorf("seed %d: the flows have changed", seed)
		}
	}
}

// The order of flows is nobody's promise, so no number may hang on it.
func TestRollUpsIgnoreOrder(t *testing.T) {
	flows := crowd(1, 300)
	backwards := slices.Clone(flows)
	slices.Reverse(backwards)
	for _, by := range []*By{Service, Pair, Process, Cgroup} {
		want, got := sorted(t, by, flows, "name"), sorted(t, by, backwards, "name")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("by %s:\ngot  %+v\nwant %+v", by.Name, got, want)
		}
	}
}

// sorted returns all rows of flows, in the order of a word.
func sorted(t *testing.T, by *By, flows []model.Flow, word string) (all []Row) {
	t.Helper()
	r := rollOf(by, model.NewFlows(flows...))
	rows, err := r.Rows(word, 0)
	if err != nil {
		t.Fatal(err)
	}
	for row := range rows.All() {
		all = append(all, *row)
	}
	return all
}

// The worst case of a roll-up: 10,000 flows with histograms, all of one service.
func BenchmarkMerge(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	flows := make([]model.Flow, 10_000)
	merge := func(b *testing.B) {
		packed := model.NewFlows(flows...)
		for b.Loop() {
			rowsOf(Service, packed)
		}
	}
	for i := range flows {
		flows[i] = flow(model.ProtoTCP, endpoint("127.0.0.1:50001", nil), endpoint("127.0.0.1:80", nil), 1, 1)
	}
	b.Run("flows", merge)
	for i := range flows {
		flows[i].Turn = latencyOf(time.Duration(rnd.ExpFloat64()*1e6), time.Duration(rnd.ExpFloat64()*1e9))
	}
	b.Run("turns", merge)
	for i := range flows {
		flows[i].Response = latencyOf(time.Duration(rnd.ExpFloat64()*1e6), time.Duration(rnd.ExpFloat64()*1e9))
	}
	b.Run("turns and responses", merge)
}
