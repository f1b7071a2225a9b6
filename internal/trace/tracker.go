// Package trace makes turns and the lives of connections out of the samples in which they begin and end.
package trace

import (
	"cmp"
	"slices"
	"time"

	"github.com/lotrace/lotrace/internal/frame"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/redact"
)

// policies are what a Tracker needs samples of.
const policies = reading.SampleHeads | reading.SampleConns

// headers is room for those of any packet; behind it a secret is looked for beyond what is shown of it.
const (
	headers   = 128
	lookahead = 64
)

// snaplen is how much of a packet must be sampled for so many bytes of payload.
func snaplen(payload int) uint32 {
	if payload == 0 {
		return headers
	}
	return uint32(headers + payload + lookahead)
}

// resting is for how long an answer has been silent when its turn is shown, and goingOn after what time it is
// shown in any case.
const (
	resting = 100 * time.Millisecond
	goingOn = time.Second
)

// memory bounds what a Tracker keeps of flows, in bytes.
const memory = 64 << 20

// Config says what a Tracker shows.
type Config struct {
	Payload  int  // bytes of each request and answer to keep
	NoRedact bool // with their secrets
	Conns    bool // what happens to connections as well
	Errors   bool // packets that are dropped or sent again count in turns
}

// The kernel's budget for samples: far more than anybody can read, and little enough for a storm of messages
// to cost no more than that.
const (
	samplesPerSecond = 200_000
	sampleBuffer     = 16 << 20
)

// Sample is what must be sampled for that.
func (c *Config) Sample() reading.SampleConfig {
	sample := reading.SampleConfig{
		Policies: policies, Snaplen: snaplen(c.Payload), PerSecond: samplesPerSecond, Buffer: sampleBuffer,
	}
	if c.Errors {
		sample.Policies |= reading.SampleErrors
	}
	return sample
}

// Event is something that happened on a flow. Of Turn and Conn one is there.
type Event struct {
	Of   reading.Sample // where it was seen, without data: names the flow
	NS   uint64         // CLOCK_MONOTONIC
	Turn *model.Turn
	Conn *model.ConnEvent // but for ByServer
	By   uint8            // the end of the key that reset the connection or closed it first
}

// Tracker follows flows from sample to sample. It is for one goroutine.
type Tracker struct {
	config   Config
	maxFlows int
	flows    map[reading.SlotKey]*flow
	events   []Event
	parts    [2]map[turnID]*model.SlowParts // of the newest turns, the newest of them first

	// Forgotten counts requests under way that had to make room for others.
	Forgotten uint64
}

// turnID names a turn in the kernel's records.
type turnID struct {
	key     reading.SlotKey
	askedNS uint64
}

// NewTracker returns one that has seen nothing.
func NewTracker(c Config) *Tracker {
	const size = 1 << 10 // of a flow, about
	return &Tracker{
		config:   c,
		maxFlows: memory / (size + 2*c.Payload),
		flows:    make(map[reading.SlotKey]*flow),
	}
}

// flow is what is under way on one.
type flow struct {
	of reading.Sample // the newest, without data

	synNS  uint64 // 0: not seen
	opened bool
	fin    [2]bool
	closer uint8            // the end that said so first
	change *model.ConnEvent // to be shown behind its last turn
	by     uint8            // of change, as in Event
	endNS  uint64           // of change

	asked, answered bool      // a request, its answer is under way
	number          uint32    // of the request
	before          [2]uint64 // payload before the request, and then before the answer
	beganNS         uint64    // of the answer
	ended           bool      // the answer has
	turn            *model.Turn
}

// Add follows what a sample says. Events come out of Take.
func (t *Tracker) Add(s *reading.Sample) {
	if !s.Reason.HasKey() {
		return
	}
	flags := tcpFlags(s)
	f := t.flows[s.Key]
	begins := flags&(frame.SYN|frame.ACK) == frame.SYN
	if f != nil && (f.isOther(s) || begins && f.opened) {
		t.leave(f)
		f = nil
	}
	if f == nil {
		if s.Message.Number == 0 && (flags == 0 || !t.config.Conns) {
			return
		}
		f = t.remember(s)
	}
	f.see(s)
	switch {
	case s.Message.Number == 0:
	case s.Message.Answer:
		t.answer(f, s)
	default:
		t.ask(f, s)
	}
	t.connect(f, s, flags)
}

// remember begins to follow a flow, if need be in the place of another.
func (t *Tracker) remember(s *reading.Sample) *flow {
	if len(t.flows) >= t.maxFlows {
		for key, other := range t.flows {
			if other.asked || other.answered {
				t.Forgotten++
			}
			delete(t.flows, key)
			break
		}
	}
	f := &flow{turn: &model.Turn{}}
	t.flows[s.Key] = f
	return f
}

// isOther reports whether a sample is of another flow than those before, on the same ports.
func (f *flow) isOther(s *reading.Sample) bool {
	return s.Slot != reading.NoSlot && f.of.Slot != reading.NoSlot && s.Slot != f.of.Slot ||
		s.Message.Number != 0 && (f.asked || f.answered) && s.Message.Number < f.number
}

// see takes over what any sample says, and what goes wrong with its packet. One without a slot does not know who is
// the client. Where that has changed, no turn is under way: its request was none.
func (f *flow) see(s *reading.Sample) {
	before := f.of
	known := before.MonoNS != 0
	f.of = *s
	f.of.Data = nil
	switch {
	case known && s.Slot == reading.NoSlot:
		f.of.Slot, f.of.Client = before.Slot, before.Client
	case known && before.Slot != reading.NoSlot && s.Client != before.Client:
		f.asked, f.answered, f.turn = false, false, &model.Turn{}
	}
	if s.Retransmit {
		f.turn.Retransmits++
	}
	if s.Drop != 0 {
		f.turn.Drops++
	}
}

// ask is told of the head of a request, which ends the answer before.
func (t *Tracker) ask(f *flow, s *reading.Sample) {
	m := &s.Message
	if f.answered {
		if m.Number == f.number+1 {
			f.turn.AnswerBytes = m.Sent[1-s.Client&1] - f.before[1-s.Client&1]
			f.turn.Response = time.Duration(m.TookNS)
			f.turn.Complete = true
		}
		t.show(f)
	}
	f.asked, f.answered, f.ended = true, false, false
	f.number, f.before = m.Number, m.Sent
	f.turn.Request = t.head(s)
}

// answer is told of the head of an answer.
func (t *Tracker) answer(f *flow, s *reading.Sample) {
	m := &s.Message
	if f.answered {
		t.show(f)
	}
	f.turn.Number, f.turn.AskedNS, f.turn.Took = m.Number, m.AskedNS, time.Duration(m.TookNS)
	if f.asked && f.number == m.Number {
		f.turn.RequestBytes = m.Sent[s.Client&1] - f.before[s.Client&1]
	} else {
		f.turn.Request = nil
	}
	f.asked, f.answered, f.ended = false, true, false
	f.number, f.before, f.beganNS = m.Number, m.Sent, s.MonoNS
	f.turn.Answer = t.head(s)
}

// show makes an event of the turn that is under way.
func (t *Tracker) show(f *flow) {
	t.events = append(t.events, Event{Of: f.of, NS: f.turn.AskedNS, Turn: f.turn})
	f.answered = false
	f.turn = &model.Turn{}
}

// leave shows what is known of a flow that another one takes the place of.
func (t *Tracker) leave(f *flow) {
	if f.answered {
		t.show(f)
	}
	t.showChange(f)
	delete(t.flows, f.of.Key)
}

// head copies how a message begins.
func (t *Tracker) head(s *reading.Sample) []byte {
	if t.config.Payload == 0 || int(s.HeaderLen) > len(s.Data) {
		return nil
	}
	head := append([]byte{}, s.Data[s.HeaderLen:min(len(s.Data), int(s.HeaderLen)+t.config.Payload+lookahead)]...)
	if !t.config.NoRedact {
		redact.Message(head)
	}
	return head[:min(len(head), t.config.Payload)]
}

// Explain says where the time of turns went, before Rest. Their parts are the Tracker's from then on.
func (t *Tracker) Explain(turns []reading.SlowTurn) {
	t.parts[1] = t.parts[0]
	t.parts[0] = make(map[turnID]*model.SlowParts, len(turns))
	for i := range turns {
		if parts := turns[i].Parts; parts != nil {
			t.parts[0][turnID{turns[i].Key, turns[i].AskedNS}] = parts
		}
	}
}

func (t *Tracker) explain(turn *model.Turn, key *reading.SlotKey) {
	for _, parts := range t.parts {
		if p := parts[turnID{*key, turn.AskedNS}]; p != nil {
			turn.Parts = p
		}
	}
}

// Rest shows the turns whose answers have ended or rest at now (CLOCK_MONOTONIC, ns), or all, and what
// happened to their connections. Of a flow that the table does not know progress returns false.
func (t *Tracker) Rest(now uint64, all bool, progress func(of *reading.Sample) (reading.Progress, bool)) {
	for i := range t.events {
		if e := &t.events[i]; e.Turn != nil {
			t.explain(e.Turn, &e.Of.Key)
		}
	}
	for _, f := range t.flows {
		if !f.answered && f.change == nil {
			t.forget(f)
			continue
		}
		p, known := progress(&f.of)
		if f.answered {
			t.explain(f.turn, &f.of.Key)
			t.rest(f, now, all, &p, known)
		}
		if f.change != nil && !f.answered {
			if f.asked && known && p.Answered < f.number {
				f.change.Unanswered = p.Sent[f.of.Client&1] - f.before[f.of.Client&1]
			}
			f.asked = false
			t.showChange(f)
		}
		t.forget(f)
	}
}

// rest shows a turn, unless its answer goes on.
func (t *Tracker) rest(f *flow, now uint64, all bool, p *reading.Progress, known bool) {
	server := 1 - f.of.Client&1
	since := func(ns uint64) time.Duration { return time.Duration(now - ns) }
	current := known && p.Asked == f.number && p.Answered == f.number
	goesOn := !current || since(p.AnsweredNS) < resting
	if known && !all && !f.ended && goesOn && since(f.beganNS) < goingOn {
		return
	}
	if current {
		f.turn.AnswerBytes = p.Sent[server] - f.before[server]
		f.turn.Response = time.Duration(p.AnsweredNS - f.turn.AskedNS)
	}
	f.turn.Complete = f.ended
	t.show(f)
}

// forget drops a flow of which nothing is under way.
func (t *Tracker) forget(f *flow) {
	open := t.config.Conns && (f.synNS != 0 || f.fin != [2]bool{}) && !(f.fin[0] && f.fin[1])
	if !f.asked && !f.answered && f.change == nil && !open {
		delete(t.flows, f.of.Key)
	}
}

// Take returns what became known since it was called last, oldest first. It is valid until the next call of
// a method.
func (t *Tracker) Take() []Event {
	events := t.events
	t.events = t.events[:0]
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.NS, b.NS) })
	return events
}
