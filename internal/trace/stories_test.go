package trace

import (
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

func TestConnectionsOpenAndClose(t *testing.T) {
	const ack = testkit.ACK
	checkTold(t, []story{
		{"a greeting answers nothing", Config{Conns: true}, func(w *wire) {
			w.handshake()
			w.send(server, ack, "220 hello")
			w.send(client, ack, "EHLO")
			w.send(server, ack, "250")
			w.rest(time.Second)
		}, []string{"open", "1: 4→3 1ms 1ms"}},
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
		{"what nobody asked about", Config{Conns: true}, func(w *wire) {
			s := w.sample(client, testkit.SYN, "")
			s.Why, s.Reason = reading.SampleConns, reading.ReasonMalformed
			w.tracker.Add(s)
			w.rest(time.Second)
		}, nil},
	})
}

func TestConnectionsAreCutOff(t *testing.T) {
	const ack = testkit.ACK
	checkTold(t, []story{
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
	})
}

func TestPartsOfOtherFlowsAreNotJoined(t *testing.T) {
	const ack = testkit.ACK
	checkTold(t, []story{
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
	})
}

func TestWhatIsMissingIsNotMadeUp(t *testing.T) {
	const ack = testkit.ACK
	checkTold(t, []story{
		{"an answer that was not seen", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			w.follow(server)
			w.send(client, ack, "more")
			w.send(server, ack, "yes")
			w.rest(time.Second)
		}, []string{"2: 4→3 1ms 1ms"}},
		{"sent again and dropped", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			again := w.sample(client, ack, "ask")
			again.Why, again.Retransmit = reading.SampleErrors, true
			w.tracker.Add(again)
			dropped := w.sample(client, ack, "ask")
			dropped.Why, dropped.Drop, dropped.Slot = reading.SampleErrors, 5, reading.NoSlot
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
			dropped.Why, dropped.Drop, dropped.Slot, dropped.Client = reading.SampleErrors, 5, reading.NoSlot, 0
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
	})
}

func TestTurnsShowWhatIsAskedFor(t *testing.T) {
	const ack = testkit.ACK
	checkTold(t, []story{
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
		{"parts", Config{}, func(w *wire) {
			w.send(client, ack, "ask")
			w.tracker.Explain([]reading.SlowTurn{{Key: w.key, AskedNS: uint64(w.askedAt), Parts: &model.SlowParts{Wait: 5}}})
			w.send(server, ack, "yes")
			w.rest(0)
			w.tracker.Explain(nil)
			w.rest(0)
			w.tracker.Explain(nil)
			w.rest(time.Second)
		}, []string{"1: 3→3 1ms 1ms wait 5ns"}},
	})
}
