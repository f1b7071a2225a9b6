package tui

import (
	"strings"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
)

// Rows are rolled up without what only a detail shows, which costs most; the detail has it from the first screen on.
func TestDetailRollsUpMore(t *testing.T) {
	for _, by := range []string{"service", "pair", "process", "cgroup"} {
		m := screenOf(t, Options{By: by}, 120, 40, shops(2))
		responses := func() (n uint64) { return m.rows[0].row.Response.Count }
		if n := responses(); n > 0 {
			t.Errorf("by %s: rows have %d responses that no column shows", by, n)
		}
		press(m, "enter")
		if n := responses(); n == 0 || !strings.Contains(text(m), "response  ") {
			t.Errorf("by %s: %d responses in the detail\n%s", by, n, text(m))
		}
		m.Update(frame(shop(3)))
		if n := responses(); n == 0 {
			t.Errorf("by %s: no responses in the detail of the next frame", by)
		}
		press(m, "esc")
		m.Update(frame(shop(4)))
		if n := responses(); n > 0 {
			t.Errorf("by %s: behind the detail rows have %d responses", by, n)
		}
	}
}

// A row goes on when it becomes known which end of its flow is the client; a later flow of the same ends is another.
func TestRowsAreOfFlows(t *testing.T) {
	one := func(n int, turn bool, began uint64) *window {
		client, server := endpoint("127.0.0.1:50001", nil), endpoint("127.0.0.1:50002", nil)
		if turn {
			client, server = server, client
		}
		f := model.Flow{Proto: model.ProtoTCP, State: "established", Client: client, Server: server, BeganNS: began, Tally: model.Tally{ToServer: sent(1, 100)}}
		return finish(n, window{Flows: []model.Flow{f}})
	}
	m := screenOf(t, Options{By: "flow"}, 80, 24, []*window{one(1, false, 7), one(2, true, 7)})
	if len(m.nodes) != 1 {
		t.Errorf("%d rows of a flow that was turned round", len(m.nodes))
	}
	m.Update(frame(one(3, true, 8)))
	if len(m.nodes) != 2 {
		t.Errorf("%d rows of two flows", len(m.nodes))
	}
}
