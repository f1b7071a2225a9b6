// Package tap turns what the kernel sampled into packets with names: it holds samples until owners are known, asks
// the filter, masks secrets, and cuts skbs into the packets that the device made of them.
package tap

import (
	"fmt"
	"time"

	"github.com/lotrace/lotrace/internal/frame"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Flows knows flows and their owners; stats.Engine does.
type Flows interface {
	FlowOf(*reading.Sample) (f model.Flow, known bool)
}

// Options say what to make of samples.
type Options struct {
	Whole        bool   // leave skbs whole that the device gets in segments
	RawChecksums bool   // leave checksums as the stack left them
	ShowsAll     bool   // payload with its secrets
	Limit        uint64 // as many packets at most; 0: any number
}

// Config is Options with what they are for.
type Config struct {
	Options
	Policies   reading.SamplePolicy   // packets to keep, by why they were sampled
	Snaplen    int                    // bytes of each skb to keep at most; 0: all
	Match      func(*model.Flow) bool // packets to keep, by their flow; nil: all
	Netns      uint32                 // of packets that tell nothing themselves
	WallClock  time.Duration          // time since 1970 less CLOCK_MONOTONIC
	DropReason func(uint32) string    // names of model.Sample.Drop
}

// Tap holds samples that wait. It is for one goroutine.
type Tap struct {
	config Config
	flows  Flows
	out    func(*model.Packet) error

	now, before batch // samples that wait
	secrets     secrets
	splitter    frame.Splitter
	packets     uint64
}

// New returns a tap that hands packets to out, each valid during the call. An error of out is returned by the method
// that called it.
func New(flows Flows, config Config, out func(*model.Packet) error) *Tap {
	return &Tap{
		config: config, flows: flows, out: out,
		splitter: frame.Splitter{Whole: config.Whole, RawChecksums: config.RawChecksums},
	}
}

// Packets is how many were put out.
func (t *Tap) Packets() uint64 { return t.packets }

// Pass puts out what had waited when Pass was called last. While nothing forces it earlier, a sample waits for the
// second call after it was added: where each comes behind a reading of flows, a process that accepted a connection
// has shown up by then, and what it is called was looked up.
func (t *Tap) Pass() error {
	if err := t.putOut(&t.before); err != nil {
		return err
	}
	t.now, t.before = t.before, t.now
	return nil
}

// Drain puts out all that waits.
func (t *Tap) Drain() error {
	for _, b := range []*batch{&t.before, &t.now} {
		if err := t.putOut(b); err != nil {
			return err
		}
	}
	return nil
}

// putOut empties a batch, the oldest first.
func (t *Tap) putOut(b *batch) error {
	for i := range b.samples {
		if err := t.sample(&b.samples[i]); err != nil {
			return err
		}
	}
	b.reset()
	return nil
}

func (t *Tap) sample(s *reading.Sample) error {
	flow, _ := t.flows.FlowOf(s)
	if !s.Reason.HasKey() {
		flow.Netns = t.config.Netns
	}
	if t.config.Match != nil && (!s.Reason.HasKey() || !t.config.Match(&flow)) {
		return nil
	}
	skb := frame.SKB{Data: s.Data, Length: int(s.Length), SegmentSize: int(s.SegmentSize)}
	if !t.config.ShowsAll {
		skb.Altered = t.secrets.mask(s)
	}
	packet := model.Packet{
		Time:       time.Unix(0, int64(s.MonoNS)+int64(t.config.WallClock)),
		ToServer:   s.Key.Endpoint(int(s.From&1)) == flow.Client.AddrPort(),
		Flow:       &flow,
		OneIn:      s.OneIn,
		Retransmit: s.Retransmit,
	}
	if s.Drop != 0 {
		packet.Drop = t.config.DropReason(s.Drop)
	}
	for data, length := range t.splitter.Packets(&skb) {
		packet.Data, packet.Length = data, length
		if err := t.out(&packet); err != nil {
			return err
		}
		t.packets++
		if t.packets == t.config.Limit {
			return model.ErrEnough
		}
	}
	return nil
}

// maxWaiting bounds how many bytes wait in one batch.
const maxWaiting = 16 << 20

// ErrFull says that as many samples wait as may: Pass or Drain is to be called before there are more.
var ErrFull = fmt.Errorf("%d bytes of samples wait", maxWaiting)

// batch is samples that wait, with their bytes.
type batch struct {
	samples []reading.Sample
	bytes   []byte
}

// Add keeps a copy of a sample, if it was taken to be a packet. It returns ErrFull when that was the last for which there was room.
func (t *Tap) Add(s *reading.Sample) error {
	if s.Why&t.config.Policies == 0 {
		return nil
	}
	data := s.Data
	if t.config.Snaplen > 0 {
		data = data[:min(len(data), t.config.Snaplen)]
	}
	b := &t.now
	begin := len(b.bytes)
	b.bytes = append(b.bytes, data...)
	b.samples = append(b.samples, *s)
	b.samples[len(b.samples)-1].Data = b.bytes[begin:len(b.bytes):len(b.bytes)]
	const each = 256 // what a sample takes beside its bytes
	if len(b.bytes)+each*len(b.samples) >= maxWaiting {
		return ErrFull
	}
	return nil
}

func (b *batch) reset() { b.samples, b.bytes = b.samples[:0], b.bytes[:0] }
