package tui

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// pressed is what a byte of FuzzScreen does; bytes beyond are keys as they are.
var pressed = []string{"up", "down", "left", "right", "pgup", "pgdown", "home", "end", "enter", "esc", "space", "backspace", "delete", "f1"}

// FuzzScreen: whatever processes call themselves, whatever is typed and however small the screen is, what is
// drawn fits it, and nothing in it commands the terminal but our own styles.
func FuzzScreen(f *testing.F) {
	f.Add("nginx", "nginx: worker", "?q/port:1\x08\x09x", uint8(80), uint8(24))
	f.Add("\x1b[2J\x1b]0;t\a", "a\nb\r\u009b2J", "\x08\x08bbbbo1230\x02\x03", uint8(40), uint8(10))
	f.Add("\u202eevil\u200d", strings.Repeat("長", 1365), "/cmdline:\u202e\x08", uint8(200), uint8(60))
	f.Add("bad \xff", "👩‍👩‍👧 🇩🇪 e\u0301", "pfstxz\x0c\x0d", uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, comm, cmdline, keys string, columns, lines uint8) {
		if len(keys) > 64 || columns == 0 {
			return
		}
		s := shop(1)
		o := process(666, comm, cmdline, cmdline)
		o.Container, o.ContainerName = cmdline, comm
		s.Flows[0].Client.Owner, s.Flows[3].Server.Owner = o, o
		m := screenOf(t, Options{Color: true}, int(columns), int(lines), []*window{s, shop(2)})
		m.Update(Warning(cmdline))
		checkScreen(t, m, int(columns), int(lines))
		for _, key := range keys {
			if int(key) < len(pressed) {
				press(m, pressed[key])
			} else {
				m.Update(tea.KeyPressMsg{Code: key, Text: string(key)})
			}
			checkScreen(t, m, int(columns), int(lines))
		}
	})
}

func checkScreen(t *testing.T, m *Model, columns, lines int) {
	t.Helper()
	drawn := strings.Split(m.View().Content, "\n")
	if len(drawn) != max(1, lines) {
		t.Fatalf("%d lines on a screen of %d", len(drawn), lines)
	}
	for _, l := range drawn {
		if n := ansi.StringWidthWc(l); n > columns {
			t.Fatalf("%d columns on a screen of %d: %q", n, columns, l)
		}
		checkStyles(t, "screen", l, true)
	}
}
