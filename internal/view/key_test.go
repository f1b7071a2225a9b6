package view

import (
	"slices"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
)

// The kernel may give a namespace the inode number of one that has gone: rows of two sites are never one.
func TestKeysCarryTheSite(t *testing.T) {
	here := flow(model.ProtoTCP, endpoint("127.0.0.1:50001", process(1, 1, "curl")), endpoint("127.0.0.1:80", nil), 1, 1)
	there := here
	there.Site = 2
	for _, by := range []*By{Pair, Service, Flow} {
		if by.KeyOf(&here) == by.KeyOf(&there) {
			t.Errorf("by %s: flows of two sites have one key", by.Name)
		}
	}
	if rows := rowsOf(Service, model.NewFlows(here, there)); len(rows) != 2 {
		t.Errorf("%d services at two sites", len(rows))
	}
}

// A flow keeps its key when it becomes known which end is the client, and another flow of the same ends has another.
func TestFlowKeyIsIdentity(t *testing.T) {
	guessed := flow(model.ProtoTCP, endpoint("127.0.0.1:50001", nil), endpoint("127.0.0.1:50002", nil), 1, 1)
	guessed.BeganNS = 7
	known, later := guessed, guessed
	known.Client, known.Server = guessed.Server, guessed.Client
	later.BeganNS = 8
	if Flow.KeyOf(&guessed) != Flow.KeyOf(&known) {
		t.Error("a flow has another key with its ends turned round")
	}
	if Flow.KeyOf(&guessed) == Flow.KeyOf(&later) {
		t.Error("a later flow of the same ends has the key of the one before")
	}
}

// Rows are put in order by who is the client, which the key does not say.
func TestPositions(t *testing.T) {
	var all []Position
	for _, ends := range [][2]string{
		{"127.0.0.1:50001", "127.0.0.1:80"}, {"127.0.0.1:70", "127.0.0.1:80"}, {"127.0.0.1:80", "127.0.0.1:70"}, {"127.0.0.1:50000", "127.0.0.1:80"},
	} {
		f := flow(model.ProtoTCP, endpoint(ends[0], nil), endpoint(ends[1], nil), 1, 1)
		all = append(all, RowOf(&f).Position())
	}
	check := func(compare func(a, b *Position) int, want ...int) {
		t.Helper()
		order := []int{0, 1, 2, 3}
		slices.SortFunc(order, func(i, j int) int { return compare(&all[i], &all[j]) })
		if !slices.Equal(order, want) {
			t.Errorf("in the order %v, want %v", order, want)
		}
	}
	check((*Position).Compare, 1, 2, 3, 0)        // by the client
	check((*Position).CompareService, 2, 1, 3, 0) // by the service, then by the client
}

// Rows of one service stand together, whatever other sites have.
func TestServicesOfSitesStandTogether(t *testing.T) {
	var all []Position
	for i, site := range []uint32{2, 1, 2, 1} {
		f := flow(model.ProtoTCP, endpoint("127.0.0.1:50001", process(uint32(i+1), 1, "curl")), endpoint("127.0.0.1:80", nil), 1, 1)
		f.Site = site
		row := RowOf(&f)
		row.Key = Pair.KeyOf(&f)
		all = append(all, row.Position())
	}
	slices.SortFunc(all, func(a, b Position) int { return a.CompareService(&b) })
	var sites []uint32
	for _, p := range all {
		sites = append(sites, p.site)
	}
	if !slices.Equal(sites, []uint32{1, 1, 2, 2}) {
		t.Errorf("sites in the order %d", sites)
	}
}
