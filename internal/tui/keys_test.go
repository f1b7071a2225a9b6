package tui

import (
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/lotrace/lotrace/internal/model"
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

// Each key that the table has does what it says.
func TestKeys(t *testing.T) {
	busy := shops(3)
	tests := map[string]struct {
		before []string
		check  func(m *Model) bool
	}{
		"?":      {nil, func(m *Model) bool { return strings.Contains(text(m), "this help") }},
		"f1":     {nil, func(m *Model) bool { return m.mode == modeHelp }},
		"q":      {[]string{"enter"}, func(m *Model) bool { return m.mode == modeRows }},
		"up":     {[]string{"down", "down"}, func(m *Model) bool { return strings.Contains(at(m), "orders") }},
		"k":      {[]string{"down", "down"}, func(m *Model) bool { return strings.Contains(at(m), "orders") }},
		"down":   {nil, func(m *Model) bool { return strings.Contains(at(m), "orders") }},
		"j":      {nil, func(m *Model) bool { return strings.Contains(at(m), "orders") }},
		"pgdown": {nil, func(m *Model) bool { return strings.Contains(at(m), "9999") }},
		"ctrl+f": {nil, func(m *Model) bool { return strings.Contains(at(m), "9999") }},
		"pgup":   {[]string{"end"}, func(m *Model) bool { return strings.Contains(at(m), "redis") }},
		"ctrl+b": {[]string{"end"}, func(m *Model) bool { return strings.Contains(at(m), "redis") }},
		"home":   {[]string{"end"}, func(m *Model) bool { return m.cursor == nil && strings.Contains(at(m), "redis") }},
		"end":    {nil, func(m *Model) bool { return strings.Contains(at(m), "9999") }},
		"right":  {nil, func(m *Model) bool { return strings.Contains(text(m), ":51002") }},
		"l":      {nil, func(m *Model) bool { return strings.Contains(text(m), ":51002") }},
		"+":      {nil, func(m *Model) bool { return strings.Contains(text(m), ":51002") }},
		"left":   {[]string{"right", "down", "left"}, func(m *Model) bool { return !strings.Contains(text(m), ":51002") }},
		"h":      {[]string{"right"}, func(m *Model) bool { return !strings.Contains(text(m), ":51002") }},
		"-":      {nil, func(m *Model) bool { return true }},
		"enter": {nil, func(m *Model) bool {
			return strings.Contains(text(m), "CLIENT") && strings.Contains(text(m), "command")
		}},
		"/":      {nil, func(m *Model) bool { return m.mode == modeFilter && m.View().Cursor != nil }},
		"g":      {nil, func(m *Model) bool { return strings.Contains(text(m), "by pair") }},
		"s":      {nil, func(m *Model) bool { return strings.Contains(text(m), "CLIENT▲") }},
		"S":      {nil, func(m *Model) bool { return strings.Contains(text(m), "▲→/s") && strings.Contains(at(m), "9999") }},
		"1":      {[]string{"3"}, func(m *Model) bool { return strings.Contains(text(m), "· 1.0 s") }},
		"2":      {nil, func(m *Model) bool { return strings.Contains(text(m), "· 3.0 s") }},
		"3":      {nil, func(m *Model) bool { return m.window == time.Minute }},
		"space":  {nil, func(m *Model) bool { return strings.Contains(text(m), "PAUSED") }},
		"o":      {nil, func(m *Model) bool { return strings.Contains(text(m), "ORDER FROZEN") }},
		"t":      {nil, func(m *Model) bool { return strings.Contains(text(m), "closed shown") }},
		"x":      {nil, func(m *Model) bool { return strings.Contains(text(m), "begin anew?") && m.clock.frame == 3 }},
		"y":      {[]string{"x"}, func(m *Model) bool { return m.mode == modeRows && m.clock.frame == 1 }},
		"n":      {[]string{"x"}, func(m *Model) bool { return m.mode == modeRows && m.clock.frame == 3 }},
		"esc":    {[]string{"/", "type:port:80", "enter"}, func(m *Model) bool { return m.filter == nil }},
		"ctrl+c": {nil, func(m *Model) bool { return true }},
		"ctrl+z": {nil, func(m *Model) bool { return true }},
	}
	for i := range bindings {
		for _, key := range bindings[i].keys {
			test, ok := tests[key]
			if !ok {
				t.Errorf("%s: no test", key)
				continue
			}
			m := screenOf(t, Options{}, 120, 40, busy, test.before...)
			cmd := press(m, key)
			if !test.check(m) {
				t.Errorf("%s after %v:\n%s", key, test.before, text(m))
			}
			if quits := key == "ctrl+c"; isQuit(cmd) != quits && key != "ctrl+z" {
				t.Errorf("%s: quits: %t", key, isQuit(cmd))
			}
		}
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
	for _, frames := range [][]*model.Snapshot{nil, idle(), shops(2)} {
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

// What is wrong keeps the line open, and the filter that was there.
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
