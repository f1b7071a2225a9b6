package trace

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
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
	key     model.SlotKey
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
		key: model.SlotKey{Port: [2]uint16{40000, 80}, Proto: model.ProtoTCP},
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
		s.Why |= model.SampleHeads
	}
	if flags&(testkit.SYN|testkit.FIN|testkit.RST) != 0 {
		s.Why |= model.SampleConns
	}
	if s.Why != 0 {
		w.tracker.Add(s)
	}
}

func (w *wire) sample(from uint8, flags uint8, payload string) *model.Sample {
	header := testkit.Packet(testkit.TCP(flags))
	return &model.Sample{
		MonoNS: uint64(w.now), Key: w.key, Slot: w.slot, From: from, Client: w.client,
		HeaderLen: uint32(len(header)), Length: uint32(len(header) + len(payload)), Data: append(header, payload...),
	}
}

// follow does what the kernel does with payload (bpf/turn.bpf.h).
func (w *wire) follow(from uint8) (m model.Message) {
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
		return model.Message{}
	}
	return m
}

// rest lets time pass and notes what is told by then.
func (w *wire) rest(d time.Duration) {
	w.now += d
	w.tracker.Rest(uint64(w.now), false, w.progress)
	w.take()
}

func (w *wire) progress(*model.Sample) (p model.Progress, known bool) {
	return model.Progress{Sent: w.sent, Asked: w.asked, Answered: w.answered, AnsweredNS: uint64(w.answeredAt)}, !w.gone
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

func TestTracker(t *testing.T) {
	const ack = testkit.ACK
	tests := []struct {
		name   string
		config Config
		talk   func(w *wire)
		want   []string
	}{
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
		{"a greeting answers nothing", Config{Conns: true}, func(w *wire) {
			w.handshake()
			w.send(server, ack, "220 hello")
			w.send(client, ack, "EHLO")
			w.send(server, ack, "250")
			w.rest(time.Second)
		}, []string{"open", "1: 4→3 1ms 1ms"}},
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
		{"the server's end ends an answer", Config{Conns: true}, func(w *wire) {
			w.handshake()
			w.send(client, ack, "ask")
			w.send(server, ack, "answer")
			w.send(server, ack|testkit.FIN, "!")
			w.rest(0)
			w.send(client, ack|testkit.FIN, "")
			w.rest(0)
		}, []string{"open", "1: 3→7 1ms 2ms complete", "closed by server after 5ms"}},
		{"half-closed", Config{Conns: true}, func(w *wire) {
			w.handshake()
			w.send(client, ack|testkit.FIN, "ask")
			w.send(server, ack, "answer")
			w.rest(10 * ms)
			w.send(server, ack|testkit.FIN, "")
			w.rest(0)
		}, []string{"open", "1: 3→6 1ms 1ms complete", "closed after 14ms"}},
		{"closed without an answer", Config{Conns: true}, func(w *wire) {
			w.handshake()
			w.send(client, ack, "ask")
			w.send(client, ack|testkit.FIN, " more")
			w.send(server, ack|testkit.FIN, "")
			w.rest(time.Second)
		}, []string{"open", "closed after 4ms, 8 unanswered"}},
		{"reset under an answer", Config{Conns: true}, func(w *wire) {
			w.handshake()
			w.send(client, ack, "ask")
			w.send(server, ack, "answer")
			w.send(client, testkit.RST, "")
			w.rest(0)
		}, []string{"open", "1: 3→6 1ms 1ms complete", "reset after 4ms"}},
		{"reset before an answer", Config{Conns: true}, func(w *wire) {
			w.send(client, ack, "ask")
			w.send(server, testkit.RST, "")
			w.send(server, testkit.RST, "")
			w.rest(0)
		}, []string{"reset by server, 3 unanswered"}},
		{"refused", Config{Conns: true}, func(w *wire) {
			w.send(client, testkit.SYN, "")
			w.send(client, testkit.SYN, "")
			w.send(server, testkit.RST|ack, "")
			w.rest(0)
		}, []string{"refused by server after 2ms"}},
		{"no word about connections", Config{}, func(w *wire) {
			w.handshake()
			w.send(client, ack, "ask")
			w.send(server, ack, "answer")
			w.send(server, testkit.RST, "")
			w.rest(0)
		}, []string{"1: 3→6 1ms 1ms complete"}},
		{"another connection in the slot", Config{Conns: true}, func(w *wire) {
			w.handshake()
			w.send(client, ack, "ask")
			w.send(server, ack, "answer")
			w.sent, w.asked, w.answered = [2]uint64{}, 0, 0
			w.handshake()
			w.send(client, ack, "asks")
			w.send(server, ack, "yes")
			w.rest(time.Second)
		}, []string{"open", "1: 3→0 1ms 0s", "open", "1: 4→3 1ms 1ms"}},
		{"another slot", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			w.send(server, ack, "answer")
			w.slot, w.sent, w.asked, w.answered = 8, [2]uint64{}, 0, 0
			w.send(client, ack, "asks")
			w.send(server, ack, "yes")
			w.rest(time.Second)
		}, []string{"1: 3→0 1ms 0s", "1: 4→3 1ms 1ms"}},
		{"the flow is gone", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			w.send(server, ack, "answer")
			w.gone = true
			w.rest(0)
		}, []string{"1: 3→0 1ms 0s"}},
		{"a request that was not seen", Config{Payload: 9}, func(w *wire) {
			w.follow(client)
			w.send(server, ack, "answer")
			w.rest(time.Second)
		}, []string{`1: 0→6 1ms 1ms "" "answer"`}},
		{"an answer that was not seen", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			w.follow(server)
			w.send(client, ack, "more")
			w.send(server, ack, "yes")
			w.rest(time.Second)
		}, []string{"2: 4→3 1ms 1ms"}},
		{"payload", Config{Payload: 11}, func(w *wire) {
			w.send(client, ack, "AUTH hunter22\r\n")
			w.send(server, ack, "+OK\r\n")
			w.rest(time.Second)
		}, []string{`1: 15→5 1ms 1ms "AUTH ******" "+OK\r\n"`}},
		{"payload as it is", Config{Payload: 11, NoRedact: true}, func(w *wire) {
			w.send(client, ack, "AUTH hunter22\r\n")
			w.send(server, ack, "+OK\r\n")
			w.rest(time.Second)
		}, []string{`1: 15→5 1ms 1ms "AUTH hunter" "+OK\r\n"`}},
		{"a secret beyond what is shown", Config{Payload: 16}, func(w *wire) {
			w.send(client, ack, "see http://user:password@host/")
			w.send(server, ack, "no")
			w.rest(time.Second)
		}, []string{`1: 30→2 1ms 1ms "see http://*****" "no"`}},
		{"sent again and dropped", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			again := w.sample(client, ack, "ask")
			again.Why, again.Retransmit = model.SampleErrors, true
			w.tracker.Add(again)
			dropped := w.sample(client, ack, "ask")
			dropped.Why, dropped.Drop, dropped.Slot = model.SampleErrors, 5, model.NoSlot
			w.tracker.Add(dropped)
			w.send(server, ack, "yes")
			w.rest(time.Second)
			w.send(client, ack, "ask")
			w.send(server, ack, "yes")
			w.rest(time.Second)
		}, []string{"1: 3→3 1ms 1ms 1 again, 1 dropped", "2: 3→3 1ms 1ms"}},
		{"dropped, the client unknown", Config{}, func(w *wire) {
			w.client = server
			w.send(server, ack, "asks")
			dropped := w.sample(server, ack, "asks")
			dropped.Why, dropped.Drop, dropped.Slot, dropped.Client = model.SampleErrors, 5, model.NoSlot, 0
			w.tracker.Add(dropped)
			w.send(client, ack, "yes")
			w.rest(time.Second)
		}, []string{"1: 4→3 1ms 1ms 0 again, 1 dropped"}},
		{"the client turns out to be the other end", Config{}, func(w *wire) {
			w.client = server
			w.send(server, ack, "no question")
			w.client = client
			w.send(client, ack, "ask")
			w.send(server, ack, "answer")
			w.send(client, ack, "more")
			w.send(server, ack, "yes")
			w.rest(time.Second)
		}, []string{"1: 0→6 1ms 1ms complete", "2: 4→3 1ms 1ms"}},
		{"parts", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			w.tracker.Explain([]model.SlowTurn{{Key: w.key, AskedNS: uint64(w.askedAt), Parts: &model.SlowParts{Wait: 5}}})
			w.send(server, ack, "yes")
			w.rest(0)
			w.tracker.Explain(nil)
			w.rest(0)
			w.tracker.Explain(nil)
			w.rest(time.Second)
		}, []string{"1: 3→3 1ms 1ms wait 5ns"}},
		{"what nobody asked about", Config{Conns: true}, func(w *wire) {
			s := w.sample(client, testkit.SYN, "")
			s.Why, s.Reason = model.SampleConns, model.ReasonMalformed
			w.tracker.Add(s)
			w.rest(time.Second)
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWire(test.config)
			test.talk(w)
			if !slices.Equal(w.told, test.want) {
				t.Errorf("got  %q\nwant %q", w.told, test.want)
			}
		})
	}
}

// When all is over, what is under way is told as far as it came.
func TestTrackerTellsAllAtTheEnd(t *testing.T) {
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

// What a sample holds is valid until the next: nothing of it may be kept.
func TestTrackerCopies(t *testing.T) {
	w := newWire(Config{Payload: 9})
	w.asked = 1
	s := w.sample(client, testkit.ACK, "ask")
	s.Why, s.Message = model.SampleHeads, model.Message{Number: 1}
	w.tracker.Add(s)
	copy(s.Data, bytes.Repeat([]byte{'x'}, len(s.Data)))
	w.send(server, testkit.ACK, "yes")
	w.rest(time.Second)
	if want := []string{`1: 0→3 1h0m0.001s 1h0m0.001s "ask" "yes"`}; !slices.Equal(w.told, want) {
		t.Errorf("got %q, want %q", w.told, want)
	}
}
