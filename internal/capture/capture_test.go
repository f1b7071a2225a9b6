package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/frame"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

// world is a sampler, an engine and an output in one, that notes what it is asked to do.
type world struct {
	waiting [][]model.Sample // by read; the samples of one may take several
	reads   int
	stop    func() // called when all was read
	known   bool   // flows are, from now on

	log  []string // "look", "window", and packets as they are put out
	fail error    // of the output
}

func (w *world) ReadSamples(deadline time.Time, into func(*model.Sample) error) error {
	if len(w.waiting) == 0 {
		w.stop()
		return nil
	}
	for len(w.waiting[0]) > 0 {
		s := w.waiting[0][0]
		w.waiting[0] = w.waiting[0][1:]
		data := slices.Clone(s.Data)
		s.Data = data
		err := into(&s)
		clear(data) // its memory is the kernel's again
		if err != nil {
			return err
		}
	}
	w.waiting = w.waiting[1:]
	w.reads++
	return nil
}

func (w *world) Look() error  { w.log = append(w.log, "look"); return nil }
func (w *world) Sweep() error { return nil }
func (w *world) Window() (*model.Window, error) {
	w.log = append(w.log, "window")
	return &model.Window{}, nil
}

func (w *world) FlowOf(s *model.Sample) (model.Flow, bool) {
	from, to := s.Key.Endpoint(int(s.Client)), s.Key.Endpoint(int(1-s.Client))
	f := model.Flow{Client: model.Endpoint{Addr: from.Addr(), Port: from.Port()}, Server: model.Endpoint{Addr: to.Addr(), Port: to.Port()}}
	if s.Reason.HasKey() {
		f.Netns = 1
	}
	return f, w.known
}

func (w *world) Packet(p *Packet) error {
	if w.fail != nil {
		return w.fail
	}
	w.log = append(w.log, fmt.Sprintf("%d@%d netns %d to server %v", p.Length, p.Time.UnixNano(), p.Flow.Netns, p.ToServer))
	return nil
}
func (w *world) Flush() error { return nil }

// sampleOf is one of a packet from the client, of port 40000, or from the server, of port 80.
func sampleOf(ns uint64, fromClient bool, data []byte) model.Sample {
	lo := [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
	s := model.Sample{
		MonoNS: ns, Key: model.SlotKey{Addr: [2][16]byte{lo, lo}, Port: [2]uint16{80, 40000}, Proto: model.ProtoTCP},
		Client: 1, OneIn: 1, Length: uint32(len(data)), Data: data,
	}
	if fromClient {
		s.From = 1
	}
	return s
}

func run(t *testing.T, w *world, config Config) (*Capture, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.stop = cancel
	config.Netns = 7
	config.Alive = func() error { return nil }
	config.WallClock = time.Second
	c := New(w, w, w, config)
	return c, c.Run(ctx)
}

var small = testkit.Packet(testkit.TCP(testkit.ACK))

// Samples wait until the engine has looked twice, and then go in their order, those of the end included.
func TestSamplesWait(t *testing.T) {
	w := &world{waiting: [][]model.Sample{
		{sampleOf(1, true, small), sampleOf(2, false, small)}, {sampleOf(3, true, small)}, {}, {sampleOf(4, true, small)},
	}}
	c, err := run(t, w, Config{})
	want := []string{
		"look", "look", "54@1000000001 netns 1 to server true", "54@1000000002 netns 1 to server false",
		"look", "54@1000000003 netns 1 to server true", "look", "look", "54@1000000004 netns 1 to server true", "look",
	}
	if diff := cmp.Diff(want, w.log); diff != "" || err != nil || c.Packets() != 4 {
		t.Error(diff, err, c.Packets())
	}
}

func TestEnoughPackets(t *testing.T) {
	data := testkit.Packet(testkit.TCP(testkit.ACK), testkit.Payload(1000))
	s := sampleOf(1, true, data)
	s.SegmentSize = 100
	w := &world{waiting: [][]model.Sample{{sampleOf(1, true, small), s, s}, {}, {}}}
	c, err := run(t, w, Config{Packets: 5})
	if err != nil || c.Packets() != 5 {
		t.Errorf("%d packets: %v", c.Packets(), err)
	}
	if packets := slices.DeleteFunc(w.log, func(s string) bool { return s == "look" }); len(packets) != 5 || !strings.HasPrefix(packets[4], "154@") {
		t.Errorf("put out %q", packets)
	}
}

func TestOutputFails(t *testing.T) {
	full := errors.New("disk full")
	w := &world{waiting: [][]model.Sample{{sampleOf(1, true, small)}, {}, {}}, fail: full}
	if _, err := run(t, w, Config{}); !errors.Is(err, full) {
		t.Error(err)
	}
}

// The filter decides by the flow; what has none can have been asked for by nobody.
func TestMatch(t *testing.T) {
	stray := sampleOf(2, true, small)
	stray.Reason, stray.Key = model.ReasonMalformed, model.SlotKey{}
	samples := func() [][]model.Sample {
		other := sampleOf(1, true, small)
		other.Key.Port[0] = 81
		return [][]model.Sample{{sampleOf(0, true, small), other, stray}, {}}
	}
	w := &world{waiting: samples()}
	c, err := run(t, w, Config{Match: func(f *model.Flow) bool { return f.Server.Port != 81 }})
	if err != nil || c.Packets() != 1 || c.Unmatched() != 2 {
		t.Errorf("%d packets, %d left out: %v", c.Packets(), c.Unmatched(), err)
	}
	w = &world{waiting: samples()}
	if c, err = run(t, w, Config{}); err != nil || c.Packets() != 3 || !slices.ContainsFunc(w.log, func(s string) bool { return strings.Contains(s, "netns 7") }) {
		t.Errorf("%d packets of %q: %v", c.Packets(), w.log, err)
	}
}

// A storm does not wait longer than there is memory for it.
func TestStorm(t *testing.T) {
	data := testkit.Packet(testkit.TCP(testkit.ACK), testkit.Payload(60000))
	many := make([]model.Sample, 3*maxWaiting/len(data))
	for i := range many {
		many[i] = sampleOf(uint64(i), true, data)
	}
	w := &world{waiting: [][]model.Sample{slices.Clone(many), {}}}
	c, err := run(t, w, Config{ShowsAll: true})
	if err != nil || c.Packets() != uint64(len(many)) {
		t.Errorf("%d of %d packets: %v", c.Packets(), len(many), err)
	}
	if limit := maxWaiting + 1<<20; cap(c.now.bytes) > 2*limit || cap(c.before.bytes) > 2*limit {
		t.Errorf("%d and %d bytes waited", cap(c.now.bytes), cap(c.before.bytes))
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

// keeper keeps the bytes of packets.
type keeper struct {
	*world
	data [][]byte
}

func (k *keeper) Packet(p *Packet) error {
	k.data = append(k.data, slices.Clone(p.Data))
	return nil
}

// A secret that begins in one segment and goes on in the next is masked in both, and checksums fit.
func TestSecrets(t *testing.T) {
	first, second := "GET / HTTP/1.1\r\nAuthorization: Bearer topse", "cret\r\nHost: x\r\n\r\n"
	samples := []model.Sample{
		sampleOf(1, true, with(first, testkit.TCP(testkit.ACK), testkit.Seq(1))),
		sampleOf(2, true, with(second, testkit.TCP(testkit.ACK), testkit.Seq(uint32(1+len(first))))),
		sampleOf(3, true, with("GET / HTTP/1.1\r\nCookie: topsecret\r\n\r\n", testkit.UDP())),
	}
	for _, showsAll := range []bool{false, true} {
		k := &keeper{world: &world{waiting: [][]model.Sample{slices.Clone(samples), {}}}}
		ctx, cancel := context.WithCancel(t.Context())
		k.stop = cancel
		c := New(k, k, k, Config{ShowsAll: showsAll, Alive: func() error { return nil }})
		if err := c.Run(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
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
	key := model.SlotKey{Site: 1}
	first := m.connection(&key, 0)
	for i := range 5 * maxConnections {
		m.connection(&model.SlotKey{Site: uint32(2 + i)}, 0)
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
