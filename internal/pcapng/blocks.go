package pcapng

import (
	"encoding/binary"
	"errors"
	"io"
)

// manyBlocks is how many bytes of them are worth a write.
const manyBlocks = 256 << 10

// blocks collects what a file is made of. A file that cannot take all of them is cut behind the last whole
// one, so that it can be read.
type blocks struct {
	to      io.Writer
	buf     []byte
	written int64 // of whole blocks
	failed  error // the first write that did
}

// Write never fails: flush does.
func (b *blocks) Write(p []byte) (int, error) {
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// truncater is what a regular file is, other than a pipe.
type truncater interface {
	io.Seeker
	Truncate(size int64) error
}

// flush writes whole blocks, which is what buf holds between two calls of a Writer's methods.
func (b *blocks) flush() error {
	if b.failed != nil || len(b.buf) == 0 {
		return b.failed
	}
	n, err := b.to.Write(b.buf)
	if err == nil {
		b.written += int64(n)
		b.buf = b.buf[:0]
		return nil
	}
	b.written += wholeBlocks(b.buf, n)
	b.buf, b.failed = nil, err
	if file, ok := b.to.(truncater); ok {
		if cut := file.Truncate(b.written); cut == nil {
			_, cut = file.Seek(b.written, io.SeekStart)
			err = errors.Join(err, cut)
		}
	}
	return err
}

// wholeBlocks is how many of the first n bytes are blocks that n does not cut. A block's length is in its
// bytes 4 to 7.
func wholeBlocks(blocks []byte, n int) int64 {
	whole := 0
	for whole+8 <= n {
		size := int(binary.LittleEndian.Uint32(blocks[whole+4:]))
		if whole+size > n {
			break
		}
		whole += size
	}
	return int64(whole)
}
