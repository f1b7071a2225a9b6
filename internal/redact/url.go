package redact

import "bytes"

var schemeEnd = []byte("://")

// url finds credentials before the host of a URL: what stands between "://" and the last "@" of the
// authority. An authority that is cut off might be credentials only, and counts as such.
type url struct {
	matched int  // bytes of schemeEnd that were the last ones
	open    bool // within an authority
}

func (u *url) write(p []byte) {
	for len(p) > 0 {
		if !u.open {
			n := u.find(p)
			if n < 0 {
				return
			}
			p = p[n:]
			u.open = true
			continue
		}
		end := bytes.IndexFunc(p, endsAuthority)
		if end < 0 {
			hide(p)
			return
		}
		if at := bytes.LastIndexByte(p[:end], '@'); at > 0 {
			hide(p[:at])
		}
		u.open = false
		p = p[end:]
	}
}

// find returns how many bytes of p go until an authority begins, or -1, and notes what may be the
// beginning of schemeEnd at the end of p.
func (u *url) find(p []byte) int {
	if rest := schemeEnd[u.matched:]; u.matched > 0 && bytes.HasPrefix(p, rest) {
		u.matched = 0
		return len(rest)
	}
	if u.matched == 1 && len(p) == 1 && p[0] == '/' {
		u.matched = 2
		return -1
	}
	u.matched = 0
	if n := bytes.Index(p, schemeEnd); n >= 0 {
		return n + len(schemeEnd)
	}
	for n := min(2, len(p)); n > 0; n-- {
		if bytes.HasSuffix(p, schemeEnd[:n]) {
			u.matched = n
			break
		}
	}
	return -1
}

// endsAuthority reports whether c cannot be in one, user name and password included.
func endsAuthority(c rune) bool {
	switch c {
	case '/', '?', '#', '"', '<', '>', '\\', 0x7f:
		return true
	}
	return c <= ' '
}
