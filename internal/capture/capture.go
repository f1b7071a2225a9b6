// Package capture turns what the kernel sampled into packets with names: it waits a little until owners are
// known, asks the filter, masks secrets, and cuts skbs into the packets that the device made of them.
package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lotrace/lotrace/internal/frame"
	"github.com/lotrace/lotrace/internal/model"
)

// Sampler is where samples come from; the loader is one.
type Sampler interface {
	// ReadSamples waits for samples until the deadline at most, and calls into for those there are. An
	// error of into ends the reading and is returned.
	ReadSamples(deadline time.Time, into func(*model.Sample) error) error
}

// Engine knows flows and their owners; stats.Engine is one.
type Engine interface {
	Look() error
	Sweep() error
	Window() (*model.Window, error)
	FlowOf(*model.Sample) (f model.Flow, known bool)
}

// Output is where packets go. What it gets is valid during the call.
type Output interface {
	Packet(*Packet) error
	Flush() error
}

// Packet is one that a device has seen.
type Packet struct {
	Time     time.Time
	Data     []byte // from the MAC header on
	Length   int    // on the wire; at least that of Data
	ToServer bool
	Flow     *model.Flow   // without counts
	Sample   *model.Sample // that it is from
}

// Config says what to make of samples, and for how long.
type Config struct {
	Match        func(*model.Flow) bool // packets to keep, by their flow; nil: all
	Netns        uint32                 // of packets that tell nothing themselves
	Whole        bool                   // leave skbs whole that the device gets in segments
	RawChecksums bool                   // leave checksums as the stack left them
	ShowsAll     bool                   // payload with its secrets
	Duration     time.Duration          // 0: until the context ends
	Packets      uint64                 // as many at most; 0: any number
	WallClock    time.Duration          // time since 1970 less CLOCK_MONOTONIC
	Alive        func() error           // asked after each batch; an error ends the capture
}

// While nothing forces it earlier, samples wait until the second of these moments after they were taken: by
// then a process that accepted a connection has shown up, and what it is called is looked up.
const batchEvery = 100 * time.Millisecond

// How often flows that ended are freed, and forgotten.
const (
	sweepEvery  = 250 * time.Millisecond
	windowEvery = time.Second
)

// Capture is one run. It is for one goroutine.
type Capture struct {
	config  Config
	sampler Sampler
	engine  Engine
	out     Output

	now, before   batch // samples that wait
	swept, window time.Time
	secrets       secrets
	splitter      frame.Splitter
	packets       uint64
	unmatched     uint64
}

// New prepares a run.
func New(sampler Sampler, engine Engine, out Output, config Config) *Capture {
	return &Capture{
		config: config, sampler: sampler, engine: engine, out: out,
		splitter: frame.Splitter{Whole: config.Whole, RawChecksums: config.RawChecksums},
	}
}

// Packets is how many were put out.
func (c *Capture) Packets() uint64 { return c.packets }

// Unmatched is how many samples the filter left out that the kernel could not.
func (c *Capture) Unmatched() uint64 { return c.unmatched }

// errEnough ends a capture that has its packets.
var errEnough = errors.New("enough packets")

// Run captures until the context or the time ends, or there are enough packets.
func (c *Capture) Run(ctx context.Context) error {
	begin := time.Now()
	c.swept, c.window = begin, begin
	err := c.run(ctx, begin)
	if errors.Is(err, errEnough) {
		err = nil // also where the namespace went away meanwhile
	}
	return errors.Join(err, c.out.Flush())
}

func (c *Capture) run(ctx context.Context, begin time.Time) error {
	for ctx.Err() == nil {
		deadline := time.Now().Add(batchEvery)
		if c.config.Duration > 0 {
			end := begin.Add(c.config.Duration)
			if !time.Now().Before(end) {
				break
			}
			if deadline.After(end) {
				deadline = end
			}
		}
		if _, err := c.read(deadline); err != nil {
			return err
		}
		if err := c.putOut(&c.before); err != nil {
			return err
		}
		c.now, c.before = c.before, c.now
		if err := c.keepHouse(); err != nil {
			return err
		}
		if gone := c.config.Alive(); gone != nil {
			return errors.Join(c.drain(), gone)
		}
	}
	return c.drain()
}

// read takes the samples there are, or as many as may wait at once, and reports whether there may be more.
func (c *Capture) read(deadline time.Time) (more bool, err error) {
	err = c.sampler.ReadSamples(deadline, c.now.add)
	if errors.Is(err, errFull) {
		return true, c.engine.Look()
	}
	if err != nil {
		return false, err
	}
	return false, c.engine.Look()
}

// drain puts out what waits, and what was sampled before it was called.
func (c *Capture) drain() error {
	for more := true; more; {
		var err error
		if more, err = c.read(time.Time{}); err != nil {
			return err
		}
		for _, b := range []*batch{&c.before, &c.now} {
			if err := c.putOut(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepHouse frees the slots of flows that are over. The engine forgets them as a window ends, so nothing may
// wait then.
func (c *Capture) keepHouse() error {
	now := time.Now()
	if now.Sub(c.swept) < sweepEvery {
		return nil
	}
	c.swept = now
	if err := c.engine.Sweep(); err != nil {
		return err
	}
	if now.Sub(c.window) >= windowEvery {
		c.window = now
		if err := c.putOut(&c.before); err != nil {
			return err
		}
		if _, err := c.engine.Window(); err != nil {
			return err
		}
	}
	return nil
}

// putOut empties a batch, the oldest first.
func (c *Capture) putOut(b *batch) error {
	if len(b.samples) == 0 {
		return nil
	}
	for i := range b.samples {
		if err := c.sample(&b.samples[i]); err != nil {
			return err
		}
	}
	b.reset()
	return c.out.Flush()
}

func (c *Capture) sample(s *model.Sample) error {
	flow, _ := c.engine.FlowOf(s)
	if !s.Reason.HasKey() {
		flow.Netns = c.config.Netns
	}
	if c.config.Match != nil && (!s.Reason.HasKey() || !c.config.Match(&flow)) {
		c.unmatched++
		return nil
	}
	skb := frame.SKB{Data: s.Data, Length: int(s.Length), SegmentSize: int(s.SegmentSize)}
	if !c.config.ShowsAll {
		skb.Altered = c.secrets.mask(s)
	}
	packet := Packet{
		Time:     time.Unix(0, int64(s.MonoNS)+int64(c.config.WallClock)),
		ToServer: s.Key.Endpoint(int(s.From&1)) == flow.Client.AddrPort(),
		Flow:     &flow,
		Sample:   s,
	}
	for data, length := range c.splitter.Packets(&skb) {
		packet.Data, packet.Length = data, length
		if err := c.out.Packet(&packet); err != nil {
			return err
		}
		c.packets++
		if c.packets == c.config.Packets {
			return errEnough
		}
	}
	return nil
}

// maxWaiting bounds how many bytes wait in one batch.
const maxWaiting = 16 << 20

// errFull says that a batch is.
var errFull = fmt.Errorf("%d bytes of samples wait", maxWaiting)

// batch is samples that wait, with their bytes.
type batch struct {
	samples []model.Sample
	bytes   []byte
}

// add keeps a copy.
func (b *batch) add(s *model.Sample) error {
	begin := len(b.bytes)
	b.bytes = append(b.bytes, s.Data...)
	b.samples = append(b.samples, *s)
	b.samples[len(b.samples)-1].Data = b.bytes[begin:len(b.bytes):len(b.bytes)]
	const each = 256 // what a sample takes beside its bytes
	if len(b.bytes)+each*len(b.samples) >= maxWaiting {
		return errFull
	}
	return nil
}

func (b *batch) reset() { b.samples, b.bytes = b.samples[:0], b.bytes[:0] }
