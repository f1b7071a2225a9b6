package trace

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

const (
	client = iota
	server
)

// wire is one flow as the kernel samples it, and what its table would say.
type wire struct {
	tracker *Tracker
	now     time.Duration // CLOCK_MONOTONIC
	key     reading.SlotKey
	slot    uint32
	client  uint8 // as the kernel has it
	gone    bool  // from the table
	told    []string

	sent       [2]uint64
	asked      uint32
	answered   uint32
	askedAt    time.Duration
	answeredAt time.Duration
}

func newWire(c Config) *wire {
	return &wire{
		tracker: NewTracker(c), now: time.Hour, slot: 7,
		key: reading.SlotKey{Port: [2]uint16{40000, 80}, Proto: model.ProtoTCP},
	}
}

// send puts a packet on the wire, 1 ms after the one before. Of what begins a message, or has one of the
// flags SYN, FIN and RST, there is a sample.
func (w *wire) send(from uint8, flags uint8, payload string) {
	w.now += time.Millisecond
	s := w.sample(from, flags, payload)
	if payload != "" {
		s.Message = w.follow(from)
		w.sent[from] += uint64(len(payload))
	}
	if s.Message.Number > 0 {
		s.Why |= reading.SampleHeads
	}
	if flags&(testkit.SYN|testkit.FIN|testkit.RST) != 0 {
		s.Why |= reading.SampleConns
	}
	if s.Why != 0 {
		w.tracker.Add(s)
	}
}

func (w *wire) sample(from uint8, flags uint8, payload string) *reading.Sample {
	header := testkit.Packet(testkit.TCP(flags))
	return &reading.Sample{
		MonoNS: uint64(w.now), Key: w.key, Slot: w.slot, From: from, Client: w.client,
		HeaderLen: uint32(len(header)), Length: uint32(len(header) + len(payload)), Data: append(header, payload...),
	}
}

// follow does what the kernel does with payload (bpf/turn.bpf.h).
func (w *wire) follow(from uint8) (m reading.Message) {
	m.Sent = w.sent
	switch {
	case from == w.client:
		if w.asked == w.answered {
			if w.asked > 0 {
				m.TookNS = uint64(w.answeredAt - w.askedAt)
			}
			w.asked++
			m.Number = w.asked
		}
		w.askedAt = w.now
	case w.asked > 0:
		if w.answered != w.asked {
			w.answered = w.asked
			m.Number, m.Answer = w.asked, true
			m.AskedNS, m.TookNS = uint64(w.askedAt), uint64(w.now-w.askedAt)
		}
		w.answeredAt = w.now
	}
	if m.Number == 0 {
		return reading.Message{}
	}
	return m
}

// rest lets time pass and notes what is told by then.
func (w *wire) rest(d time.Duration) {
	w.now += d
	w.tracker.Rest(uint64(w.now), false, w.progress)
	w.take()
}

func (w *wire) progress(*reading.Sample) (p reading.Progress, known bool) {
	return reading.Progress{Sent: w.sent, Asked: w.asked, Answered: w.answered, AnsweredNS: uint64(w.answeredAt)}, !w.gone
}

func (w *wire) take() {
	for _, e := range w.tracker.Take() {
		w.told = append(w.told, sentence(&e))
	}
}

// sentence puts an event as short as it goes.
func sentence(e *Event) string {
	if c := e.Conn; c != nil {
		s := string(c.Change)
		if e.By == server {
			s += " by server"
		}
		if c.Lasted > 0 {
			s += " after " + c.Lasted.String()
		}
		if c.Unanswered > 0 {
			s += fmt.Sprintf(", %d unanswered", c.Unanswered)
		}
		return s
	}
	t := e.Turn
	s := fmt.Sprintf("%d: %d→%d %v %v", t.Number, t.RequestBytes, t.AnswerBytes, t.Took, t.Response)
	if t.Complete {
		s += " complete"
	}
	if t.Request != nil || t.Answer != nil {
		s += fmt.Sprintf(" %q %q", t.Request, t.Answer)
	}
	if t.Retransmits+t.Drops > 0 {
		s += fmt.Sprintf(" %d again, %d dropped", t.Retransmits, t.Drops)
	}
	if p := t.Parts; p != nil {
		s += fmt.Sprintf(" wait %v", p.Wait)
	}
	return s
}

func (w *wire) handshake() {
	w.send(client, testkit.SYN, "")
	w.send(server, testkit.SYN|testkit.ACK, "")
}

const ms = time.Millisecond

// story is what goes over the wire, and what is told of it.
type story struct {
	name   string
	config Config
	play   func(w *wire)
	told   []string
}

func checkTold(t *testing.T, stories []story) {
	t.Helper()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			w := newWire(s.config)
			s.play(w)
			if !slices.Equal(w.told, s.told) {
				t.Errorf("got  %q\nwant %q", w.told, s.told)
			}
		})
	}
}

func TestTurnsAreTold(t *testing.T) {
	const ack = testkit.ACK
	checkTold(t, []story{
		{"one turn, told as it rests", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			w.send(server, ack, "answer")
			w.rest(50 * ms)
			w.told = append(w.told, "not yet")
			w.rest(100 * ms)
			w.rest(time.Second)
		}, []string{"not yet", "1: 3→6 1ms 1ms"}},
		{"the next request ends an answer", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			w.send(server, ack, "answer")
			w.send(server, ack, " in two")
			w.send(client, ack, "more")
			w.send(server, ack, "yes")
			w.rest(time.Second)
		}, []string{"1: 3→13 1ms 2ms complete", "2: 4→3 1ms 1ms"}},
		{"pipelined requests are one", Config{}, func(w *wire) {
			for range 3 {
				w.send(client, ack, "ask")
			}
			w.send(server, ack, "answer")
			w.rest(time.Second)
		}, []string{"1: 9→6 1ms 1ms"}},
		{"long poll", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			w.rest(time.Hour)
			w.send(server, ack, "at last")
			w.rest(time.Second)
		}, []string{"1: 3→7 1h0m0.001s 1h0m0.001s"}},
		{"a stream is told while it goes on", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			for range 15 {
				w.send(server, ack, "tick")
				w.rest(99 * ms)
			}
			w.told = append(w.told, "next")
			w.send(client, ack, "ask")
			w.send(server, ack, "tick")
			w.rest(time.Second)
		}, []string{"1: 3→44 1ms 1.001s", "next", "2: 3→4 1ms 1ms"}},
	})
}

// When all is over, what is under way is told as far as it came.
func TestTrackerShowsAllAtTheEnd(t *testing.T) {
	w := newWire(Config{})
	w.send(client, testkit.ACK, "ask")
	w.send(server, testkit.ACK, "answer")
	w.tracker.Rest(uint64(w.now), true, w.progress)
	w.take()
	if want := []string{"1: 3→6 1ms 1ms"}; !slices.Equal(w.told, want) {
		t.Errorf("got %q, want %q", w.told, want)
	}
}

// However many flows there are, so many are remembered and the others counted; none stays behind.
func TestTrackerIsBounded(t *testing.T) {
	w := newWire(Config{})
	w.tracker.maxFlows = 10
	for i := range 25 {
		w.slot, w.key.Port[client] = uint32(i), uint16(i)
		w.sent, w.asked, w.answered = [2]uint64{}, 0, 0
		w.send(client, testkit.ACK, "ask")
	}
	if n := len(w.tracker.flows); n != 10 || w.tracker.Forgotten != 15 {
		t.Errorf("%d flows, %d forgotten", n, w.tracker.Forgotten)
	}
	w.send(server, testkit.ACK, "answer")
	w.rest(time.Second)
	if n := len(w.tracker.flows); n != 9 {
		t.Errorf("%d flows, one of them at rest", n)
	}
}

// A sample's bytes are valid until the next one: nothing of them may be kept.
func TestTrackerCopies(t *testing.T) {
	w := newWire(Config{Payload: 9})
	w.asked = 1
	s := w.sample(client, testkit.ACK, "ask")
	s.Why, s.Message = reading.SampleHeads, reading.Message{Number: 1}
	w.tracker.Add(s)
	copy(s.Data, bytes.Repeat([]byte{'x'}, len(s.Data)))
	w.send(server, testkit.ACK, "yes")
	w.rest(time.Second)
	if want := []string{`1: 0→3 1h0m0.001s 1h0m0.001s "ask" "yes"`}; !slices.Equal(w.told, want) {
		t.Errorf("got %q, want %q", w.told, want)
	}
}
