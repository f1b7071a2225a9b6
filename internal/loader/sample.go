package loader

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/lotrace/lotrace/internal/advice"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// MaxSnaplen is how much of a packet is copied at most: LT_MAX_SNAPLEN.
const MaxSnaplen = 256<<10 + 256

// Limits of SampleConfig.Buffer, and what it is by default.
const (
	MinSampleBuffer   = 64 << 10
	MaxSampleBuffer   = 1 << 30
	smallSampleBuffer = 4 << 20
	largeSampleBuffer = 16 << 20
)

// LeastSampleBuffer is the smallest SampleConfig.Buffer for so much of each packet.
func LeastSampleBuffer(snaplen int) int {
	return max(MinSampleBuffer, 1<<bits.Len(uint(2*(snaplen+sampleSize)-1)))
}

// ErrNotSampling is returned by ReadSamples where Config.Sample asks for nothing.
var ErrNotSampling = errors.New("read samples: none were asked for")

// sampleSize is how much of a record is before the captured bytes.
const sampleSize = int(unsafe.Sizeof(lotraceLtSample{}))

// setSampleDefaults checks what is to be sampled and says what nobody said.
func (c *Config) setSampleDefaults() error {
	s := &c.Sample
	if s.Policies == 0 {
		return nil
	}
	if s.Snaplen == 0 || s.Snaplen > MaxSnaplen {
		s.Snaplen = MaxSnaplen
	}
	if s.Buffer == 0 {
		s.Buffer = smallSampleBuffer
		if s.Policies&reading.SampleAll != 0 || s.Snaplen > 1<<10 {
			s.Buffer = largeSampleBuffer
		}
	}
	return c.checkSample()
}

func (c *Config) checkSample() error {
	s := &c.Sample
	refuse := func(found, fix string) error {
		return &advice.Error{Doing: "sample packets", Found: found, Fix: fix}
	}
	either := reading.SampleRandom | reading.SampleFlows
	switch {
	case s.Policies&^(reading.SampleConns<<1-1) != 0:
		return refuse(fmt.Sprintf("no such policy: %#x", uint32(s.Policies)), "")
	case s.Policies&either == either:
		return refuse("one in so many packets and one in so many flows at once", "choose one of the two")
	case s.Policies&either != 0 && s.OneIn == 0:
		return refuse("one in 0", "say one in how many, from 1 on")
	case s.Policies&reading.SampleFirst != 0 && s.First == 0:
		return refuse("the first 0 packets of each flow", "say how many, from 1 on")
	case s.Policies&reading.SampleHeads != 0 && !c.Learns(LearnTurns):
		return refuse("where messages begin is unknown without turns", "follow turns, or sample something else")
	case s.Buffer < MinSampleBuffer || s.Buffer > MaxSampleBuffer || bits.OnesCount(uint(s.Buffer)) != 1:
		return refuse(fmt.Sprintf("a buffer of %d bytes", s.Buffer),
			fmt.Sprintf("take a power of two from %d to %d", MinSampleBuffer, MaxSampleBuffer))
	case s.Buffer < 2*(int(s.Snaplen)+sampleSize):
		return refuse(fmt.Sprintf("a buffer of %d bytes has no room for two packets", s.Buffer),
			"use a larger buffer or a smaller snaplen")
	case s.Ahead != 0 && s.Ahead < maxRecord(s.Snaplen):
		return refuse(fmt.Sprintf("%d bytes to read ahead have no room for a packet", s.Ahead),
			"use more of them or a smaller snaplen")
	}
	return nil
}

// setSampling is the kernel's form of what is to be sampled.
func (c *Config) setSampling(spec *ebpf.CollectionSpec, config *lotraceLtConfig) error {
	s := &c.Sample
	if s.Policies == 0 {
		return nil
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count processors: %w", err)
	}
	spec.Maps["lt_samples"].MaxEntries = uint32(s.Buffer)
	spec.Maps["lt_scratch"].MaxEntries = uint32(cpus)
	spec.Maps["lt_scratch"].ValueSize = uint32(sampleSize) + s.Snaplen
	config.Sample = uint32(s.Policies)
	config.SampleOneIn = s.OneIn
	config.SampleFirst = s.First
	config.SampleSeed = rand.Uint32()
	config.SampleSnaplen = s.Snaplen
	config.SampleRing = uint32(s.Buffer)
	if s.PerSecond > 0 {
		// Rounded up, so that the budget is never too large.
		config.SampleNs = uint64((time.Second + time.Duration(s.PerSecond) - 1) / time.Duration(s.PerSecond))
	}
	config.SampleBytes = s.BytesPerSecond
	return nil
}

func (l *Loader) openSamples(c *reading.SampleConfig) error {
	ring, err := openRing(l.coll.Maps["lt_samples"])
	if err != nil {
		return fmt.Errorf("open samples: %w", err)
	}
	l.samples = &samples{ring: ring}
	l.onClose(ring.Close)
	if c.Ahead == 0 {
		return nil
	}
	if l.samples.ahead, err = readAhead(ring, c.Ahead, maxRecord(c.Snaplen)); err != nil {
		return fmt.Errorf("open samples: %w", err)
	}
	l.onClose(l.samples.ahead.Close)
	return nil
}

// maxRecord is what a sample takes at most where so much of a packet is copied.
func maxRecord(snaplen uint32) int { return int(recordSize(uint32(sampleSize) + snaplen)) }

// samples is the ring buffer of samples, and the one being looked at.
type samples struct {
	ring   *ring
	ahead  *ahead // nil: the ring is read where it lies
	sample reading.Sample
	before model.SampleCounts  // what was counted before counting began
	ended  *model.SampleCounts // what was counted when sampling ended; nil: it has not
}

// dropSamples forgets what there is so far.
func (l *Loader) dropSamples() (err error) {
	if l.samples == nil {
		return nil
	}
	if l.samples.before, err = l.SampleCounts(); err != nil {
		return err
	}
	return l.samples.read(time.Time{}, func([]byte) error { return nil })
}

// ReadSamples waits until a quarter of the buffer is full or until the deadline, and then calls into for
// each sample that is there, oldest first. A deadline in the past waits for nothing. The sample and its Data are
// valid during the call. An error of into ends the reading and is returned as it is; what was not read yet is
// still there for the next call. ReadSamples may run beside other methods, but not beside itself or Close.
func (l *Loader) ReadSamples(deadline time.Time, into func(*reading.Sample) error) error {
	s := l.samples
	if s == nil {
		return ErrNotSampling
	}
	return s.read(deadline, func(record []byte) error {
		if err := decodeSample(&s.sample, record); err != nil {
			return err
		}
		return into(&s.sample)
	})
}

func (s *samples) read(deadline time.Time, into func(record []byte) error) error {
	if s.ahead != nil {
		return s.ahead.read(deadline, into)
	}
	if err := s.ring.wait(deadline); err != nil {
		return err
	}
	return s.ring.read(into)
}

func decodeSample(to *reading.Sample, record []byte) error {
	if len(record) < sampleSize {
		return fmt.Errorf("read samples: %d bytes are no record", len(record))
	}
	from := (*lotraceLtSample)(unsafe.Pointer(&record[0]))
	data := record[sampleSize:]
	if int(from.Captured) > len(data) {
		return fmt.Errorf("read samples: %d bytes of %d are missing", int(from.Captured)-len(data), from.Captured)
	}
	*to = reading.Sample{
		MonoNS: from.MonoNs, Key: decodeKey(&from.Key), Slot: from.Slot, From: from.From, Client: from.Client,
		Why: reading.SamplePolicy(from.Why), Reason: reading.Reason(from.Reason), Drop: from.Drop,
		Retransmit: from.Retransmit != 0, OneIn: from.OneIn,
		Length: from.Len, HeaderLen: from.HeaderLen, SegmentSize: from.SegmentSize,
		Message: reading.Message{
			Number: from.Number, Answer: from.Answer != 0, AskedNS: from.AskedNs, TookNS: from.TookNs, Sent: from.Sent,
		},
		Data: data[:from.Captured:from.Captured],
	}
	return nil
}

// EndSamples has ReadSamples and SampleCounts end with what was sampled by now. What comes later is in neither.
func (l *Loader) EndSamples() error {
	if l.samples == nil {
		return ErrNotSampling
	}
	l.samples.ring.end()
	counts, err := l.SampleCounts()
	l.samples.ended = &counts
	return err
}

// SampleCounts reads what became of the packets that a policy asked for, from Open to EndSamples. It is all 0 where none asks.
func (l *Loader) SampleCounts() (c model.SampleCounts, err error) {
	if l.samples == nil {
		return c, nil
	}
	if l.samples.ended != nil {
		return *l.samples.ended, nil
	}
	var perCPU []lotraceLtSampleCounts
	if err := l.coll.Maps["lt_sampled"].Lookup(uint32(0), &perCPU); err != nil {
		return c, fmt.Errorf("read sample counters: %w", err)
	}
	return decodeSampleCounts(perCPU).Sub(l.samples.before), nil
}

// decodeSampleCounts adds up what each CPU has counted.
func decodeSampleCounts(perCPU []lotraceLtSampleCounts) model.SampleCounts {
	var by [sampleResults]uint64
	for i := range perCPU {
		for end := range by {
			by[end] += perCPU[i].By[end]
		}
	}
	c := model.SampleCounts{
		Taken: by[sampleTaken], Budget: by[sampleBudget], Full: by[sampleFull], Failed: by[sampleFailed],
	}
	c.Seen = c.Taken + c.Budget + c.Full + c.Failed
	return c
}

// The results of sampling a packet; the values are those of enum lt_sample_result.
const (
	sampleTaken = iota
	sampleBudget
	sampleFull
	sampleFailed
	sampleResults
)
