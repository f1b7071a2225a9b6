package redact

import (
	"bytes"
	"encoding/binary"
)

// preface is what an HTTP/2 connection begins with, RFC 9113, section 3.4.
var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

const frameHead = 9 // length, type, flags, stream

// Frame types that matter here, RFC 9113, section 6.
const (
	frameData         = 0
	frameHeaders      = 1
	framePriority     = 2
	frameReset        = 3
	frameSettings     = 4
	framePush         = 5
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8
	frameContinuation = 9
)

// http2 masks the headers of HTTP/2, all of them: they are compressed, and what is in them depends on those
// before. Frames are recognised as such where a segment begins with one.
type http2 struct {
	opened int // bytes of the preface
	on     bool
	blind  bool // bytes were lost: where a frame begins is unknown

	head   [frameHead]byte // of a frame, if it is not whole
	n      int
	skip   int // what follows of a frame's body
	secret bool
}

func (h *http2) write(p []byte) {
	if !h.on {
		if p = h.opening(p); !h.on {
			return
		}
	}
	if h.blind {
		if !framed(p) {
			hide(p)
			return
		}
		h.blind = false
	}
	for len(p) > 0 && h.on {
		if h.skip > 0 {
			n := min(h.skip, len(p))
			if h.secret {
				hide(p[:n])
			}
			h.skip -= n
			p = p[n:]
			continue
		}
		n := copy(h.head[h.n:], p)
		h.n += n
		p = p[n:]
		if h.n == frameHead {
			h.begin()
		}
	}
}

// opening finds out whether p is HTTP/2 and returns it without the preface.
func (h *http2) opening(p []byte) []byte {
	n := min(len(p), len(preface)-h.opened)
	if !bytes.Equal(p[:n], preface[h.opened:h.opened+n]) {
		h.opened = 0
		h.on = framed(p)
		return p
	}
	h.opened += n
	h.on = h.opened == len(preface)
	return p[n:]
}

// begin takes a frame's head, or finds that there is none.
func (h *http2) begin() {
	h.n = 0
	if !isFrame(h.head[:]) {
		*h = http2{}
		return
	}
	h.skip = bodyLen(h.head[:])
	kind := h.head[3]
	h.secret = kind == frameHeaders || kind == framePush || kind == frameContinuation
}

// lose is told that n bytes were not seen, 0 if it is unknown how many.
func (h *http2) lose(n int) {
	if n > 0 && n <= h.skip {
		h.skip -= n
		return
	}
	*h = http2{on: h.on, blind: h.on}
}

// framed reports whether p is one frame behind the other, of which the last may be cut off. As other things
// may look like that, frames are held to the size that all must take, and streams to usual numbers.
func framed(p []byte) bool {
	if len(p) < frameHead {
		return false
	}
	for len(p) >= frameHead {
		if !isFrame(p) || bodyLen(p) > 1<<14 || p[5] != 0 {
			return false
		}
		p = p[min(len(p), frameHead+bodyLen(p)):]
	}
	return true
}

func bodyLen(head []byte) int { return int(head[0])<<16 | int(head[1])<<8 | int(head[2]) }

// isFrame reports whether a frame may begin so.
func isFrame(head []byte) bool {
	length, flags, stream := bodyLen(head), head[4], binary.BigEndian.Uint32(head[5:])
	if stream>>31 != 0 {
		return false
	}
	switch head[3] {
	case frameData:
		return stream != 0 && flags&^0x09 == 0
	case frameHeaders:
		return stream != 0 && flags&^0x2d == 0
	case framePush, frameContinuation:
		return stream != 0 && flags&^0x0c == 0
	case framePriority:
		return stream != 0 && length == 5
	case frameReset:
		return stream != 0 && length == 4
	case frameSettings:
		return stream == 0 && length%6 == 0
	case framePing:
		return stream == 0 && length == 8
	case frameGoAway:
		return stream == 0 && length >= 8
	case frameWindowUpdate:
		return length == 4
	}
	return false
}
