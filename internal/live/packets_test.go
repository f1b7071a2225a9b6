package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/tap"
	"github.com/lotrace/lotrace/internal/testkit"
)

// world is a sampler, an engine and an output in one, that notes what it is asked to do.
type world struct {
	waiting [][]reading.Sample // by read; the samples of one may take several
	reads   int
	stop    func()         // called when all was read
	flood   reading.Sample // of which there are always more; without data: none
	drowned int
	known   bool // flows are, from now on

	log  []string // "look", "window", and packets as they are put out
	fail error    // of the output
}

func (w *world) ReadSamples(deadline time.Time, into func(*reading.Sample) error) error {
	if len(w.waiting) == 0 {
		w.stop()
		return w.drown(into)
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
	time.Sleep(time.Until(deadline))
	w.waiting = w.waiting[1:]
	w.reads++
	return nil
}

// drown hands on of the flood what into takes, as long as there is one.
func (w *world) drown(into func(*reading.Sample) error) error {
	if w.drowned++; w.drowned > 10 {
		return errors.New("what is sampled after the end is read, too")
	}
	for len(w.flood.Data) > 0 {
		s := w.flood
		if err := into(&s); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) EndSamples() error { w.flood = reading.Sample{}; return nil }

func (w *world) Look() error  { w.log = append(w.log, "look"); return nil }
func (w *world) Settle()      {}
func (w *world) Sweep() error { return nil }
func (w *world) Window(*model.Flows) (*model.Window, error) {
	w.log = append(w.log, "window")
	return &model.Window{}, nil
}

func (w *world) FlowOf(s *reading.Sample) (model.Flow, bool) {
	return testkit.FlowOf(s), w.known
}

func (w *world) packet(p *model.Packet) error {
	if w.fail != nil {
		return w.fail
	}
	w.log = append(w.log, fmt.Sprintf("%d@%d netns %d to server %v", p.Length, p.Time.UnixNano(), p.Flow.Netns, p.ToServer))
	return nil
}

// run has a tap make packets of what a world has, until all was read, with a clock of its own.
func (w *world) run(t *testing.T, options tap.Options) (packets *tap.Tap, err error) {
	t.Helper()
	packets = tap.New(w, tap.Config{Options: options, Policies: reading.SampleAll, Netns: 7, WallClock: time.Second}, w.packet)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.stop = cancel
		err = Loop(ctx, Timing{}, Parts{Engine: w, Samples: w, Tap: packets}, Sinks{Packet: w.packet})
	})
	return packets, err
}

var small = testkit.Packet(testkit.TCP(testkit.ACK))

// Samples wait until the engine has looked twice, and then go in their order, those of the end included. Reading ends
// after 100 ms, 200, 250 to sweep, 300, 400 and 500: it does not look where it only sweeps.
func TestSamplesWait(t *testing.T) {
	w := &world{waiting: [][]reading.Sample{
		{testkit.Sample(1, true, small), testkit.Sample(2, false, small)}, {testkit.Sample(3, true, small)}, {testkit.Sample(4, true, small)},
		{testkit.Sample(5, true, small)}, {}, {testkit.Sample(6, true, small)},
	}}
	c, err := w.run(t, tap.Options{})
	want := []string{
		"look", "look", "54@1000000001 netns 1 to server true", "54@1000000002 netns 1 to server false",
		"look", "54@1000000003 netns 1 to server true",
		"look", "54@1000000004 netns 1 to server true", "54@1000000005 netns 1 to server true",
		"look", "look", "54@1000000006 netns 1 to server true", "look",
	}
	if diff := cmp.Diff(want, w.log); diff != "" || err != nil || c.Packets() != 6 {
		t.Error(diff, err, c.Packets())
	}
}

// As many samples as may wait are handed on before there are more, though nothing is due.
func TestTooManySamplesDoNotWait(t *testing.T) {
	large := testkit.Sample(1, true, slices.Concat(small, make([]byte, 9<<20)))
	w := &world{waiting: [][]reading.Sample{{large, large, testkit.Sample(2, true, small)}}}
	_, err := w.run(t, tap.Options{Whole: true})
	for i, line := range w.log {
		w.log[i], _, _ = strings.Cut(line, " ")
	}
	length := len(large.Data)
	want := []string{
		"look", "look", fmt.Sprint(length, "@1000000001"), fmt.Sprint(length, "@1000000001"), "look", "54@1000000002", "look",
	}
	if diff := cmp.Diff(want, w.log); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// A run ends though packets come faster than they are handed on.
func TestEndInAFlood(t *testing.T) {
	w := &world{flood: testkit.Sample(1, true, slices.Concat(small, make([]byte, 9<<20)))}
	if c, err := w.run(t, tap.Options{Whole: true}); err != nil || c.Packets() != 2 {
		t.Errorf("%d packets, %v", c.Packets(), err)
	}
}

func TestEnoughPackets(t *testing.T) {
	data := testkit.Packet(testkit.TCP(testkit.ACK), testkit.Payload(1000))
	s := testkit.Sample(1, true, data)
	s.SegmentSize = 100
	w := &world{waiting: [][]reading.Sample{{testkit.Sample(1, true, small), s, s}, {}, {}}}
	c, err := w.run(t, tap.Options{Limit: 5})
	if err != nil || c.Packets() != 5 {
		t.Errorf("%d packets: %v", c.Packets(), err)
	}
	if packets := slices.DeleteFunc(w.log, func(s string) bool { return s == "look" }); len(packets) != 5 || !strings.HasPrefix(packets[4], "154@") {
		t.Errorf("put out %q", packets)
	}
}

// A sink that has enough ends the run, and the others have what is left: a last window, and the packets that wait.
func TestEnoughForOne(t *testing.T) {
	waiting := func() [][]reading.Sample {
		return [][]reading.Sample{{testkit.Sample(1, true, small)}, {testkit.Sample(2, true, small)}, {testkit.Sample(3, true, small)}, {}, {}, {}}
	}
	for _, test := range []struct {
		name             string
		limit            uint64        // of packets
		interval         time.Duration // of windows, of which one is enough
		packets, windows int
	}{
		{"packets", 1, time.Hour, 1, 1},
		{"windows", 0, 150 * time.Millisecond, 3, 1},
	} {
		w := &world{waiting: waiting()}
		packets := tap.New(w, tap.Config{Options: tap.Options{Limit: test.limit}, Policies: reading.SampleAll}, w.packet)
		windows := 0
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			w.stop = func() { t.Errorf("%s: read on", test.name); cancel() }
			err := Loop(ctx, Timing{Interval: test.interval}, Parts{Engine: w, Samples: w, Tap: packets}, Sinks{
				Packet: w.packet,
				Window: func(*model.Window) error {
					windows++
					return model.ErrEnough
				},
			})
			if err != nil {
				t.Error(err)
			}
		})
		if n := packets.Packets(); n != uint64(test.packets) || windows != test.windows {
			t.Errorf("enough %s: %d packets and %d windows", test.name, n, windows)
		}
	}
}

func TestOutputFails(t *testing.T) {
	full := errors.New("disk full")
	w := &world{waiting: [][]reading.Sample{{testkit.Sample(1, true, small)}, {}, {}}, fail: full}
	if _, err := w.run(t, tap.Options{}); !errors.Is(err, full) {
		t.Error(err)
	}
}
