package loader

import (
	"os"
	"testing"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/refparse"
	"github.com/lotrace/lotrace/internal/testkit"
)

// expressions are such as the kernel can test whole, in part, and not at all.
var expressions = []string{
	"tcp", "!udp", "proto:icmp,132,47", "ip6 or icmp", "port:80", "port:0-40000 !tcp", "!(port:80 or ip6)",
	"addr:127.0.0.0/8", "addr:::1,10.0.0.0/9", "addr:::/0", "!addr:::ffff:127.0.0.0/97", "localhost", "family:ipv4",
	"tcp bytes>5", "udp or comm:a", "!(tcp pid:1)", "sport:80 udp", "port:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17 tcp", "",
}

// filtering is a bench whose filter is another for every run.
type filtering struct{ *bench }

func newFiltering(tb testing.TB, kind hook.Kind) filtering {
	tb.Helper()
	any := reading.KernelFilter{{OnTrue: reading.FilterAccept, OnFalse: reading.FilterAccept}}
	return filtering{newBench(tb, Config{Hook: kind, MaxFlows: MinFlows, Filter: any})}
}

// check has the kernel and the two ways of Go judge one packet.
func (b filtering) check(tb testing.TB, expr string, frame []byte) {
	tb.Helper()
	f, err := filter.Parse(expr)
	packet := refparse.Parse(frame)
	if err != nil || packet.Reason != refparse.OK {
		return
	}
	prog, exact := f.Kernel()
	if len(prog) == 0 {
		return // the kernel is not asked
	}
	if err := b.coll.Variables["filter"].Set(encodeFilter(prog)); err != nil {
		tb.Fatal(err)
	}
	got, err := b.run(frame)
	if err != nil {
		tb.Fatalf("run % x: %v", frame, err)
	}
	accepted := got.Reasons["counted"].SKBs == 1
	if got.Verdict != b.verdict || accepted == (got.Reasons["filtered"].SKBs == 1) || accepted != (len(got.Slots) == 1) {
		tb.Fatalf("%q: %+v: % x", expr, got, frame)
	}
	key, _ := packet.Key(b.netns.Inode)
	if want := filter.Run(prog, key); accepted != want {
		tb.Errorf("%q: accepted %v, by the reference %v: %v\n%v", expr, accepted, want, key, prog)
	}
	for _, flow := range flowsOf(key) {
		if match := f.Match(&flow); match && !accepted || exact && match != accepted {
			tb.Errorf("%q: accepted %v, matches %v (exact %v): %v\n%v", expr, accepted, match, exact, key, prog)
		}
	}
}

// flowsOf has either end as the client: what the kernel can test does not ask.
func flowsOf(key model.Key) []model.Flow {
	a := model.Endpoint{Addr: key.A.Addr(), Port: key.A.Port()}
	b := model.Endpoint{Addr: key.B.Addr(), Port: key.B.Port()}
	return []model.Flow{{Proto: key.Proto, Client: a, Server: b}, {Proto: key.Proto, Client: b, Server: a}}
}

func TestKernelRunsFilters(t *testing.T) {
	eachHook(t, func(t *testing.T, plain *bench) {
		b := newFiltering(t, plain.kind)
		for _, expr := range expressions {
			for _, packet := range testkit.Corpus() {
				b.check(t, expr, packet.Frame)
			}
		}
	})
}

// FuzzFilter: the kernel's verdict is that of Go's reference, and lets through at least what matches.
func FuzzFilter(f *testing.F) {
	if os.Getuid() != 0 {
		f.Skip("running BPF programs needs root")
	}
	for i, packet := range testkit.Corpus() {
		f.Add(expressions[i%len(expressions)], packet.Frame)
	}
	for i, doc := range filter.Terms() {
		f.Add(doc.Example, testkit.Corpus()[i%len(testkit.Corpus())].Frame)
	}
	tc, xdp := newFiltering(f, hook.TCX), newFiltering(f, hook.XDP)
	f.Fuzz(func(t *testing.T, expr string, frame []byte) {
		if len(frame) < etherHeader || len(frame) > 2048 {
			return
		}
		tc.check(t, expr, frame)
		xdp.check(t, expr, frame)
	})
}
