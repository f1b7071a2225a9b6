package live

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// mill is an engine that makes a window whenever it is asked, of a few flows that come and go, until it made enough.
type mill struct {
	fakeEngine
	rnd    *rand.Rand
	enough func(made int)
	made   int
	lists  map[*model.Flows]bool
	sum    model.Folder // of all that were made
}

func newMill(seed uint64, enough func(made int)) *mill {
	return &mill{rnd: rand.New(rand.NewPCG(seed, 1)), enough: enough, lists: make(map[*model.Flows]bool)}
}

func (m *mill) Window(rows *model.Flows) (*model.Window, error) {
	lo := netip.MustParseAddr("127.0.0.1")
	m.lists[rows] = true
	m.made++
	rows.Reset()
	w := &model.Window{Duration: time.Second, Flows: rows}
	for range m.rnd.IntN(6) {
		f := model.Flow{
			Site: 1, Proto: model.ProtoUDP, RoleSource: model.RoleFirst, BeganNS: uint64(1 + m.made/50), LastNS: [2]uint64{uint64(m.made)},
			Client: model.Endpoint{Addr: lo, Port: uint16(40000 + m.rnd.IntN(20))}, Server: model.Endpoint{Addr: lo, Port: 80},
		}
		n := uint64(1 + m.rnd.IntN(9))
		f.ToServer = model.Counters{Packets: n, Bytes: 100 * n, SKBs: n}
		testkit.Record(&f.Turn, time.Duration(n)*time.Millisecond)
		rows.Append(&f)
		w.Totals.Add(countOf(&f))
	}
	m.sum.Add(w)
	m.enough(m.made)
	return w, nil
}

func countOf(f *model.Flow) model.Count {
	return model.Count{SKBs: f.ToServer.SKBs, Packets: f.ToServer.Packets, Bytes: f.ToServer.Bytes}
}

// drawer takes windows over, and looks at what is its own as long as it likes.
type drawer struct {
	testing.TB
	handoff *Handoff
	took    int
	late    int
	sum     model.Folder
	newest  *model.Window
}

func (d *drawer) take() {
	w, late := d.handoff.Take()
	if w == nil {
		return
	}
	d.newest = w
	d.sum.Add(w)
	d.took++
	d.late += late
	d.look()
}

// look holds that the newest window is whole.
func (d *drawer) look() {
	if d.newest == nil {
		return
	}
	sum := d.newest.Overflow
	for f := range d.newest.Flows.All() {
		sum.Add(countOf(f))
	}
	if sum != d.newest.Totals {
		d.Errorf("rows and overflow are %+v, totals %+v", sum, d.newest.Totals)
	}
}

// drawers are ways of taking windows until ctx ends.
var drawers = map[string]func(ctx context.Context, d *drawer){
	"swift": func(ctx context.Context, d *drawer) {
		for awaits(ctx, d.handoff) {
			d.take()
		}
	},
	"slow": func(ctx context.Context, d *drawer) {
		for awaits(ctx, d.handoff) {
			d.take()
			for lateOnes(d.handoff) < 3 && ctx.Err() == nil {
				d.look()
			}
		}
	},
	"stuck after one": func(ctx context.Context, d *drawer) {
		if awaits(ctx, d.handoff) {
			d.take()
		}
		for ctx.Err() == nil {
			d.look()
		}
	},
	"stuck": func(ctx context.Context, _ *drawer) { <-ctx.Done() },
	"gone after five": func(ctx context.Context, d *drawer) {
		for d.took < 5 && awaits(ctx, d.handoff) {
			d.take()
		}
	},
}

// lateOnes is how many windows were folded into the one that waits.
func lateOnes(h *Handoff) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.folded
}

func awaits(ctx context.Context, h *Handoff) bool {
	select {
	case <-ctx.Done():
		return false
	case <-h.Ready():
		return true
	}
}

// The run goes on, however slowly windows are taken, and whenever it ends: what was taken and what still waits is all that
// there was.
func TestHandoff(t *testing.T) {
	const ends = 40
	for name, draw := range drawers {
		t.Run(name, func(t *testing.T) {
			for end := 1; end <= ends; end++ {
				checkHandoff(t, end, draw)
			}
		})
	}
}

// checkHandoff runs a mill until it made so many windows, and one or more at the end.
func checkHandoff(t *testing.T, end int, draw func(context.Context, *drawer)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m := newMill(uint64(end), func(made int) {
		if made == end {
			cancel()
		}
	})
	h := NewHandoff(1000)
	d := &drawer{TB: t, handoff: h}
	var drawing sync.WaitGroup
	drawing.Go(func() { draw(ctx, d) })
	if err := Loop(ctx, Timing{Interval: 1}, Parts{Engine: m}, h.Sinks()); err != nil {
		t.Fatal(err)
	}
	drawing.Wait()
	d.look()
	d.take() // what came last
	d.look()
	if w, _ := h.Take(); w != nil {
		t.Error("two windows waited")
	}
	if d.took+d.late != m.made {
		t.Errorf("took %d windows and %d that were folded into them, of %d", d.took, d.late, m.made)
	}
	if diff := cmp.Diff(plain(m.sum.Window()), plain(d.sum.Window())); diff != "" {
		t.Errorf("end %d: (-made +taken) %s", end, diff)
	}
}

// plain is what a window counts, by flow.
func plain(w *model.Window) []string {
	lines := []string{fmt.Sprint(w.Totals, w.Overflow, w.Duration)}
	for f := range w.Flows.All() {
		lines = append(lines, fmt.Sprint(f.Client.Port, f.BeganNS, f.LastNS, f.ToServer, f.Turn))
	}
	slices.Sort(lines)
	return lines
}

// Two lists are enough for one who keeps up: a window goes into the one that was taken before the newest.
func TestHandoffMakesNoMoreLists(t *testing.T) {
	h := NewHandoff(1000)
	m := newMill(1, func(int) {})
	d := &drawer{TB: t, handoff: h}
	for range 20 {
		w, err := m.Window(h.list())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.put(w); err != nil {
			t.Fatal(err)
		}
		d.look()
		select {
		case <-h.Ready():
			d.take()
		default:
			t.Fatal("nobody says that a window waits")
		}
	}
	if len(m.lists) != 2 || d.took != 20 {
		t.Errorf("%d lists for %d windows", len(m.lists), d.took)
	}
}

// While nobody takes windows, what waits keeps so many rows, and its totals.
func TestHandoffIsBounded(t *testing.T) {
	const most = 8
	h := NewHandoff(most)
	m := newMill(1, func(int) {})
	for range 500 {
		w, err := m.Window(h.list())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.put(w); err != nil {
			t.Fatal(err)
		}
	}
	w, late := h.Take()
	sum := w.Overflow
	for f := range w.Flows.All() {
		sum.Add(countOf(f))
		if f.LastNS[0] < 480 {
			t.Errorf("a row of a flow that was silent since %d is kept", f.LastNS[0])
		}
	}
	made := m.sum.Window().Totals
	if n := w.Flows.Len(); n < most || n > 2*most || late != 499 || sum != w.Totals || w.Totals != made || w.ByCause[model.ReportFull] != w.Overflow {
		t.Errorf("%d rows of %d windows, %+v, totals %+v, by cause %+v; made %+v", n, late+1, sum, w.Totals, w.ByCause, made)
	}
}
