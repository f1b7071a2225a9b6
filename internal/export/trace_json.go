package export

import (
	"encoding/hex"
	"io"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// traceJSON writes an object a line, each with its kind first, and a summary last.
type traceJSON struct{ TraceOptions }

// The types are a promise to scripts, as those of document.go.

type turnLine struct {
	Kind         string   `json:"kind"`
	Time         *string  `json:"time"`
	Netns        uint32   `json:"netns"`
	Proto        string   `json:"proto"`
	Client       endpoint `json:"client"`
	Server       endpoint `json:"server"`
	Number       uint32   `json:"number"`
	RequestBytes *uint64  `json:"request_bytes"`
	AnswerBytes  *uint64  `json:"answer_bytes"`
	TurnNs       int64    `json:"turn_ns"`
	ResponseNs   *int64   `json:"response_ns"`
	Complete     bool     `json:"complete"`
	DeliveryNs   *int64   `json:"delivery_ns"`
	WaitNs       *int64   `json:"wait_ns"`
	ThinkNs      *int64   `json:"think_ns"`
	Retransmits  *uint64  `json:"retransmits"`
	Drops        *uint64  `json:"drops"`
	RequestHead  *string  `json:"request_head"`
	AnswerHead   *string  `json:"answer_head"`
}

type connLine struct {
	Kind            string   `json:"kind"`
	Time            *string  `json:"time"`
	Netns           uint32   `json:"netns"`
	Proto           string   `json:"proto"`
	Client          endpoint `json:"client"`
	Server          endpoint `json:"server"`
	Event           string   `json:"event"`
	By              *string  `json:"by"`
	LastedNs        *int64   `json:"lasted_ns"`
	UnansweredBytes *uint64  `json:"unanswered_bytes"`
}

type gapLine struct {
	Kind      string `json:"kind"`
	Turns     uint64 `json:"turns"`
	Conns     uint64 `json:"conns"`
	LongestNs *int64 `json:"longest_ns"`
}

type traceSummary struct {
	Kind      string       `json:"kind"`
	Schema    string       `json:"schema"`
	Start     *string      `json:"start"`
	End       *string      `json:"end"`
	Source    source       `json:"source"`
	Turns     shares       `json:"turns"`
	Conns     shares       `json:"conns"`
	Forgotten uint64       `json:"forgotten"`
	Samples   traceSamples `json:"samples"`
}

type shares struct {
	All     uint64 `json:"all"`
	Shown   uint64 `json:"shown"`
	Limited uint64 `json:"limited"`
}

type traceSamples struct {
	samples
	Budget uint64 `json:"budget"`
	Full   uint64 `json:"full"`
	Failed uint64 `json:"failed"`
}

func (e traceJSON) Begin(io.Writer) error { return nil }

func (e traceJSON) Event(w io.Writer, t *model.Traced) error {
	if t.Conn != nil {
		return human.NewJSON(w).Encode(newConnLine(t))
	}
	return human.NewJSON(w).Encode(e.newTurnLine(t))
}

func (e traceJSON) newTurnLine(t *model.Traced) turnLine {
	f, turn := newFlowRow(t.Flow), t.Turn
	line := turnLine{
		Kind:         "turn",
		Time:         timestamp(t.Time),
		Netns:        f.Netns,
		Proto:        f.Proto,
		Client:       f.Client,
		Server:       f.Server,
		Number:       turn.Number,
		RequestBytes: known(&turn.RequestBytes),
		AnswerBytes:  known(&turn.AnswerBytes),
		TurnNs:       turn.Took.Nanoseconds(),
		ResponseNs:   nanoseconds(turn.Response),
		Complete:     turn.Complete,
		RequestHead:  e.payload(turn.Request),
		AnswerHead:   e.payload(turn.Answer),
	}
	if p := turn.Parts; p != nil {
		line.DeliveryNs, line.WaitNs, line.ThinkNs = nanoseconds(p.Delivery), exactly(p.Wait), exactly(p.Think)
	}
	if e.Errors {
		line.Retransmits, line.Drops = &turn.Retransmits, &turn.Drops
	}
	return line
}

func (e traceJSON) payload(p []byte) *string {
	if p == nil {
		return nil
	}
	text := quoteBytes(p)
	if e.Hex {
		text = hex.EncodeToString(p)
	}
	return &text
}

func newConnLine(t *model.Traced) connLine {
	f, c := newFlowRow(t.Flow), t.Conn
	line := connLine{
		Kind: "conn", Time: timestamp(t.Time), Netns: f.Netns, Proto: f.Proto, Client: f.Client, Server: f.Server,
		Event: string(c.Change), LastedNs: nanoseconds(c.Lasted), UnansweredBytes: known(&c.Unanswered),
	}
	if c.Change == model.ConnClosed || c.Change == model.ConnReset {
		by := "client"
		if c.ByServer {
			by = "server"
		}
		line.By = &by
	}
	return line
}

func (e traceJSON) Gap(w io.Writer, g *model.TraceGap) error {
	return human.NewJSON(w).Encode(gapLine{"gap", g.Turns, g.Conns, nanoseconds(g.Longest)})
}

func (e traceJSON) End(w io.Writer, s *model.TraceSummary) error {
	c := &s.Counts
	return human.NewJSON(w).Encode(traceSummary{
		Kind:      "summary",
		Schema:    "lotrace/v1",
		Start:     timestamp(s.Start),
		End:       timestamp(s.End),
		Source:    newSource(&s.Origin),
		Turns:     shares{c.Turns, c.ShownTurns, c.LimitedTurns},
		Conns:     shares{c.Conns, c.ShownConns, c.LimitedConns},
		Forgotten: c.Forgotten,
		Samples: traceSamples{
			samples: samples{Seen: s.Samples.Seen, Taken: s.Samples.Taken, Lost: s.Samples.Seen - s.Samples.Taken},
			Budget:  s.Samples.Budget, Full: s.Samples.Full, Failed: s.Samples.Failed,
		},
	})
}
