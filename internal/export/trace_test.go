package export

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lotrace/lotrace/internal/model"
)

// traced is a little of everything that a trace can tell.
func traced() []model.Traced {
	at := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
	flow := &model.Flow{
		Netns: 4026531840, Proto: model.ProtoTCP,
		Client: model.Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 40000,
			Owner: &model.Owner{ProcessID: model.ProcessID{TGID: 311}, PID: 311, Comm: "curl", Source: model.OwnerKernel}},
		Server: model.Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 80},
	}
	evil := *flow
	evil.Client.Owner = &model.Owner{PID: 1, Comm: "\x1b[31m\n\u202e", Source: model.OwnerKernel}
	turn := func(t model.Turn) model.Traced { return model.Traced{Time: at, Flow: flow, Turn: &t} }
	conn := func(c model.ConnEvent) model.Traced { return model.Traced{Time: at, Flow: flow, Conn: &c} }
	return []model.Traced{
		turn(model.Turn{Number: 1, RequestBytes: 78, AnswerBytes: 1234567, Took: 1200 * time.Microsecond,
			Response: 1350 * time.Microsecond, Complete: true,
			Parts:   &model.SlowParts{Wait: 200 * time.Microsecond, Think: time.Millisecond},
			Request: []byte("GET /\"x\" HTTP/1.1\r\nHost: \xff\x1b[2J\u202eé\x00"), Answer: []byte{}}),
		turn(model.Turn{Number: 2, Took: 900 * time.Nanosecond, Retransmits: 1, Drops: 2}),
		conn(model.ConnEvent{Change: model.ConnOpen}),
		conn(model.ConnEvent{Change: model.ConnRefused, ByServer: true, Lasted: 20 * time.Microsecond}),
		conn(model.ConnEvent{Change: model.ConnClosed, Lasted: 3 * time.Second}),
		conn(model.ConnEvent{Change: model.ConnReset, ByServer: true, Unanswered: 41}),
		{Time: at, Flow: &evil, Conn: &model.ConnEvent{Change: model.ConnOpen}},
	}
}

func encodeTrace(t *testing.T, format string, o TraceOptions) string {
	t.Helper()
	e, err := NewTrace(format, o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(e.Begin(&out))
	for _, event := range traced() {
		must(e.Event(&out, &event))
	}
	must(e.Gap(&out, &model.TraceGap{Turns: 1204, Longest: 12 * time.Millisecond}))
	must(e.Gap(&out, &model.TraceGap{Turns: 1, Conns: 1, Longest: time.Millisecond}))
	must(e.End(&out, &model.TraceSummary{
		Start: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC), End: time.Date(2024, 5, 6, 7, 8, 19, 0, time.UTC),
		Origin: model.Origin{Host: "box", Kernel: "6.18", Sites: []model.Site{{Number: 1, Netns: 4026531840, Device: "lo", Hook: "tcx"}}},
		Counts: model.TraceCounts{Turns: 1207, Conns: 6, ShownTurns: 2, ShownConns: 5, LimitedTurns: 1205, LimitedConns: 1,
			Forgotten: 3},
		Samples: model.SampleCounts{Seen: 5000, Taken: 4990, Budget: 7, Full: 2, Failed: 1},
	}))
	return out.String()
}

func TestTraceGolden(t *testing.T) {
	for name, test := range map[string]struct {
		format string
		o      TraceOptions
	}{
		"trace.table":       {"table", TraceOptions{}},
		"trace-parts.table": {"table", TraceOptions{Parts: true, Hex: true}},
		"trace.jsonl":       {"jsonl", TraceOptions{Errors: true}},
		"trace-hex.jsonl":   {"jsonl", TraceOptions{Hex: true}},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, encodeTrace(t, test.format, test.o)) })
	}
}

// Payload and names are whatever somebody sends: they must not reach the terminal as anything but text.
func TestTraceEscapes(t *testing.T) {
	for format, unsafe := range map[string]string{"table": "\x1b\x00\r\u202e", "jsonl": "\x1b\x00\r"} {
		for _, hex := range []bool{false, true} {
			out := encodeTrace(t, format, TraceOptions{Hex: hex})
			if strings.ContainsAny(out, unsafe) || !utf8.ValidString(out) {
				t.Errorf("%s, hex %v: an escape got through: %q", format, hex, out)
			}
		}
	}
}
