package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// servers is a frame in which server i got so many bytes.
func servers(n int, bytes ...uint64) *window {
	client := process(1, "client", "client", "")
	var s window
	for i, b := range bytes {
		if b == 0 {
			continue
		}
		s.Flows = append(s.Flows, model.Flow{
			Proto: model.ProtoTCP, State: "established", Client: endpoint(fmt.Sprintf("127.0.0.1:%d", 40000+i), client),
			Server: endpoint(fmt.Sprintf("127.0.0.1:%d", 80+i), process(uint32(100+i), fmt.Sprintf("s%d", i), "", "")), Tally: model.Tally{ToServer: sent(1, b)},
		})
	}
	return finish(n, s)
}

// order is the names of the servers, as the rows have them.
func order(m *Model) string {
	var names []string
	for _, r := range m.rows {
		name, _, _ := strings.Cut(m.serverCell(r.node), " ")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestOrder(t *testing.T) {
	m := screenOf(t, Options{}, 80, 24, []*window{servers(1, 30, 20, 10)})
	expect := func(what, want string) {
		t.Helper()
		if got := order(m); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	expect("at first", "s0 s1 s2")
	m.Update(frame(servers(2, 10, 20, 30)))
	expect("nobody looks", "s2 s1 s0")
	press(m, "down", "down") // s0
	m.Update(frame(servers(3, 90, 20, 30)))
	expect("the cursor is on s0", "s2 s1 s0")
	m.Update(frame(servers(4, 90, 40, 30)))
	expect("and keeps it there", "s1 s2 s0")
	if !strings.Contains(at(m), "s0") {
		t.Errorf("the cursor is on %q", at(m))
	}
	press(m, "home")
	expect("it lets go", "s0 s1 s2")
	press(m, "o")
	m.Update(frame(servers(5, 10, 20, 30, 99)))
	expect("frozen, a new one comes last", "s0 s1 s2 s3")
	press(m, "o")
	m.Update(frame(servers(6, 10, 20, 30, 99)))
	expect("thawed", "s3 s2 s1 s0")
	m.Update(frame(servers(7, 50, 50, 50, 50)))
	expect("equals go by their address", "s0 s1 s2 s3")
}

// The cursor's row stays on its line while others come and go above it.
func TestCursorKeepsItsLine(t *testing.T) {
	var many []uint64
	for i := range 50 {
		many = append(many, uint64(1000-i))
	}
	m := screenOf(t, Options{}, 80, 24, []*window{servers(1, many...)}, "pgdown", "pgdown")
	line, name := m.cursorLine(), at(m)
	for i := range 5 { // those above it speak no more, and are forgotten by and by
		many[i] = 0
	}
	for n := range 15 {
		m.Update(frame(servers(2+n, many...)))
		if at(m) != name || m.cursorLine() != line {
			t.Fatalf("frame %d: %q on line %d, was %q on line %d", n, at(m), m.cursorLine(), name, line)
		}
	}
	if strings.Contains(order(m), "s1 ") {
		t.Errorf("silent for 15 s, and still there: %s", order(m))
	}
}

// A row that is silent stays a while, and its cursor goes to the next one after that.
func TestForget(t *testing.T) {
	m := screenOf(t, Options{}, 80, 24, []*window{servers(1, 30, 20, 10)})
	press(m, "t")
	for n := range 9 {
		m.Update(frame(servers(2+n, 0, 20, 10)))
	}
	if got := order(m); got != "s1 s2 s0" {
		t.Errorf("after 9 s: %s", got)
	}
	m.Update(frame(servers(11, 0, 20, 10)))
	m.Update(frame(servers(12, 0, 20, 10)))
	if got := order(m); got != "s1 s2" {
		t.Errorf("after 11 s: %s", got)
	}
	press(m, "3")
	for n := range 30 {
		m.Update(frame(servers(13+n, 0, 0, 10)))
	}
	if got := order(m); got != "s2 s1" {
		t.Errorf("over a minute those of the last 30 s belong to it: %s", got)
	}
}

// Windows are sums over what the frames took, and what was not looked at is not taken for nothing.
func TestWindows(t *testing.T) {
	m := screenOf(t, Options{}, 120, 24, []*window{servers(1, 100), servers(2, 200), servers(3, 600)})
	rate := func() float64 { return perSecond(m.rows[0].shown.toServer, m.rows[0].node) }
	if got := rate(); got != 600 {
		t.Errorf("a second: %v", got)
	}
	press(m, "2")
	if got := rate(); got != 300 {
		t.Errorf("three seconds: %v", got)
	}
	press(m, "right", "down") // its connection was there before, and nobody counted
	if f := m.rows[1].node; f.kind != kindFlow || perSecond(f.shown.toServer, f) != 600 {
		t.Errorf("the connection: %v a second over %v", perSecond(f.shown.toServer, f), f.truly)
	}
	press(m, "g", "g", "g") // by process
	m.Update(frame(servers(4, 400)))
	m.Update(frame(servers(5, 500)))
	press(m, "g", "g") // by service again
	m.Update(frame(servers(6, 300)))
	if got := rate(); got != 400 {
		t.Errorf("after two frames that were seen: %v", got)
	}
}

// A pause has its own copy to show: the frame that it was made from is overwritten.
func TestPauseKeepsTheFrame(t *testing.T) {
	lent := frame(shop(1))
	m := screenOf(t, Options{}, 120, 40, nil)
	m.Update(lent)
	press(m, "space")
	rows := func() string {
		all, _, _ := strings.Cut(text(m), "? help")
		return all
	}
	was := rows()
	press(m, "right")
	opened := rows()
	press(m, "left")
	flows := lent.Flows.Len()
	lent.Flows.Reset()
	for other := shop(2).Flows[0]; lent.Flows.Len() < flows; {
		lent.Flows.Append(&other)
	}
	*lent.Window = model.Window{Flows: lent.Flows}
	m.Update(frame(servers(2, 1)))
	press(m, "right")
	if got := rows(); got != opened {
		t.Errorf("opened later:\n%s\nat once:\n%s", got, opened)
	}
	press(m, "left", "space", "home")
	m.Update(frame(servers(3, 1)))
	if rows() == was {
		t.Error("it goes on being paused")
	}
}

// A service has the past of its clients, whether it always had several, or one that others came to.
func TestPastOfAService(t *testing.T) {
	// ask is a frame in which client i of the server sent so many bytes.
	ask := func(n int, bytes ...uint64) Frame {
		var s window
		for i, b := range bytes {
			if b == 0 {
				continue
			}
			f := model.Flow{
				Proto: model.ProtoTCP, Client: endpoint("127.0.0.1:40000", process(uint32(i+1), "client", "", "")),
				Server: endpoint("127.0.0.1:80", nil), Tally: model.Tally{ToServer: sent(1, b)},
			}
			testkit.Record(&f.Turn, time.Millisecond)
			f.Health = &model.Health{Refused: 1}
			s.Flows = append(s.Flows, f)
		}
		return frame(finish(n, s))
	}
	m := screenOf(t, Options{}, 80, 24, nil, "2")
	past := func(of kind) (sums []sample) {
		for _, n := range m.nodes {
			if n.kind == of {
				sums = append(sums, n.past.sum(m.clock.frame, slots))
			}
		}
		slices.SortFunc(sums, func(a, b sample) int { return cmp.Compare(a.toServer, b.toServer) })
		return sums
	}
	for n, step := range []struct {
		bytes        []uint64
		service      sample
		first, other uint64
	}{
		{[]uint64{10}, sample{10, 0, 1, 1}, 10, 0},
		{[]uint64{20}, sample{30, 0, 2, 2}, 30, 0},
		{[]uint64{0, 100}, sample{130, 0, 3, 3}, 30, 100},
		{[]uint64{40, 200}, sample{370, 0, 5, 5}, 70, 300},
		{[]uint64{1}, sample{371, 0, 6, 6}, 71, 300},
	} {
		m.Update(ask(n+1, step.bytes...))
		press(m, "right", "left") // collected again
		if got := past(kindService); len(got) != 1 || got[0] != step.service {
			t.Errorf("frame %d: services %v, want %v", n+1, got, step.service)
		}
		pairs := past(kindPair)
		if pairs[0].toServer != step.first || len(pairs) > 1 && pairs[1].toServer != step.other {
			t.Errorf("frame %d: pairs %v, want %d and %d bytes", n+1, pairs, step.first, step.other)
		}
	}
}

// Memory does not grow with the number of clients that come and go.
func TestBounds(t *testing.T) {
	m := screenOf(t, Options{}, 80, 24, nil)
	pid := uint32(0)
	for n := range 5 {
		var s window
		for i := range maxNodes {
			pid++
			s.Flows = append(s.Flows, model.Flow{
				Proto: model.ProtoTCP, Client: endpoint(fmt.Sprintf("127.0.0.1:%d", 1000+i), process(pid, "curl", "", "")),
				Server: endpoint(fmt.Sprintf("127.0.0.2:%d", 1000+i), nil), Tally: model.Tally{ToServer: sent(1, 100)},
			})
		}
		m.Update(frame(finish(n+1, s)))
		var shown uint64
		for _, r := range m.rows {
			if r.depth == 0 {
				shown += r.shown.toServer
			}
		}
		if shown != maxNodes*100 {
			t.Errorf("frame %d: rows have %d bytes of %d", n, shown, maxNodes*100)
		}
	}
	if len(m.nodes) > 2*(maxNodes+1) {
		t.Errorf("%d nodes", len(m.nodes))
	}
	if !strings.Contains(order(m), "others") {
		t.Error("no row for the rest")
	}
	press(m, "g", "g")
	if m.unlisted != maxNodes-maxFlows || len(m.rows) != maxFlows {
		t.Errorf("%d flows listed, %d not", len(m.rows), m.unlisted)
	}
}

// A filter changes what rows add up, and so begins anew.
func TestFilterBeginsAnew(t *testing.T) {
	m := screenOf(t, Options{}, 120, 24, shops(5), "2", "/", "type:client:curl", "enter")
	if strings.Contains(text(m), "redis") || m.unmatched != 8 {
		t.Errorf("%d flows left out:\n%s", m.unmatched, text(m))
	}
	if m.lasting() != time.Second {
		t.Errorf("what is shown lasts %v", m.lasting())
	}
}

// Columns go in one order as the screen gets narrower, and none comes back.
func TestColumnsDrop(t *testing.T) {
	m := screenOf(t, Options{}, 200, 24, shops(1))
	var went []string
	before := -1
	names := func() (all []string) {
		for _, c := range m.layout() {
			if c.column == nil {
				all = append(all, "drawing")
			} else {
				all = append(all, c.field)
			}
		}
		return all
	}
	last := names()
	for columns := 200; columns >= leastWidth; columns-- {
		m.Update(tea.WindowSizeMsg{Width: columns, Height: 24})
		now := names()
		for _, name := range last {
			if !slices.Contains(now, name) {
				went = append(went, name)
			}
		}
		if before >= 0 && len(now) > before {
			t.Errorf("%d columns: %q has more than a wider screen", columns, now)
		}
		before, last = len(now), now
	}
	if want := []string{"proto", "drawing", "flows", "p50", "turns", "p99"}; !slices.Equal(went[:min(len(went), 6)], want) {
		t.Errorf("%q go in turn, want first %q", went, want)
	}
}

// A frame that took longer, as after ^Z, is no peak.
func TestDrawingsAreRates(t *testing.T) {
	long := servers(2, 400)
	long.Duration, long.Start = 4*time.Second, long.End.Add(-4*time.Second)
	m := screenOf(t, Options{}, 120, 24, []*window{servers(1, 100), long})
	if got := m.spark(m.rows[0].node, 2); got != "██" {
		t.Errorf("drawn as %q", got)
	}
}

// Frames shorter than a second share their slots: a minute stays a minute, and rates are over the time that
// was looked at.
func TestShortFrames(t *testing.T) {
	const each = 100 * time.Millisecond
	short := func(n int) *window {
		s := servers(1, 10)
		testkit.Record(&s.Flows[0].Turn, time.Duration(n)*time.Millisecond)
		s.Start, s.Duration = begin.Add(time.Duration(n)*each), each
		s.End = s.Start.Add(each)
		return s
	}
	m := screenOf(t, Options{}, 120, 24, nil)
	frames := func(from, to int) {
		for n := from; n < to; n++ {
			m.Update(frame(short(n)))
		}
	}
	check := func(what string, lasting time.Duration, turns uint64) {
		t.Helper()
		n := m.rows[0].node
		if m.lasting() != lasting || n.shown.turns != turns || perSecond(n.shown.toServer, n) != 100 {
			t.Errorf("%s: %d turns, %v bytes a second over %v", what, n.shown.turns, perSecond(n.shown.toServer, n), m.lasting())
		}
	}
	frames(0, 3)
	check("the first", 3*each, 3)
	frames(3, 10)
	check("a second", time.Second, 10)
	frames(10, 15)
	check("a second and a half", 15*each, 15)
	n := m.rows[0].node
	n.past.latency(m.clock.frame, n.frames, &m.scratch)
	if l := &m.scratch; l.Count != 15 || l.Min != 0 || l.Max != 14*time.Millisecond || l.Sum != 105*time.Millisecond {
		t.Errorf("latency %+v", *l)
	}
	press(m, "right", "left") // the same frame again
	check("looked at again", 15*each, 15)
	press(m, "3")
	frames(15, 700)
	check("a minute", time.Minute, 600)
	press(m, "g", "1")
	frames(700, 715) // by pair
	press(m, "g", "g")
	n = m.rows[0].node // by process, in the middle of a slot
	if n.truly != each || perSecond(n.shown.toServer, n) != 100 {
		t.Errorf("by process: %v bytes a second over %v", perSecond(n.shown.toServer, n), n.truly)
	}
	frames(715, 718)
	if n.truly != 4*each || perSecond(n.shown.toServer, n) != 100 {
		t.Errorf("by process, later: %v bytes a second over %v", perSecond(n.shown.toServer, n), n.truly)
	}
}
