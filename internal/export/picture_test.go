package export

import (
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/view"
)

func TestPicture(t *testing.T) {
	for _, tt := range []struct {
		name   string
		o      Options
		window *window
	}{
		{"crowd", Options{}, crowd()},
		{"crowd-80", Options{Limit: 1, Width: 80}, crowd()},
		{"ailing", Options{}, ailing()},
		{"ailing-80", Options{Limit: 1, Width: 80, SlowLimit: 2}, ailing()},
		{"empty", Options{}, empty()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if err := NewPicture(tt.o).Encode(&out, tt.window.pack()); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); tt.o.Width > 0 && n > tt.o.Width {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			golden(t, tt.name+".picture", out.String())
		})
	}
}

// A service without errors is drawn without a word about them.
func TestHealthLines(t *testing.T) {
	tests := []struct {
		name string
		v    view.Row
		want string
	}{
		{"nothing", view.Row{}, ""},
		{"a queue with room", view.Row{AcceptQueue: &model.AcceptQueue{Length: 127, Limit: 128}}, ""},
		{"no queue at all", view.Row{AcceptQueue: &model.AcceptQueue{}}, ""},
		{"a full queue", view.Row{AcceptQueue: &model.AcceptQueue{Length: 128, Limit: 128}}, "accept queue 128 of 128, 0 overflowed"},
		{"one that was full", view.Row{AcceptQueue: &model.AcceptQueue{Limit: 8, Overflows: 2}}, "accept queue 0 of 8, 2 overflowed"},
		{"unread data", serviceWith(model.Health{Server: model.EndHealth{ReceiveQueue: 1, SendQueue: 1}}), ""},
		{"refused", serviceWith(model.Health{Refused: 12}), "12 refused"},
		{"still closed", serviceWith(model.Health{Server: model.EndHealth{ZeroWindow: time.Second}}), "receive window of redis closed since before, 1.00 s"},
		{"stalled", serviceWith(model.Health{Client: model.EndHealth{Stalls: 2, Stalled: 80 * time.Millisecond}}),
			"2 stalls of Nagle against delayed ACK at clients, 40.0 ms each"},
		{"of both ends", serviceWith(model.Health{Client: model.EndHealth{Resets: 1}, Server: model.EndHealth{Resets: 2}}),
			"2 connections reset by redis; 1 connection reset by clients"},
		{"drops, which its socket counted as well", serviceWith(model.Health{
			Server: model.EndHealth{SocketDrops: 12}, Drops: []model.DropCount{{Reason: "socket_rcvbuff", SKBs: 12}}}), "drops: socket_rcvbuff 12"},
	}
	for _, tt := range tests {
		if got := strings.Join(healthLines(&tt.v), "; "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func serviceWith(h model.Health) view.Row {
	return view.Row{Name: "redis", Tally: model.Tally{Health: &h}}
}
