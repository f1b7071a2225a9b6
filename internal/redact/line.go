package redact

import (
	"bytes"
	"slices"
)

// headers are those whose values are secret.
var headers = [][]byte{
	[]byte("authorization"),
	[]byte("proxy-authorization"),
	[]byte("cookie"),
	[]byte("set-cookie"),
	[]byte("x-api-key"),
	[]byte("x-auth-token"),
}

// line is one that was not seen to its end yet.
type line struct {
	begin  [64]byte // it, as far as it is needed to know what it is
	n      int      // how much of begin is known
	seen   int      // bytes so far
	masked bool     // a secret is in it, which ends with it
	header bool     // the line before was a secret header, which this one goes on with if it is indented
}

// writeLine masks one line, or what p has of it, and returns the rest of p.
func (s *side) writeLine(p []byte) []byte {
	l := &s.line
	end := bytes.IndexByte(p, '\n') + 1
	piece, ended := p[:end], true
	if end == 0 {
		piece, ended = p, false
	}
	l.n += copy(l.begin[l.n:], piece)
	begin := l.begin[:l.n]
	if l.header {
		l.masked, l.header = begin[0] == ' ' || begin[0] == '\t', false
	}
	at := 0 // where the secret begins in the line
	if !l.masked {
		at = secretIn(begin)
		l.masked = at > 0
	}
	if l.masked {
		hideText(piece[min(max(0, at-l.seen), len(piece)):])
	}
	l.seen += len(piece)
	if ended {
		s.http = s.http || startLine(piece)
		if !s.http {
			s.skip, s.secret = s.resp.line(begin)
		}
		*l = line{header: l.masked && (at == 0 || isHeader(begin))}
	}
	return p[len(piece):]
}

// secretIn returns where in a line the secret begins, or 0.
func secretIn(begin []byte) int {
	indent := len(begin) - len(bytes.TrimLeft(begin, " \t"))
	if colon := bytes.IndexByte(begin, ':'); colon >= 0 {
		name := bytes.TrimRight(begin[indent:max(indent, colon)], " \t")
		if slices.ContainsFunc(headers, func(h []byte) bool { return bytes.EqualFold(h, name) }) {
			return colon + 1
		}
	}
	if n := inline(begin[indent:]); n > 0 {
		return indent + n
	}
	return 0
}

// isHeader reports whether a line is one of HTTP's, and may go on in the next.
func isHeader(begin []byte) bool {
	name, _, ok := bytes.Cut(begin, []byte(":"))
	return ok && !bytes.ContainsAny(bytes.Trim(name, " \t"), " \t")
}

// hideText masks p but for white space at its beginning and its end.
func hideText(p []byte) {
	p = bytes.TrimRight(p, "\r\n")
	hide(p[len(p)-len(bytes.TrimLeft(p, " \t")):])
}

// startLine reports whether an HTTP request or answer begins with the line.
func startLine(l []byte) bool {
	l = bytes.TrimRight(l, "\r\n")
	if len(l) > len(" HTTP/1.1") && bytes.HasPrefix(l[len(l)-len(" HTTP/1.1"):], []byte(" HTTP/1.")) {
		return true
	}
	return bytes.HasPrefix(l, []byte("HTTP/1."))
}

func startsMessage(p []byte) bool {
	first, _, _ := bytes.Cut(p, []byte("\n"))
	return startLine(first)
}

// amidHeaders reports whether p reads as if it began within a header and others followed.
func amidHeaders(p []byte) bool {
	first, rest, ok := bytes.Cut(p, []byte("\r\n"))
	if !ok || named(first) {
		return false
	}
	second, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return named(second)
}

// named reports whether the line is "name: value".
func named(l []byte) bool {
	name, _, ok := bytes.Cut(l, []byte(": "))
	if !ok || len(name) == 0 {
		return false
	}
	for _, c := range name {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
