package tui

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// at is the text of the row that the cursor is on.
func at(m *Model) string {
	for _, l := range strings.Split(m.View().Content, "\n") {
		if strings.Contains(l, "\x1b[7m") {
			return l
		}
	}
	return ""
}

func isQuit(cmd tea.Cmd) bool {
	if cmd == nil {
		return false
	}
	_, ok := cmd().(tea.QuitMsg)
	return ok
}

// keyTest is what a key does in a mode, after others.
type keyTest struct {
	mode   mode
	keys   string   // names, of which each does the same
	before []string // on the way from the first screen; into the mode at least
	does   func(m *Model, cmd tea.Cmd) bool
}

// shows passes if the screen has the text.
func shows(want string) func(*Model, tea.Cmd) bool {
	return func(m *Model, _ tea.Cmd) bool { return strings.Contains(text(m), want) }
}

// cursorOn passes if the cursor is on a row with the text.
func cursorOn(want string) func(*Model, tea.Cmd) bool {
	return func(m *Model, _ tea.Cmd) bool { return strings.Contains(at(m), want) }
}

func lacks(want string) func(*Model, tea.Cmd) bool {
	return func(m *Model, _ tea.Cmd) bool { return !strings.Contains(text(m), want) }
}

func quits(_ *Model, cmd tea.Cmd) bool { return isQuit(cmd) }

func suspends(_ *Model, cmd tea.Cmd) bool {
	if cmd == nil {
		return false
	}
	_, ok := cmd().(tea.SuspendMsg)
	return ok
}

func goesTo(want mode) func(*Model, tea.Cmd) bool {
	return func(m *Model, _ tea.Cmd) bool { return m.mode == want }
}

func onPage(want int) func(*Model, tea.Cmd) bool {
	return func(m *Model, _ tea.Cmd) bool { return m.page == want }
}

func atLastPage(m *Model, _ tea.Cmd) bool {
	before := m.View().Content
	press(m, "down")
	return m.View().Content == before && m.lastPage() > 10
}

func writes(format string) func(*Model, tea.Cmd) bool {
	return func(m *Model, cmd tea.Cmd) bool {
		if cmd == nil {
			return false
		}
		w, ok := cmd().(Written)
		return ok && w.Where == format && m.mode == modeRows
	}
}

// keyTests has each key of the table in each mode where it works, and nothing else.
func keyTests() []keyTest {
	tests := []keyTest{
		{modeRows, "? f1", nil, shows("this help")},
		{modeRows, "q", nil, quits},
		{modeRows, "up k", []string{"down", "down"}, cursorOn("orders")},
		{modeRows, "down j", nil, cursorOn("orders")},
		{modeRows, "pgdown ctrl+f", nil, cursorOn("9999")},
		{modeRows, "pgup ctrl+b", []string{"end"}, cursorOn("redis")},
		{modeRows, "home", []string{"end"}, func(m *Model, _ tea.Cmd) bool { return m.cursor == nil && strings.Contains(at(m), "redis") }},
		{modeRows, "end", nil, cursorOn("9999")},
		{modeRows, "right l +", nil, shows(":51002")},
		{modeRows, "left h -", []string{"right"}, lacks(":51002")},
		{modeRows, "enter", nil, shows("executable")},
		{modeRows, "/", nil, func(m *Model, _ tea.Cmd) bool { return m.mode == modeFilter && m.View().Cursor != nil }},
		{modeRows, "g", nil, shows("by pair")},
		{modeRows, "s", nil, shows("CLIENT▲")},
		{modeRows, "S", nil, func(m *Model, _ tea.Cmd) bool {
			return strings.Contains(text(m), "▲→/s") && strings.Contains(at(m), "9999")
		}},
		{modeRows, "1", []string{"3"}, shows("· 1.0 s")},
		{modeRows, "2", nil, shows("· 3.0 s")},
		{modeRows, "3", nil, func(m *Model, _ tea.Cmd) bool { return m.window == time.Minute }},
		{modeRows, "space", nil, shows("PAUSED")},
		{modeRows, "o", nil, shows("ORDER FROZEN")},
		{modeRows, "t", nil, shows("closed shown")},
		{modeRows, "x", nil, shows("begin anew?")},
		{modeRows, "w", nil, shows("Write these rows?")},
		{modeRows, "c", nil, func(m *Model, cmd tea.Cmd) bool {
			return cmd != nil && strings.Contains(fmt.Sprint(cmd()), "redis-server :6379\t")
		}},
		{modeRows, "esc", []string{"/", "type:port:80", "enter"}, func(m *Model, _ tea.Cmd) bool { return m.filter == nil }},
		{modeDetail, "? f1", []string{"enter"}, shows("this help")},
		{modeDetail, "space", []string{"enter"}, shows("PAUSED")},
		{modeAsk, "y", []string{"x"}, func(m *Model, _ tea.Cmd) bool { return m.mode == modeRows && m.clock.frame == 1 }},
		{modeAsk, "n esc q enter space", []string{"x"}, func(m *Model, _ tea.Cmd) bool { return m.mode == modeRows && m.clock.frame == 3 }},
		{modeWrite, "j", []string{"w"}, writes("json")},
		{modeWrite, "c", []string{"w"}, writes("csv")},
		{modeWrite, "f", []string{"w"}, writes("filter")},
		{modeWrite, "n esc q", []string{"w"}, goesTo(modeRows)},
	}
	for page, into := range map[mode]string{modeDetail: "enter", modeHelp: "?"} {
		tests = append(tests,
			keyTest{page, "up k", []string{into, "down", "down"}, onPage(1)},
			keyTest{page, "down j", []string{into}, onPage(1)},
			keyTest{page, "pgup ctrl+b", []string{into, "pgdown", "down"}, onPage(1)},
			keyTest{page, "pgdown ctrl+f", []string{into}, onPage(10)},
			keyTest{page, "home", []string{into, "end"}, onPage(0)},
			keyTest{page, "end", []string{into}, atLastPage},
			keyTest{page, "esc enter q left h", []string{into}, goesTo(modeRows)},
		)
	}
	for in, into := range map[mode][]string{
		modeRows: nil, modeDetail: {"enter"}, modeHelp: {"?"}, modeAsk: {"x"}, modeFilter: {"/"}, modeWrite: {"w"},
	} {
		tests = append(tests, keyTest{in, "ctrl+c", into, quits}, keyTest{in, "ctrl+z", into, suspends})
	}
	return tests
}

// modeKey is a key where it works.
type modeKey struct {
	mode mode
	key  string
}

func TestKeys(t *testing.T) {
	busy := shops(3)
	o := Options{Write: func(e Export) (string, error) { return e.Format, nil }}
	tested := make(map[modeKey]bool)
	for _, test := range keyTests() {
		for _, key := range strings.Fields(test.keys) {
			tested[modeKey{test.mode, key}] = true
			lines := 40
			if test.mode&(modeDetail|modeHelp) != 0 {
				lines = 15
			}
			m := screenOf(t, o, 120, lines, busy, test.before...)
			if m.mode != test.mode {
				t.Fatalf("%s: %v lead to mode %d, not %d", key, test.before, m.mode, test.mode)
			}
			if test.does(m, nil) {
				t.Errorf("%s after %v: nothing is left to do:\n%s", key, test.before, text(m))
			}
			if cmd := press(m, key); !test.does(m, cmd) {
				t.Errorf("%s after %v:\n%s", key, test.before, text(m))
			}
		}
	}
	bound := make(map[modeKey]bool)
	for i := range bindings {
		for in := modeRows; in <= modeWrite; in <<= 1 {
			if bindings[i].in&in == 0 {
				continue
			}
			for _, key := range bindings[i].keys {
				k := modeKey{in, key}
				if bound[k] {
					t.Errorf("%s has two meanings in mode %d", key, in)
				}
				bound[k] = true
			}
		}
	}
	if !maps.Equal(bound, tested) {
		t.Errorf("keys %v\ntests %v", bound, tested)
	}
}

// A key that is bound to nothing does nothing.
func TestOtherKeys(t *testing.T) {
	m := screenOf(t, Options{}, 120, 40, shops(2))
	before := m.View().Content
	if cmd := press(m, "z", "ctrl+x", "delete", "backspace"); cmd != nil || m.View().Content != before {
		t.Errorf("other keys change the screen:\n%s", text(m))
	}
}

func TestQuitAndSuspend(t *testing.T) {
	if !isQuit(press(screenOf(t, Options{}, 80, 24, nil), "q")) {
		t.Error("q does not quit")
	}
	for _, before := range [][]string{nil, {"/"}, {"?"}, {"enter"}, {"x"}} {
		m := screenOf(t, Options{}, 80, 24, shops(1), before...)
		if !isQuit(press(m, "ctrl+c")) {
			t.Errorf("^C after %v does not quit", before)
		}
		if _, ok := press(m, "ctrl+z")().(tea.SuspendMsg); !ok {
			t.Errorf("^Z after %v does not suspend", before)
		}
	}
}

// Every key in every mode, with and without anything to show, leaves a screen that can be drawn.
func TestAnyKeyAnywhere(t *testing.T) {
	var keys []string
	for i := range bindings {
		keys = append(keys, bindings[i].keys...)
	}
	for _, frames := range [][]*window{nil, idle(), shops(2)} {
		m := screenOf(t, Options{}, 80, 24, frames)
		for _, first := range keys {
			for _, second := range keys {
				press(m, first, second)
				if n := strings.Count(m.View().Content, "\n"); n != 23 {
					t.Fatalf("%s, %s: %d lines", first, second, n+1)
				}
			}
		}
	}
}

// s goes through all columns on the screen and comes back.
func TestSortCyclesThroughTheScreen(t *testing.T) {
	m := screenOf(t, Options{}, 80, 24, shops(2))
	var fields []string
	for range columns {
		fields = append(fields, m.sort.field)
		press(m, "s")
		if m.sort.field == "bytes" {
			break
		}
	}
	want := []string{"bytes", "client", "server", "sent", "received", "turns", "p50", "p99", "errors"}
	if !slices.Equal(fields, want) {
		t.Errorf("sorts by %q, want %q", fields, want)
	}
}

func TestFilterHistory(t *testing.T) {
	m := screenOf(t, Options{}, 80, 24, shops(2), "/", "type:port:80", "enter", "esc", "/", "type:port:8125", "enter", "esc")
	press(m, "/", "type:draft", "up")
	if got := m.input.String(); got != "port:8125" {
		t.Errorf("one back: %q", got)
	}
	press(m, "up", "up", "up")
	if got := m.input.String(); got != "port:80" {
		t.Errorf("as far back as it goes: %q", got)
	}
	press(m, "down", "down")
	if got := m.input.String(); got != "draft" {
		t.Errorf("forward again: %q", got)
	}
	press(m, "esc")
	if m.filter != nil {
		t.Errorf("filter %v without Enter", m.filter)
	}
}

// A wrong filter keeps the line open, and the filter that was there.
func TestWrongFilterIsNotUsed(t *testing.T) {
	m := screenOf(t, Options{}, 80, 24, shops(2), "/", "type:port:80", "enter", "/", "type: or", "enter")
	if m.mode != modeFilter || m.filter.String() != "port:80" {
		t.Errorf("mode %d, filter %v", m.mode, m.filter)
	}
}

func TestTyping(t *testing.T) {
	in := &input{}
	typed := func(names ...string) string {
		m := &Model{mode: modeFilter, input: *in}
		press(m, names...)
		*in = m.input
		return in.String()
	}
	if got := typed("type:port:80 pid:1", "left", "left", "backspace"); got != "port:80 pi:1" {
		t.Errorf("%q", got)
	}
	if got := typed("ctrl+w"); got != "port:80 :1" {
		t.Errorf("%q", got)
	}
	if got := typed("home", "delete", "right", "type:X"); got != "oXrt:80 :1" {
		t.Errorf("%q", got)
	}
	if got := typed("end", "ctrl+u"); got != "" {
		t.Errorf("%q", got)
	}
	in.insert("a\x1b[31m\nb" + strings.Repeat("c", 2*longestInput))
	if got := in.String(); len(got) != longestInput || !strings.HasPrefix(got, "a[31mb") {
		t.Errorf("pasted %q", got)
	}
}

// A grouping that does not know what rows were sorted by begins with the most bytes, whichever way it was before.
func TestGroupForgetsTheSort(t *testing.T) {
	forgotten := 0
	for _, field := range SortFields() {
		for _, by := range Groups() {
			m, err := New(Options{By: by, Sort: "-" + field})
			if err != nil {
				continue
			}
			was := m.sort
			press(m, "g")
			if m.sort == was {
				continue
			}
			forgotten++
			if m.sort != columns[0] || m.reversed {
				t.Errorf("by %s, sorted by %s: then by %s, sorted by %s, reversed: %v", by, field, m.group, m.sort.field, m.reversed)
			}
		}
	}
	if forgotten == 0 {
		t.Error("every grouping knows every field")
	}
}

func TestMouse(t *testing.T) {
	m := screenOf(t, Options{}, 120, 40, shops(2))
	click := func(x, y int) { m.Update(tea.MouseClickMsg{X: x, Y: y, Button: tea.MouseLeft}) }
	click(5, 3+2)
	if !strings.Contains(at(m), "orders") {
		t.Errorf("the second row was clicked, not %q", at(m))
	}
	click(5, 3+2)
	if !strings.Contains(text(m), ":52001") {
		t.Errorf("clicked again it does not open:\n%s", text(m))
	}
	head := strings.Split(text(m), "\n")[3]
	p99 := len([]rune(head[:strings.Index(head, "P99")]))
	click(p99, 3)
	if m.sort.field != "p99" || m.reversed {
		t.Errorf("sorted by %s", m.sort.field)
	}
	click(p99, 3)
	if m.sort.field != "p99" || !m.reversed {
		t.Errorf("not reversed")
	}
	before := m.cursorIndex()
	m.Update(tea.MouseWheelMsg{Button: tea.MouseWheelUp})
	if m.cursorIndex() != before-3 {
		t.Errorf("the wheel goes from %d to %d", before, m.cursorIndex())
	}
	click(500, 500)
	click(0, 0)
}
