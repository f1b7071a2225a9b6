package tui

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
)

// terminal keeps what is drawn.
type terminal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

// since is what was drawn since the last call.
func (t *terminal) since() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.text.Reset()
	return t.text.String()
}

// A frame writes what it changes: nothing if that is nothing, and a few cells if it is one row.
func TestWritesWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := screenOf(t, Options{Color: true}, 200, 60, nil)
		var screen terminal
		keys, typist := io.Pipe()
		p := tea.NewProgram(m, tea.WithInput(keys), tea.WithOutput(&screen), tea.WithEnvironment([]string{"TERM=nobody-knows"}),
			tea.WithColorProfile(colorprofile.ANSI), tea.WithWindowSize(200, 60), tea.WithoutSignalHandler(), tea.WithFPS(30))
		ended := make(chan error, 1)
		go func() {
			_, err := p.Run()
			ended <- err
		}()
		draw := func(msgs ...tea.Msg) string {
			for _, msg := range msgs {
				p.Send(msg)
			}
			time.Sleep(100 * time.Millisecond) // of the bubble's clock: a few of the renderer's ticks
			return screen.since()
		}
		first := draw(frame(shop(1)))
		if !strings.Contains(first, "\x1b[?1049h") || !strings.Contains(first, "redis-server") {
			t.Fatalf("first: %q", first)
		}

		if n := len(draw(tea.KeyPressMsg{Code: 'ö', Text: "ö"})); n != 0 {
			t.Errorf("%d bytes for a key that does nothing", n)
		}
		paused := draw(tea.KeyPressMsg{Code: tea.KeySpace, Text: " "})
		if n := len(draw(tea.KeyPressMsg{Code: tea.KeySpace, Text: " "})) + len(paused); n > 600 {
			t.Errorf("%d bytes for a pause and its end", n)
		}
		if n := len(draw(tea.KeyPressMsg{Code: tea.KeyDown})); n == 0 || n > 2500 {
			t.Errorf("%d bytes to move the cursor by a row", n)
		}

		// The drawings go on, whatever happens.
		quiet := draw(frame(shop(1)))
		other := shop(1)
		other.Flows[10].ToServer.Bytes += 100
		changed := draw(frame(finish(1, *other)))
		if len(quiet) > 600 || len(changed) > 900 {
			t.Errorf("first %d bytes, unchanged %d, one row changed %d", len(first), len(quiet), len(changed))
		}

		p.Quit()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if last := screen.since(); !strings.Contains(last, "\x1b[?1049l") || !strings.Contains(last, "\x1b[?25h") {
			t.Errorf("the screen is left as it is: %q", last)
		}
		typist.Close()
	})
}
