package redact

import (
	"bytes"
	"encoding/binary"
)

// loginHead is how many bytes tell that a message may be part of a login.
const loginHead = 6

// login masks the secrets of a PostgreSQL or MySQL login with which p begins. It returns how many
// bytes of p that was, 0 if it is none, and how many secret ones of it follow p.
func login(p []byte) (n, more int) {
	if n, more = postgres(p); n == 0 {
		n, more = mysql(p)
	}
	return n, more
}

// postgres masks what a client answers to a request for authentication: a password, its hash, or what
// SASL and GSS exchange, all of them messages of type p.
// See https://www.postgresql.org/docs/current/protocol-message-formats.html
func postgres(p []byte) (n, more int) {
	const head = 5 // type and length, which counts itself
	if len(p) < head || p[0] != 'p' {
		return 0, 0
	}
	length := int(binary.BigEndian.Uint32(p[1:]))
	if length < 4 || length > 1<<16 {
		return 0, 0
	}
	n = min(1+length, len(p))
	body := p[head:n]
	if at := bytes.IndexByte(body, 0); at >= 0 && bytes.HasPrefix(body, []byte("SCRAM-SHA-")) {
		body = body[min(at+1+4, len(body)):] // the mechanism's name, and how long its data is
	}
	if 1+length == n && len(body) > 0 && body[len(body)-1] == 0 {
		body = body[:len(body)-1]
	}
	hide(body)
	return n, 1 + length - n
}

// mysqlHead is the length of a packet, three bytes without itself, and its number in the exchange.
const mysqlHead = 4

// Capabilities in a client's handshake response.
const (
	mysqlProtocol41       = 1 << 9
	mysqlSecureConnection = 1 << 15
	mysqlLenencAuth       = 1 << 21
)

// mysql masks what a client proves with that it knows the password: in its handshake response, upon a
// switch of the method, and in a change of users. Outside of logins clients number their packets from
// 0, so that a small one with a higher number is part of a login.
// See https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
func mysql(p []byte) (n, more int) {
	if len(p) <= mysqlHead {
		return 0, 0
	}
	length := int(p[0]) | int(p[1])<<8 | int(p[2])<<16
	number := p[3]
	n = min(mysqlHead+length, len(p))
	body := p[mysqlHead:n]
	switch {
	case length == 0 || length > 1<<16 || mysqlHead+length < len(p): // more than one packet
		return 0, 0
	case number == 1:
		if length < mysqlFixed || !mysqlResponse(body) {
			return 0, 0
		}
	case number == 0 && body[0] == 0x11 && length < 1<<10: // COM_CHANGE_USER
		mysqlChange(body[1:])
	case number%2 == 1 && number < 10 && length < 1<<10:
		hide(body)
	default:
		return 0, 0
	}
	return n, mysqlHead + length - n
}

// mysqlFixed is what a handshake response begins with: capabilities, largest packet, character set and
// a filler.
const mysqlFixed = 4 + 4 + 1 + 23

// mysqlResponse masks the authentication data of a handshake response, and reports whether it is one.
func mysqlResponse(body []byte) bool {
	if len(body) < 2 || binary.LittleEndian.Uint16(body)&mysqlProtocol41 == 0 {
		return false
	}
	filler := body[min(9, len(body)):min(28, len(body))] // MariaDB has more capabilities behind that
	if bytes.Count(filler, []byte{0}) != len(filler) {
		return false
	}
	user := bytes.IndexByte(body[min(mysqlFixed, len(body)):], 0)
	if user < 0 {
		return true // cut off before its end
	}
	caps := binary.LittleEndian.Uint32(body)
	auth := body[mysqlFixed+user+1:]
	if caps&(mysqlLenencAuth|mysqlSecureConnection) != 0 {
		mysqlCounted(auth)
		return true
	}
	password, _, _ := bytes.Cut(auth, []byte{0})
	hide(password)
	return true
}

// mysqlChange masks the authentication data behind a user's name.
func mysqlChange(body []byte) {
	if user := bytes.IndexByte(body, 0); user >= 0 {
		mysqlCounted(body[user+1:])
	}
}

// mysqlCounted masks data behind its length, which is one byte, or two behind a byte of 0xfc.
func mysqlCounted(p []byte) {
	switch {
	case len(p) >= 3 && p[0] == 0xfc:
		n := int(binary.LittleEndian.Uint16(p[1:]))
		hide(p[3:min(3+n, len(p))])
	case len(p) >= 1:
		hide(p[1:min(1+int(p[0]), len(p))])
	}
}
