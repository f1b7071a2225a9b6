package filter

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// postgres is the flow most cases ask about.
func postgres() *model.Flow {
	return &model.Flow{
		Proto:      model.ProtoTCP,
		State:      "established",
		RoleSource: model.RoleSYN,
		Client:     endpoint("127.0.0.1:40000"),
		Server:     endpoint("127.0.0.2:5432"),
		Tally:      model.Tally{ToServer: model.Counters{Packets: 10, Bytes: 1000, SKBs: 9, PayloadBytes: 480, Retransmits: 1}, ToClient: model.Counters{Packets: 20, Bytes: 9000, SKBs: 11, PayloadBytes: 7960}, Turn: model.Latency{Count: 3, Sum: 8 * time.Millisecond, Min: time.Millisecond, Max: 5 * time.Millisecond}, Health: &model.Health{Refused: 2, Server: model.EndHealth{Resets: 1}}, Response: model.Latency{Count: 2, Sum: 4 * time.Second, Min: time.Second, Max: 3 * time.Second}},

		ClientSRTT: 40 * time.Microsecond,
		ServerSRTT: 60 * time.Microsecond,
	}
}

func endpoint(s string) model.Endpoint {
	ap := netip.MustParseAddrPort(s)
	return model.Endpoint{Addr: ap.Addr(), Port: ap.Port()}
}

// parsed are filters, how they are written back, and whether they match postgres().
var parsed = []struct {
	expr  string
	canon string
	match bool // postgres()
}{
	{"", "", true},
	{" \t\n", "", true},

	{"proto:tcp", "proto:tcp", true},
	{"PROTO:TCP", "proto:tcp", true},
	{"tcp", "proto:tcp", true},
	{"proto tcp", "proto:tcp", true},
	{"proto:6", "proto:tcp", true},
	{"proto:47", "proto:47", false},
	{"proto:udp,TCP", "proto:udp,tcp", true},
	{"udp", "proto:udp", false},
	{"icmp6", "proto:icmpv6", false},

	{"port:5432", "port:5432", true},
	{"port:40000", "port:40000", true},
	{"port 5432", "port:5432", true},
	{"portrange 5000-6000", "port:5000-6000", true},
	{"port 80 or 5432", "port:80 or port:5432", true},
	{"tcp and (port 80 || 443)", "proto:tcp (port:80 or port:443)", false},
	{"port 5432 && !22", "port:5432 !port:22", true},
	{"host ::1 or 127.0.0.2 and tcp", "addr:::1 or addr:127.0.0.2 proto:tcp", true},
	{"tcp port 5432 and host 127.0.0.2", "proto:tcp port:5432 addr:127.0.0.2", true},
	{"net 127.0.0.0/8", "addr:127.0.0.0/8", true},
	{"port:5000-6000", "port:5000-6000", true},
	{"port:5432-5432", "port:5432", true},
	{"port:5431-5431,5433", "port:5431,5433", false},
	{"port:80,443,5432", "port:80,443,5432", true},
	{"cport:5432", "cport:5432", false},
	{"cport:40000", "cport:40000", true},
	{"sport:5432", "sport:5432", true},
	{"sport:40000", "sport:40000", false},

	{"addr:127.0.0.2", "addr:127.0.0.2", true},
	{"addr:127.0.0.3", "addr:127.0.0.3", false},
	{"host 127.0.0.2", "addr:127.0.0.2", true},
	{"addr:127.1.2.3/8", "addr:127.0.0.0/8", true},
	{"addr:10.0.0.0/8,127.0.0.2/32", "addr:10.0.0.0/8,127.0.0.2", true},
	{"addr:::ffff:127.0.0.2", "addr:127.0.0.2", true},
	{"addr:::ffff:127.0.0.0/104", "addr:127.0.0.0/8", true},
	{"addr:::/0", "addr:::/0", false},
	{"addr:0.0.0.0/0", "addr:0.0.0.0/0", true},
	{`addr:"::1",127.0.0.1`, "addr:::1,127.0.0.1", true},
	{"host:localhost", "addr:127.0.0.0/8,::1", true},
	{"caddr:127.0.0.2", "caddr:127.0.0.2", false},
	{"caddr:127.0.0.1", "caddr:127.0.0.1", true},
	{"saddr:127.0.0.2", "saddr:127.0.0.2", true},
	{"family:ipv4", "family:ipv4", true},
	{"ip6", "family:ipv6", false},

	{"state:estab", "state:established", true},
	{"state:time-wait,close-wait", "state:time-wait,close-wait", false},
	{"role:syn", "role:syn", true},
	{"role:port", "role:port", false},
	{"closed:no", "closed:no", true},
	{"closed:yes", "closed:yes", false},

	{"bytes>9999", "bytes>9999", true},
	{"bytes>10k", "bytes>10000", false},
	{"bytes >= 10KB", "bytes>=10000", true},
	{"bytes<10KiB", "bytes<10240", true},
	{"bytes<10000", "bytes<10000", false},
	{"bytes<=10000B", "bytes<=10000", true},
	{"bytes<0.01M", "bytes<10000", false},
	{"bytes=10000", "bytes=10000", true},
	{"bytes>=2GiB", "bytes>=2147483648", false},
	{"payload=8440", "payload=8440", true},
	{"packets=30", "packets=30", true},
	{"skbs=20", "skbs=20", true},
	{"retransmits>0", "retransmits>0", true},
	{"srtt=60us", "srtt=60us", true},
	{"srtt>0.05ms", "srtt>50us", true},
	{"srtt<1.5s", "srtt<1.5s", true},
	{"turn>4.9ms", "turn>4.9ms", true},
	{"turn>5ms", "turn>5ms", false},
	{"turn<5ms", "turn<5ms", false},
	{"turn<=5000us", "turn<=5ms", true},
	{"response>2999ms", "response>2.999s", true},
	{"response>1m", "response>1m0s", false},
	{"turns=3", "turns=3", true},
	{"turns>1k", "turns>1000", false},
	{"errors>2", "errors>2", true},
	{"errors=2", "errors=2", false},

	{"tcp and port:5432", "proto:tcp port:5432", true},
	{"udp port:5432", "proto:udp port:5432", false},
	{"udp or port:5432", "proto:udp or port:5432", true},
	{"tcp or udp port:1", "proto:tcp or proto:udp port:1", true},
	{"(tcp or udp) port:1", "(proto:tcp or proto:udp) port:1", false},
	{"((tcp))((port:5432))", "proto:tcp port:5432", true},
	{"tcp AND (ip (port:1 OR port:5432))", "proto:tcp family:ipv4 (port:1 or port:5432)", true},
	{"udp or (icmp or tcp)", "proto:udp or proto:icmp or proto:tcp", true},
	{"!udp", "!proto:udp", true},
	{"not udp", "!proto:udp", true},
	{"! ! tcp", "proto:tcp", true},
	{"not(!tcp)", "proto:tcp", true},
	{"!!!(udp)", "!proto:udp", true},
	{"!(tcp port:5432)", "!(proto:tcp port:5432)", false},
	{"!(udp or icmp) tcp", "!(proto:udp or proto:icmp) proto:tcp", true},
}

func TestParse(t *testing.T) {
	for _, tt := range parsed {
		f, err := Parse(tt.expr)
		if err != nil {
			t.Errorf("%q: %v", tt.expr, err)
			continue
		}
		if got := f.String(); got != tt.canon {
			t.Errorf("%q: canonical %q, want %q", tt.expr, got, tt.canon)
		}
		if got := f.Match(postgres()); got != tt.match {
			t.Errorf("%q: match %v", tt.expr, got)
		}
		again, err := Parse(f.String())
		if err != nil || !reflect.DeepEqual(again, f) {
			t.Errorf("%q: canonical %q reads as %v, %v", tt.expr, f, again, err)
		}
	}
}

func TestMatchUnknowns(t *testing.T) {
	ping := &model.Flow{
		Proto:  model.ProtoICMPv6,
		Client: endpoint("[::1]:80"), // the echo identifier
		Server: endpoint("[::1]:0"),
	}
	mapped := &model.Flow{
		Proto:  model.ProtoUDP,
		Client: endpoint("[::ffff:127.0.0.1]:1"),
		Server: endpoint("[::ffff:127.0.0.2]:2"),
	}
	for _, tt := range []struct {
		expr string
		flow *model.Flow
		want bool
	}{
		{"port:80", ping, false},
		{"cport:80", ping, false},
		{"port:0", ping, false},
		{"!port:80", ping, true},
		{"addr:::1 ip6 proto:58", ping, true},
		{"srtt<1h", ping, false},
		{"srtt>=0s", ping, false},
		{"!srtt<1h", ping, true},
		{"turn<1h", ping, false},
		{"!turn>=0s", ping, true},
		{"response>=0s", ping, false},
		{"turns=0", ping, true},
		{"errors=0", ping, true},
		{"state:closed", ping, false},
		{"family:ipv4 saddr:127.0.0.2 caddr:127.0.0.0/31", mapped, true},
		{"ip6", mapped, false},
	} {
		f, err := Parse(tt.expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(tt.flow); got != tt.want {
			t.Errorf("%q: match %v", tt.expr, got)
		}
	}
}

func TestNilFilter(t *testing.T) {
	var f *Filter
	if !f.Match(postgres()) || f.String() != "" {
		t.Error("a nil filter does not match everything")
	}
	if prog, exact := f.Kernel(); len(prog) != 0 || !exact {
		t.Errorf("kernel: %v, %v", prog, exact)
	}
}

const states = "syn-sent, syn-recv, established, fin-wait-1, fin-wait-2, close-wait, time-wait, closed"

// parseErrors are what is no filter, and what is said of it.
var parseErrors = []struct{ expr, want string }{
	{"prot:tcp", `unknown term "prot" at 1; did you mean "proto"?`},
	{"tcp tpc", `unknown term "tpc" at 5; did you mean "tcp"?`},
	{"tpc:1", `unknown term "tpc" at 1`},
	{"pdi:5", `unknown term "pdi" at 1; did you mean "pid"?`},
	{"é:1 tcp", `unknown term "é" at 1`},
	{`addr:"é`, `nothing closes "\"" at 6`},
	{`port:"é" tcp`, `a port is 0 to 65535, or two as 8000-8099, not "é" at 6`},
	{"port 80 443", `unknown term "443" at 9`},
	{"port:80 or 443", `unknown term "443" at 12`},
	{"port 80 or bytes>1 or 443", `unknown term "443" at 23`},
	{"tcp dst port 80", `a flow has both directions; of one end say caddr, cport, saddr or sport, not "dst" at 5`},
	{"tcp[13] = 2", `bytes of packets cannot be tested, as in "tcp[13]" at 1`},
	{"|| tcp", `a term is missing before "||" at 1`},
	{"proto:tpc", `unknown protocol "tpc" at 7; did you mean "tcp"?`},
	{"proto:256", `unknown protocol "256" at 7`},
	{"state:estb", `unknown state "estb" at 7; did you mean "estab"?`},
	{"state:time_wait", `unknown state "time_wait" at 7; did you mean "time-wait"?`},
	{"state:last-ack", `unknown state "last-ack" at 7; need one of ` + states},
	{"state:estab,closing", `unknown state "closing" at 13; need one of ` + states},
	{"state:listen", `unknown state "listen" at 7; need one of ` + states},
	{"closed:true", `unknown answer "true" at 8; need one of yes, no`},
	{"port:80,65536", `a port is 0 to 65535, or two as 8000-8099, not "65536" at 9`},
	{"port:2-1", `port range runs backwards: "2-1" at 6`},
	{"addr:1.2.3", `an address is as 127.0.0.1, ::1, 10.0.0.0/8 or localhost, not "1.2.3" at 6`},
	{"addr:fe80::1%lo", `flows know no zone, as in "fe80::1%lo" at 6`},
	{"port:", `no value for "port" at 1; did you mean "port:80"?`},
	{`port:""`, `no value for "port" at 1; did you mean "port:80"?`},
	{"port:80,", `no value for "port" at 1; did you mean "port:80"?`},
	{"tcp closed", `no value for "closed" at 5; did you mean "closed:yes"?`},
	{"state established", `no value for "state" at 1; did you mean "state:established"?`},
	{"port=80", `a colon must follow "port" at 1; did you mean "port:80"?`},
	{"bytes:5", `a comparison must follow "bytes" at 1; did you mean "bytes>1MB"?`},
	{"bytes>1,2", `no list of numbers can follow "bytes" at 1`},
	{"bytes>1.5", `a size is as 4096, 64KiB or 1.5MB, not "1.5" at 7`},
	{"bytes>18014398509481984KiB", `a size is as 4096, 64KiB or 1.5MB, not "18014398509481984KiB" at 7`},
	{"packets>5KB", `a number is as 20, 1.5k or 3M, not "5KB" at 9`},
	{"srtt>5", `a duration is as 250us, 1.5ms or 2s, not "5" at 6`},
	{"turns>5ms", `a number is as 20, 1.5k or 3M, not "5ms" at 7`},
	{"turn>5", `a duration is as 250us, 1.5ms or 2s, not "5" at 6`},
	{"turn:5ms", `a comparison must follow "turn" at 1; did you mean "turn>5ms"?`},
	{"pid:0", `a PID is a number from 1, not "0" at 5`},
	{"pid:nginx", `a PID is a number from 1, not "nginx" at 5`},
	{"client:4294967296", `a PID is a number from 1, not "4294967296" at 8`},
	{"comm:postgres_exporter", `the kernel cuts process names to 15 bytes, so none is "postgres_exporter" at 6; did you mean "postgres_export"?`},
	{"comm:[z-a]", `a pattern is as web*, web-? or web-[0-9], not "[z-a]" at 6`},
	{"exe:\xff", "a pattern is as web*, web-? or web-[0-9], not \"\\xff\" at 5"},
	{"unit:", `no value for "unit" at 1; did you mean "unit:nginx"?`},
	{"comm=nginx", `a colon must follow "comm" at 1; did you mean "comm:nginx"?`},
	{"uid:rot", `unknown user "rot" at 5; did you mean "root"?`},
	{"uid:4294967296", `a user is a name or a number, not "4294967296" at 5`},
	{"owner:scna", `unknown owner source "scna" at 7; did you mean "scan"?`},
	{"srtt>-5ms", `a duration is as 250us, 1.5ms or 2s, not "-5ms" at 6`},
	{"tcp:5", `no value can follow "tcp" at 1`},
	{"(tcp", `nothing closes "(" at 1`},
	{"tcp)", `no bracket is open before ")" at 4`},
	{"()", `a term is missing before ")" at 2`},
	{"tcp or", `a term is missing at 7`},
	{"!", `a term is missing at 2`},
	{"tcp or or udp", `a term is missing before "or" at 8`},
	{"and tcp", `a term is missing before "and" at 1`},
	{"port:80, 443", `no value for "port" at 1; did you mean "port:80"?`},
	{":80", `a term cannot begin with ":" at 1`},
	{strings.Repeat("(", 65) + "tcp", `brackets nest deeper than 64 at 65`},
	{strings.Repeat(" ", 4097), `expression is longer than 4096 bytes`},
	{strings.Repeat("tcp ", 500), `expression is longer than 4096 bytes`}, // once spelt out
}

func TestParseErrors(t *testing.T) {
	for _, tt := range parseErrors {
		_, err := Parse(tt.expr)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: error %v, want an *Error", tt.expr, err)
			continue
		}
		if e.Error() != "filter: "+tt.want {
			t.Errorf("%q:\n got %s\nwant filter: %s", tt.expr, e, tt.want)
		}
	}
}

func TestDeepestNesting(t *testing.T) {
	f, err := Parse(strings.Repeat("(", 64) + "tcp" + strings.Repeat(")", 64) + " (udp)")
	if err != nil || f.String() != "proto:tcp proto:udp" {
		t.Errorf("got %v, %v", f, err)
	}
}

func TestCaret(t *testing.T) {
	for _, tt := range []struct{ expr, want string }{
		{"tcp prot:udp", "tcp prot:udp\n    ^\n"},
		{"tcp\tprot:udp", "tcp prot:udp\n    ^\n"},
		{"tcp \x1b[2J", "tcp ?[2J\n    ^\n"},
		{strings.Repeat(" ", 4097), ""},
	} {
		_, err := Parse(tt.expr)
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%q: error %v", tt.expr, err)
		}
		if got := e.Caret(); got != tt.want {
			t.Errorf("%q: caret\n%swant\n%s", tt.expr, got, tt.want)
		}
	}
}

// The states that can be asked for are those that a flow can have, whatever case it is written in, and nothing else.
func TestStates(t *testing.T) {
	f := model.Flow{Proto: model.ProtoTCP}
	for _, state := range model.TCPStates() {
		f.State = state
		for _, expr := range []string{"state:" + state, "state:" + strings.ToUpper(state)} {
			if parsed, err := Parse(expr); err != nil || !parsed.Match(&f) {
				t.Errorf("%s: %v", expr, err)
			}
		}
	}
	// Words that only ss(8) takes, and slips.
	for _, word := range strings.Fields("last-ack closing listen unconnected connected synchronized bucket big all estabished syn established,") {
		if f, err := Parse("state:" + word); err == nil {
			t.Errorf("state:%s is %v", word, f)
		} else if at := new(Error); !errors.As(err, &at) || at.Suggest == "" && at.Known == nil {
			t.Errorf("state:%s: no advice in %v", word, err)
		}
	}
}

// TestTerms holds the table to what the parser does.
func TestTerms(t *testing.T) {
	for _, doc := range Terms() {
		f, err := Parse(doc.Example)
		if err != nil {
			t.Errorf("example of %s: %v", doc.Name, err)
			continue
		}
		if _, exact := f.Kernel(); exact != doc.InKernel {
			t.Errorf("%s: said in kernel %v, is %v", doc.Name, doc.InKernel, exact)
		}
		if !strings.HasPrefix(doc.Example, doc.Name) || doc.Value == "" || doc.Help == "" {
			t.Errorf("incomplete: %+v", doc)
		}
	}
}

func TestChanging(t *testing.T) {
	for expr, want := range map[string]string{
		"":                                    "",
		"tcp port 80 (client:api or !pid:7)":  "",
		"bytes>1MB":                           "bytes",
		"tcp !(port:80 or state:established)": "state",
		"port:80 or closed:yes":               "closed",
	} {
		f, err := Parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Changing(); got != want {
			t.Errorf("%q: got %q, want %q", expr, got, want)
		}
	}
}
