package owner_test

import (
	"os"
	"testing"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/owner"
	"github.com/lotrace/lotrace/internal/stats"
	"github.com/lotrace/lotrace/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.RunRole()
	os.Exit(m.Run())
}

// rig is everything that names owners, watching a namespace of the test's own.
type rig struct {
	testing.TB
	ns       *testkit.Netns
	loader   *loader.Loader
	resolver *owner.Resolver
	engine   *stats.Engine
}

// newRig watches a new namespace from now on.
func newRig(tb testing.TB, c loader.Config) *rig {
	tb.Helper()
	testkit.RequireRoot(tb)
	return newRigIn(tb, testkit.NewNetns(tb), c)
}

// newRigIn watches ns from now on; what is there already is older than lotrace.
func newRigIn(tb testing.TB, ns *testkit.Netns, c loader.Config) *rig {
	tb.Helper()
	c.Netns = ns.Path()
	c.LongWay = testkit.LongWay()
	l, err := loader.Open(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	listeners, err := l.Listeners()
	if err != nil {
		tb.Fatal(err)
	}
	config := owner.Config{Scan: l.Holders, Engines: []string{}}
	if !c.Learns(loader.LearnHolders) {
		config.Scan = nil
	}
	r := &rig{TB: tb, ns: ns, loader: l, resolver: owner.New(config)}
	tb.Cleanup(func() { r.resolver.Close() })
	if err := r.resolver.ScanNow(); err != nil {
		tb.Fatal(err)
	}
	r.engine, err = stats.Start(l, stats.Config{
		MaxFlows: loader.DefaultFlows, Owners: r.resolver, Listeners: listeners,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// window shows what happened since the last one, once all packets are counted.
func (r *rig) window() *model.Window {
	r.Helper()
	testkit.Quiesce(r.ns)
	s, err := r.engine.Window(new(model.Flows))
	if err != nil {
		r.Fatal(err)
	}
	return s
}
