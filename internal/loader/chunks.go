package loader

import (
	"encoding/binary"
	"sync"
)

// chunk is memory with whole records in it, as they lay in the ring. It changes hands: from its pool to whoever fills
// it, on to whoever reads it, and back.
type chunk struct {
	bytes []byte
	read  int // bytes that were
}

func (c *chunk) isRead() bool { return c.read == len(c.bytes) }

// each calls into for each record that was not read yet. A record is valid until the chunk is given back.
func (c *chunk) each(into func(record []byte) error) error {
	for !c.isRead() {
		head := binary.NativeEndian.Uint32(c.bytes[c.read:])
		begin := c.read + ringHeaderSize
		end := begin + int(head&^ringFlags)
		c.read += int(recordSize(head))
		if head&ringDiscard != 0 {
			continue
		}
		if err := into(c.bytes[begin:end:end]); err != nil {
			return err
		}
	}
	return nil
}

// chunks is a pool of them, for any number of goroutines. Memory is made when it is needed.
type chunks struct {
	size int // bytes of each
	most int // chunks there may be, whoever has them

	mu   sync.Mutex
	free []*chunk
	made int
}

// take returns an empty chunk; nil: all are in other hands.
func (p *chunks) take() *chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	if p.made == p.most {
		return nil
	}
	p.made++
	return &chunk{bytes: make([]byte, 0, p.size)}
}

// give takes a chunk back, which nobody else may have.
func (p *chunks) give(c *chunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.bytes, c.read = c.bytes[:0], 0
	p.free = append(p.free, c)
}

// shrink lets go of the memory of one chunk that is in no hands.
func (p *chunks) shrink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		p.made--
	}
}
