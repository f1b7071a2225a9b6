package redact

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// pass is the secret of all messages here.
const pass = "s3cr3tHunter2"

// pg is a message of PostgreSQL.
func pg(kind, body string) string {
	return kind + string(binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))) + body
}

// my is a packet of MySQL.
func my(number byte, body string) string {
	return string([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), number}) + body
}

// myUser is a handshake response as far as the user's name.
func myUser(caps uint32) string {
	return string(binary.LittleEndian.AppendUint32(nil, 1<<9|caps)) + "\x00\x00\x00\x01\x2d" +
		strings.Repeat("\x00", 23) + "app\x00"
}

// h2 is a frame of HTTP/2.
func h2(kind byte, stream uint32, body string) string {
	head := []byte{0, byte(len(body) >> 8), byte(len(body)), kind, 0}
	return string(binary.BigEndian.AppendUint32(head, stream)) + body
}

// bulk is a command of Redis.
func bulk(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// messages are those with secrets: pass, and what else is masked with it. All else stays.
var messages = []struct {
	name, text string
	hidden     []string
}{
	{"authorization", "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: " + pass + "\r\nAccept: */*\r\n\r\nbody", nil},
	{"small letters", "GET / HTTP/1.1\r\nauthorization:" + pass + "\r\nAccept: */*\r\n\r\n", nil},
	{"scheme", "GET / HTTP/1.1\r\nAuthorization: Basic " + pass + "\r\n\r\n", []string{"Basic "}},
	{"proxy", "CONNECT a:1 HTTP/1.1\r\nPROXY-AUTHORIZATION: " + pass + "\r\nHost: a\r\n\r\n", nil},
	{"cookie", "GET / HTTP/1.1\r\nCookie: id=" + pass + "\r\nX-Cookie: stays\r\n\r\n", []string{"id="}},
	{"set-cookie", "HTTP/1.1 200 OK\r\nSet-Cookie: " + pass + "\r\nsET-cOOKIE: " + pass +
		"\r\nServer: x\r\n\r\n<p>Cookie: in no line's beginning</p>", nil},
	{"api key", "GET / HTTP/1.1\r\nX-API-Key: " + pass + "\r\nX-Auth-Token: " + pass + "\r\nX-Other: y\r\n\r\n", nil},
	{"space before the colon", "GET / HTTP/1.1\r\nCookie \t: " + pass + "\r\n\r\n", nil},
	{"folded", "GET / HTTP/1.1\r\nAuthorization:\r\n " + pass + "\r\n\t" + pass + "\r\nHost: a\r\n\r\n", nil},
	{"bare line feeds", "GET / HTTP/1.1\nCookie: " + pass + "\nHost: a\n\n", nil},
	{"second request", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nCookie: " + pass + "\r\n\r\n", nil},
	{"no end", "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + pass, nil},
	{"behind a body", "{\"a\":1}GET / HTTP/1.1\r\nCookie: " + pass + "\r\n\r\n", nil},

	{"url", "GET http://" + pass + "@a/ HTTP/1.1\r\nHost: a\r\n\r\n", nil},
	{"url with user", `{"dsn":"postgres://app:` + pass + `@db:5432/x"}`, []string{"app:"}},
	{"url in a query", "GET /?u=amqp://u:" + pass + "@q/&b=c@d HTTP/1.1\r\n\r\n", []string{"u:" + pass}},
	{"url with two @", "ftp://u:@" + pass + "@host/a@b", []string{"u:@"}},
	{"url as a value", bulk("SET", "url", "redis://:"+pass+"@r:6379/0"), []string{":" + pass}},
	{"url cut off", `{"a":"https://user:` + pass, []string{"user:"}},

	{"postgres password", pg("p", pass+"\x00"), nil},
	{"postgres md5", pg("p", "md5"+pass+"\x00"), []string{"md5"}},
	{"postgres sasl, first", pg("p", "SCRAM-SHA-256\x00\x00\x00\x00\x0d"+pass), nil},
	{"postgres sasl, then", pg("p", pass), nil},

	{"mysql", my(1, myUser(1<<15|1<<3|1<<19)+"\x0d"+pass+"db\x00mysql_native_password\x00"), nil},
	{"mysql lenenc", my(1, myUser(1<<21|1<<19)+"\x0d"+pass+"caching_sha2_password\x00"), nil},
	{"mysql lenenc, long", my(1, myUser(1<<21)+"\xfc\x0d\x00"+pass+"db\x00"), nil},
	{"mysql up to a zero", my(1, myUser(0)+pass+"\x00db\x00"), nil},
	{"mysql switch", my(3, pass), nil},
	{"mysql clear", my(5, pass+"\x00"), []string{pass + "\x00"}},
	{"mysql change of users", my(0, "\x11app\x00\x0d"+pass+"db\x00"), nil},

	{"http/2 begins", string(preface) + h2(4, 0, "") + h2(1, 1, pass) + h2(0, 1, "body"), nil},
	{"http/2 goes on", h2(8, 0, "\x00\x00\x00\x09") + h2(1, 3, pass) + h2(9, 3, pass) + h2(0, 3, "data") + h2(6, 0, "ping.pong"[:8]), nil},
	{"http/2 pushes", h2(5, 2, pass) + h2(2, 5, "\x00\x00\x00\x01x") + h2(3, 7, "\x00\x00\x00\x08") + h2(7, 0, "12345678"), nil},

	{"redis", bulk("AUTH", pass), nil},
	{"redis small letters", bulk("auth", pass) + bulk("GET", "key"), nil},
	{"redis user", bulk("AUTH", "app", pass), []string{"app"}},
	{"redis hello", bulk("HELLO", "3", "AUTH", "app", pass, "SETNAME", "me"), []string{"app"}},
	{"redis pipeline", bulk("PING") + bulk("SET", "a", "") + bulk("AUTH", pass) + bulk("GET", "b"), nil},
	{"redis, lines in it", bulk("AUTH", pass+"\r\n$1\r\n"+pass), []string{pass + "\r\n$1\r\n" + pass}},
	{"redis requirepass", bulk("CONFIG", "SET", "maxclients", "10", "requirepass", pass, "dir", "/x"), nil},
	{"redis masterauth", bulk("config", "set", "MasterAuth", pass), nil},
	{"redis answer", bulk("requirepass", pass), nil},
	{"redis migrate", bulk("MIGRATE", "h", "6379", "key", "0", "9", "AUTH", pass, "KEYS", "k"), nil},
	{"redis migrate, user", bulk("MIGRATE", "h", "6379", "", "0", "9", "AUTH2", "app", pass), []string{"app"}},
	{"redis users", bulk("ACL", "SETUSER", "app", ">"+pass), []string{"app", ">"}},
	{"redis inline", "auth " + pass + "\r\nGET key\r\n", nil},
	{"redis inline user", "AUTH app " + pass + "\r\n", []string{"app " + pass}},
	{"redis inline hello", "HELLO 3 AUTH app " + pass + "\r\n", []string{"app " + pass}},
	{"redis inline requirepass", "CONFIG SET requirepass " + pass + "\r\n", nil},
	{"redis inline, no end", "AUTH " + pass, nil},
}

func stars(s string) string { return strings.Repeat(string(mask), len(s)) }

// masked is the text with its secrets masked and nothing else.
func masked(text string, hidden []string) string {
	for _, h := range append(hidden, pass) {
		text = strings.ReplaceAll(text, h, stars(h))
	}
	return text
}

func TestMessageMasksSecretsAndNothingElse(t *testing.T) {
	for _, m := range messages {
		t.Run(m.name, func(t *testing.T) {
			p := []byte(m.text)
			Message(p)
			if want := masked(m.text, m.hidden); string(p) != want {
				t.Errorf("got  %q\nwant %q", p, want)
			}
		})
	}
}

// shows reports what is seen of the secret: any three bytes of it that stand where they stood.
func shows(p, original []byte) bool {
	for i := range p {
		at := strings.Index(string(original[i:]), pass)
		if at < 0 {
			return false
		}
		i += at
		for k := 0; k+3 <= len(pass) && i+k+3 <= len(p); k++ {
			if bytes.Equal(p[i+k:i+k+3], original[i+k:i+k+3]) {
				return true
			}
		}
	}
	return false
}

func TestMessageCutOffAnywhereShowsNothing(t *testing.T) {
	for _, m := range messages {
		if m.name == "url with two @" {
			continue
		}
		for n := range m.text {
			p := []byte(m.text[:n])
			Message(p)
			if shows(p, []byte(m.text)) {
				t.Errorf("%s, cut off at %d: %q", m.name, n, p)
			}
		}
	}
}

func TestFlowMasksWhatIsSplitAnywhere(t *testing.T) {
	for _, m := range messages {
		first := 1
		if m.name == "http/2 goes on" || m.name == "http/2 pushes" {
			first = frameHead // before, nothing tells it from others
		}
		for n := first; n < len(m.text); n++ {
			var f Flow
			first, second := []byte(m.text[:n]), []byte(m.text[n:])
			f.Segment(0, 1000, first, len(first))
			f.Segment(1, 77, []byte("+OK\r\n"), 5) // the other side does not disturb
			f.Segment(0, uint32(1000+n), second, len(second))
			if got := append(first, second...); shows(got, []byte(m.text)) {
				t.Errorf("%s, split at %d: %q", m.name, n, got)
			}
		}
	}
}

func TestFlowMasksBytewise(t *testing.T) {
	for _, m := range messages {
		var f Flow
		var got []byte
		for i := range m.text {
			p := []byte{m.text[i]}
			f.Segment(1, uint32(i), p, 1)
			got = append(got, p...)
		}
		// Where each of these begins, a few bytes at once are needed to tell.
		unknown := strings.HasPrefix(m.name, "postgres") || strings.HasPrefix(m.name, "mysql") ||
			m.name == "http/2 goes on" || m.name == "http/2 pushes"
		if !unknown && shows(got, []byte(m.text)) {
			t.Errorf("%s: %q", m.name, got)
		}
	}
}

// Snaplen cuts every segment, and what it cut is the beginning of a secret.
func TestFlowMasksBehindWhatWasNotCaptured(t *testing.T) {
	text := "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; " + pass + "\r\nAccept: x\r\n\r\n"
	for n := 16; n < len(text); n++ {
		for cut := range n - 16 {
			var f Flow
			first, second := []byte(text[:n-cut]), []byte(text[n:])
			f.Segment(0, 5, first, n)
			f.Segment(0, uint32(5+n), second, len(second))
			got := append(append(first, stars(text[n-cut:n])...), second...)
			if shows(got, []byte(text)) {
				t.Fatalf("%d captured of %d: %q", n-cut, n, got)
			}
		}
	}
}

func TestFlowMasksWhatIsSentAgain(t *testing.T) {
	text := "GET / HTTP/1.1\r\nCookie: " + pass + "\r\n\r\n"
	for n := 16; n < len(text); n++ {
		var f Flow
		f.Segment(0, 5, []byte(text), len(text))
		again := []byte(text[n:])
		f.Segment(0, uint32(5+n), again, len(again))
		if got := append([]byte(stars(text[:n])), again...); shows(got, []byte(text)) {
			t.Errorf("from %d: %q", n, again)
		}
		next := []byte("GET /next HTTP/1.1\r\nCookie: x\r\n\r\n")
		f.Segment(0, uint32(5+len(text)), next, len(next))
		if want := "GET /next HTTP/1.1\r\nCookie: *\r\n\r\n"; string(next) != want {
			t.Errorf("behind it: %q", next)
		}
	}
}

func TestFlowMasksTheRestOfAHeaderWhoseBeginningWasNotSeen(t *testing.T) {
	var f Flow
	p := []byte(pass + "; a=b\r\nHost: a\r\nAccept: */*\r\n\r\n")
	f.Segment(0, 9, p, len(p))
	if want := stars(pass+"; a=b") + "\r\nHost: a\r\nAccept: */*\r\n\r\n"; string(p) != want {
		t.Errorf("got  %q\nwant %q", p, want)
	}
}

// Of HTTP/2, everything is masked behind bytes that were not seen, until a frame begins.
func TestFlowMasksHTTP2BehindAGap(t *testing.T) {
	var f Flow
	seq := uint32(0)
	send := func(text string, captured int) string {
		p := []byte(text)[:captured]
		f.Segment(0, seq, p, len(text))
		seq += uint32(len(text))
		return string(p)
	}
	data := h2(0, 1, strings.Repeat("x", 100))
	send(string(preface)+h2(4, 0, "")+data[:50], len(preface)+frameHead+50)
	if got := send(data[50:], 10); got != data[50:60] {
		t.Errorf("within a frame: %q", got)
	}
	if got := send(h2(1, 3, pass), 22); got != h2(1, 3, stars(pass)) {
		t.Errorf("behind a frame that was cut off: %q", got)
	}
	seq += 1000
	for _, text := range []string{pass, "more of " + pass} {
		if got := send(text, len(text)); got != stars(text) {
			t.Errorf("behind a gap: %q", got)
		}
	}
	if got := send(h2(1, 3, pass)+data, 22+len(data)); got != h2(1, 3, stars(pass))+data {
		t.Errorf("a frame begins: %q", got)
	}
}

// plain are payloads without secrets.
var plain = []string{
	"GET /authorization?cookie=no HTTP/1.1\r\nHost: a:80\r\nAuthorizations: x\r\nUser-Agent: b/1@c\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nThe authors of http://a.example/x?y=z@w say hello.\n",
	"mail: a@b.example, http:/a:b@c, ://, \"http://a\" and 'x'\n",
	bulk("SET", "auth", "x") + bulk("HELLO", "3") + bulk("CONFIG", "GET", "*") + bulk("ACL", "LIST"),
	"*2\r\n:1\r\n$-1\r\n+AUTH\r\n$4\r\nAUTH\r\n$1\r\nx\r\n",
	"HELLO world of words\r\nacl list\r\nauth\r\nmigrate x\r\n",
	pg("Q", "select 'p'\x00"), pg("R", "\x00\x00\x00\x00"), "p", "ping pong",
	my(0, "\x03select 1"), my(1, "\x01"), my(2, "\x00\x00\x00\x02\x00\x00\x00"),
	my(1, "\x01") + my(2, "def") + my(3, "x"), my(1, "\x01") + my(2, strings.Repeat("\x01", 100)),
	"\x00\x00\x04\x20\x00\x00\x00\x00\x01four", "\x00\x00\x04\x01\xff\x00\x00\x00\x01four", "\x00\x00\x00\x54\x00\x03\x00\x00user\x00a\x00\x00",
	"\x16\x03\x01\x02\x00\x01\x00", "\x00\xff\xfe\n\r\n\r\xc3\x28",
}

func TestPlainPayloadStays(t *testing.T) {
	for _, text := range plain {
		p := []byte(text)
		Message(p)
		if string(p) != text {
			t.Errorf("got  %q\nwant %q", p, text)
		}
	}
}

func TestFlowLeavesPlainPayload(t *testing.T) {
	for _, text := range plain {
		for n := 1; n < len(text); n++ {
			if strings.HasSuffix(text[:n], "://") || strings.HasSuffix(text[:n], "://a") ||
				strings.HasSuffix(text[:n], "://,") || strings.HasPrefix(text[n:], "\x01\x00\x00\x03") {
				continue // what might be part of a secret
			}
			var f Flow
			first, second := []byte(text[:n]), []byte(text[n:])
			f.Segment(0, 0, first, n)
			f.Segment(0, uint32(n), second, len(second))
			if got := string(first) + string(second); got != text && !strings.Contains(text[:n], "://a") {
				t.Errorf("split at %d: got  %q\nwant %q", n, got, text)
			}
		}
	}
}

// A body goes on from segment to segment as it was, also on a connection that speaks HTTP.
func TestFlowLeavesBodies(t *testing.T) {
	var f Flow
	head := []byte("HTTP/1.1 200 OK\r\nSet-Cookie: x\r\nContent-Length: 3000\r\n\r\n")
	f.Segment(1, 0, head, len(head))
	seq := uint32(len(head))
	for range 3 {
		body := bytes.Repeat([]byte("0123456789\x00\xff"), 100)
		want := bytes.Clone(body)
		f.Segment(1, seq, body, len(body))
		seq += uint32(len(body))
		if !bytes.Equal(body, want) {
			t.Fatalf("body changed: %q", body)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range messages {
		f.Add([]byte(m.text), uint16(7))
	}
	for _, text := range plain {
		f.Add([]byte(text), uint16(3))
	}
	f.Fuzz(func(t *testing.T, p []byte, step uint16) {
		alone := bytes.Clone(p)
		Message(alone)
		var flow Flow
		split := bytes.Clone(p)
		for at := 0; at < len(split); {
			n := min(int(step%64)+1, len(split)-at)
			flow.Segment(int(step>>8), uint32(at), split[at:at+n], n+int(step>>12))
			at += n
		}
		for _, got := range [][]byte{alone, split} {
			for i := range got {
				if got[i] != p[i] && got[i] != mask {
					t.Fatalf("byte %d became %q", i, got[i])
				}
			}
		}
	})
}

func BenchmarkSegment(b *testing.B) {
	body := bytes.Repeat([]byte("a body of text, with lines of usual length, as pages have them\n"), 1000)
	var f Flow
	b.SetBytes(int64(len(body)))
	for i := 0; b.Loop(); i++ {
		f.Segment(0, uint32(i*len(body)), body, len(body))
	}
}
