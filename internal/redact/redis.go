package redact

import (
	"bytes"
	"slices"
	"strconv"
)

// resp follows the commands of Redis (RESP arrays of bulk strings), to find those that carry passwords.
type resp struct {
	left   int // arguments that follow
	hidden int // of which so many are secret
	taken  int // so many were before

	text [16]byte // the argument under way, if it is short
	n    int      // its length so far
	verb [16]byte // the first argument, in capitals
}

// line is given a whole line or the first bytes of a longer one. It returns how many bytes of an
// argument follow, and whether they are secret.
func (r *resp) line(l []byte) (n int, secret bool) {
	text := bytes.TrimRight(l, "\r\n")
	if len(text) == 0 {
		return 0, false
	}
	if text[0] != '*' && (text[0] != '$' || r.left == 0) {
		*r = resp{}
		return 0, false
	}
	value, err := strconv.Atoi(string(text[1:]))
	switch {
	case err != nil || value < 0 || value > 1<<16: // far more than any password
		*r = resp{}
	case text[0] == '*':
		*r = resp{left: value}
	default:
		r.n = 0
		secret = r.hidden > 0
		if value == 0 {
			r.argument()
		}
		return value, secret
	}
	return 0, false
}

// word is given a piece of an argument.
func (r *resp) word(p []byte) {
	if r.left > 0 {
		copy(r.text[min(r.n, len(r.text)):], p)
		r.n += len(p)
	}
}

// argument is called at the end of each and decides which of the next ones are secret.
func (r *resp) argument() {
	if r.left == 0 {
		return
	}
	r.left--
	var text [16]byte
	if r.n <= len(text) {
		copy(text[:], bytes.ToUpper(r.text[:r.n]))
	}
	if r.taken == 0 {
		r.verb = text
	}
	r.taken++
	r.hidden = max(r.hidden-1, secretsAfter(name(r.verb), name(text), r.left))
	r.n = 0
}

// secretsAfter returns how many of the left arguments that follow the word are secret.
func secretsAfter(verb, word string, left int) int {
	switch verb {
	case "AUTH", "REQUIREPASS", "MASTERAUTH": // the last two are in what CONFIG GET answers
		return left
	case "HELLO":
		if word == "AUTH" {
			return 2
		}
	case "CONFIG":
		if word == "REQUIREPASS" || word == "MASTERAUTH" {
			return 1
		}
	case "MIGRATE":
		switch word {
		case "AUTH":
			return 1
		case "AUTH2":
			return 2
		}
	case "ACL":
		if word == "SETUSER" {
			return left
		}
	}
	return 0
}

func name(text [16]byte) string { return string(bytes.TrimRight(text[:], "\x00")) }

// verbs are the commands with secrets.
var verbs = [][]byte{[]byte("AUTH"), []byte("REQUIREPASS"), []byte("MASTERAUTH"), []byte("HELLO"),
	[]byte("CONFIG"), []byte("MIGRATE"), []byte("ACL")}

// inline returns where the secret begins in a command that is a line of words, or 0. It goes up to
// the line's end.
func inline(l []byte) int {
	first, _, ok := bytes.Cut(l, []byte(" "))
	if !ok || !slices.ContainsFunc(verbs, func(v []byte) bool { return bytes.EqualFold(v, first) }) {
		return 0
	}
	verb := string(bytes.ToUpper(first))
	at := 0
	for {
		end := bytes.IndexAny(l[at:], " \r\n")
		if end < 0 || l[at+end] != ' ' {
			return 0 // nothing follows this word
		}
		word := string(bytes.ToUpper(l[at : at+end]))
		at += end + 1
		if secretsAfter(verb, word, 1) > 0 {
			return at
		}
		at += len(l[at:]) - len(bytes.TrimLeft(l[at:], " "))
	}
}
