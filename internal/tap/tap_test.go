package tap

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/lotrace/lotrace/internal/frame"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// flows knows none.
type flows struct{}

func (flows) FlowOf(s *reading.Sample) (model.Flow, bool) {
	return testkit.FlowOf(s), false
}

// output notes packets, and keeps their bytes.
type output struct {
	netns []uint32
	data  [][]byte
}

func (o *output) packet(p *model.Packet) error {
	o.netns = append(o.netns, p.Flow.Netns)
	o.data = append(o.data, slices.Clone(p.Data))
	return nil
}

// through has a tap make packets of samples.
func through(t *testing.T, config Config, samples ...reading.Sample) (*Tap, *output) {
	t.Helper()
	out := &output{}
	config.Netns, config.Policies = 7, reading.SampleAll
	tap := New(flows{}, config, out.packet)
	for _, s := range samples {
		s.Data = slices.Clone(s.Data)
		err := tap.Add(&s)
		clear(s.Data) // its memory is the kernel's again
		if errors.Is(err, ErrFull) {
			err = tap.Pass()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tap.Drain(); err != nil {
		t.Fatal(err)
	}
	return tap, out
}

var small = testkit.Packet(testkit.TCP(testkit.ACK))

// The filter decides by the flow; what has none can have been asked for by nobody.
func TestMatch(t *testing.T) {
	stray := testkit.Sample(2, true, small)
	stray.Reason, stray.Key = reading.ReasonMalformed, reading.SlotKey{}
	other := testkit.Sample(1, true, small)
	other.Key.Port[0] = 81
	samples := []reading.Sample{testkit.Sample(0, true, small), other, stray}
	tap, _ := through(t, Config{Match: func(f *model.Flow) bool { return f.Server.Port != 81 }}, samples...)
	if tap.Packets() != 1 {
		t.Errorf("%d packets of three, of which one matches", tap.Packets())
	}
	tap, out := through(t, Config{}, samples...)
	if tap.Packets() != 3 || !slices.Equal(out.netns, []uint32{1, 1, 7}) {
		t.Errorf("%d packets of %v", tap.Packets(), out.netns)
	}
}

// Samples that were taken for others are no packets, and no packet has more bytes than were asked for.
func TestSamplesForOthers(t *testing.T) {
	both, other := testkit.Sample(1, true, small), testkit.Sample(2, true, small)
	both.Why |= reading.SampleHeads
	other.Why = reading.SampleHeads | reading.SampleConns
	tap, out := through(t, Config{Snaplen: 40}, both, other)
	if tap.Packets() != 1 || len(out.data[0]) != 40 {
		t.Errorf("%d packets, %x", tap.Packets(), out.data)
	}
}

// A storm does not wait longer than there is memory for it.
func TestStorm(t *testing.T) {
	data := testkit.Packet(testkit.TCP(testkit.ACK), testkit.Payload(60000))
	many := make([]reading.Sample, 3*maxWaiting/len(data))
	for i := range many {
		many[i] = testkit.Sample(uint64(i), true, data)
	}
	tap, _ := through(t, Config{Options: Options{ShowsAll: true}}, many...)
	if tap.Packets() != uint64(len(many)) {
		t.Errorf("%d of %d packets", tap.Packets(), len(many))
	}
	if limit := maxWaiting + 1<<20; cap(tap.now.bytes) > 2*limit || cap(tap.before.bytes) > 2*limit {
		t.Errorf("%d and %d bytes waited", cap(tap.now.bytes), cap(tap.before.bytes))
	}
}

// with makes payload that of a packet, and its checksum fit.
func with(payload string, options ...testkit.Option) []byte {
	b := testkit.Packet(append(options, testkit.Payload(len(payload)))...)
	copy(b[len(b)-len(payload):], payload)
	return finished(b)
}

func finished(b []byte) []byte {
	b = slices.Clone(b)
	for p := range (&frame.Splitter{}).Packets(&frame.SKB{Data: b, Length: len(b), Altered: true}) {
		return slices.Clone(p)
	}
	return nil
}

// A secret that begins in one segment and goes on in the next is masked in both, and checksums fit.
func TestSecrets(t *testing.T) {
	first, second := "GET / HTTP/1.1\r\nAuthorization: Bearer topse", "cret\r\nHost: x\r\n\r\n"
	samples := []reading.Sample{
		testkit.Sample(1, true, with(first, testkit.TCP(testkit.ACK), testkit.Seq(1))),
		testkit.Sample(2, true, with(second, testkit.TCP(testkit.ACK), testkit.Seq(uint32(1+len(first))))),
		testkit.Sample(3, true, with("GET / HTTP/1.1\r\nCookie: topsecret\r\n\r\n", testkit.UDP())),
	}
	for _, showsAll := range []bool{false, true} {
		_, k := through(t, Config{Options: Options{ShowsAll: showsAll}}, samples...)
		all := bytes.Join(k.data, nil)
		if got := bytes.Contains(all, []byte("topse")) || bytes.Contains(all, []byte("cret\r\n")); got != showsAll {
			t.Errorf("shows all %v: secrets are there: %v\n%q", showsAll, got, k.data)
		}
		if !bytes.Contains(all, []byte("Host: x\r\n")) {
			t.Error("what is no secret is masked")
		}
		for _, data := range k.data {
			if !bytes.Equal(finished(data), data) {
				t.Errorf("shows all %v: a bad checksum in %x", showsAll, data)
			}
		}
	}
}

// However many connections there are, so many at most are followed, and those that speak stay.
func TestConnectionsAreBounded(t *testing.T) {
	var m secrets
	key := reading.SlotKey{Site: 1}
	first := m.connection(&key, 0)
	for i := range 5 * maxConnections {
		m.connection(&reading.SlotKey{Site: uint32(2 + i)}, 0)
		if i%1000 == 0 && m.connection(&key, 0) != first {
			t.Fatalf("forgotten after %d others", i)
		}
	}
	if n := len(m.young) + len(m.old); n > 2*maxConnections {
		t.Errorf("%d connections", n)
	}
	if m.connection(&key, frame.SYN) == first {
		t.Error("a new connection goes on with what the one before had begun")
	}
}
