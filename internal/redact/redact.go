// Package redact masks secrets in payload that is shown or written to a file: credentials in HTTP/1
// headers and in URLs, and the passwords with which PostgreSQL, MySQL and Redis connections begin. It
// masks byte for byte, so lengths and offsets stay.
//
// It goes by what bytes look like, as no protocol is parsed. When in doubt it masks: a line of a body
// that reads like a header is one, and of HTTP/2, which compresses them, all headers are masked. What is
// encrypted or encoded is not recognised, and neither is a password in SQL.
package redact

// mask replaces each byte of a secret.
const mask = '*'

// Message masks in place the secrets in the payload with which a request or an answer begins, or in a
// datagram. The payload may have been cut off anywhere.
func Message(payload []byte) {
	var s side
	s.write(payload)
}

// Flow masks the segments of a TCP connection, where a secret may begin in one and go on in the next.
// The zero value is a connection of which nothing was seen yet. It is for one goroutine.
type Flow struct {
	sides [2]side
}

// Segment masks in place the secrets in what was captured of a segment. From is 0 or 1 and says whose
// it is, seq is its sequence number, length that of its payload, which may be more than was captured.
//
// Behind bytes that were not captured the first line, which may be the rest of a header, is masked on
// connections that speak HTTP, and so is that of a segment that was sent again. On a connection whose
// beginning was not seen, it is if headers follow.
func (f *Flow) Segment(from int, seq uint32, payload []byte, length int) {
	if length == 0 {
		return
	}
	s := &f.sides[from&1]
	if s.begun && int32(seq-s.next) < 0 {
		again := *s
		again.lose(0)
		again.resume(payload)
		again.write(payload)
		return
	}
	switch {
	case !s.begun:
		s.resume(payload)
	case seq != s.next:
		s.lose(int(seq - s.next))
		s.resume(payload)
	}
	s.write(payload)
	s.begun, s.next = true, seq+uint32(len(payload))
}

// side is what one end of a connection sends.
type side struct {
	begun bool
	next  uint32 // sequence number behind what was seen

	http bool // it has sent an HTTP message

	first [loginHead]byte // a segment too short to tell a login by
	held  int             // how much of it there is

	// The bytes that follow and are no lines.
	skip   int
	secret bool

	line  line
	url   url
	resp  resp
	http2 http2
}

// write masks p, which follows what was written before.
func (s *side) write(p []byte) {
	s.http2.write(p)
	rest := p
	if s.skip == 0 {
		rest = s.login(p)
	}
	for len(rest) > 0 {
		if s.skip > 0 {
			rest = s.pass(rest)
			continue
		}
		rest = s.writeLine(rest)
	}
	s.url.write(p)
}

// login masks what is part of one at the beginning of p and returns the rest. A program may write the
// first bytes of a message before the others.
func (s *side) login(p []byte) []byte {
	joined := p
	if s.held > 0 {
		joined = append(s.first[:s.held:s.held], p...)
	}
	n, more := login(joined)
	if n > 0 && s.held > 0 {
		copy(p, joined[s.held:])
		n -= s.held
	}
	s.held = 0
	if n == 0 && more == 0 && len(joined) < len(s.first) {
		s.held = copy(s.first[:], joined)
	}
	if more > 0 {
		s.skip, s.secret = more, true
	}
	return p[n:]
}

// pass takes the bytes that are no lines from the beginning of p and returns the rest.
func (s *side) pass(p []byte) []byte {
	n := min(s.skip, len(p))
	s.resp.word(p[:n])
	if s.secret {
		hide(p[:n])
	}
	if s.skip -= n; s.skip == 0 {
		s.resp.argument()
	}
	return p[n:]
}

// lose forgets what n bytes that were not seen, 0 if it is not known how many, may have changed.
func (s *side) lose(n int) {
	s.http2.lose(n)
	switch {
	case n > 0 && n < s.skip: // still within a secret of known length
		s.skip -= n
		return
	case s.secret && s.skip > 0, s.resp.hidden > 0, s.http:
		s.line = line{masked: true}
	default:
		s.line = line{masked: s.line.masked}
	}
	s.skip, s.secret, s.held = 0, false, 0
	s.url.matched = 0
	s.resp = resp{}
}

// resume decides how to begin with p in the middle of a connection.
func (s *side) resume(p []byte) {
	switch {
	case s.skip > 0:
	case startsMessage(p):
		s.line = line{}
	case amidHeaders(p):
		s.line.masked = true
	}
}

func hide(p []byte) {
	for i := range p {
		p[i] = mask
	}
}
