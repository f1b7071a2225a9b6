package filter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

func keyOf(f *model.Flow) model.Key {
	a := netip.AddrPortFrom(f.Client.Addr.Unmap(), f.Client.Port)
	b := netip.AddrPortFrom(f.Server.Addr.Unmap(), f.Server.Port)
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	return model.Key{Netns: f.Netns, Proto: f.Proto, A: a, B: b}
}

func TestKernelProgram(t *testing.T) {
	tcp := reading.FilterTerm{Test: reading.TestProto, Lo: 6, OnTrue: reading.FilterAccept, OnFalse: reading.FilterReject}
	notTCP := reading.FilterTerm{Test: reading.TestProto, Lo: 6, OnTrue: reading.FilterReject, OnFalse: reading.FilterAccept}
	v6 := reading.FilterTerm{Test: reading.TestFamily, Lo: 6, OnTrue: reading.FilterAccept, OnFalse: reading.FilterReject}
	jump := func(t reading.FilterTerm, onTrue, onFalse uint8) reading.FilterTerm {
		t.OnTrue, t.OnFalse = onTrue, onFalse
		return t
	}
	many := strings.TrimSuffix(strings.Repeat("1,", 33), ",")
	for _, tt := range []struct {
		expr  string
		want  reading.KernelFilter
		exact bool
	}{
		{"", nil, true},
		{"tcp", reading.KernelFilter{tcp}, true},
		{"!tcp", reading.KernelFilter{notTCP}, true},
		{"tcp ip6", reading.KernelFilter{jump(tcp, 1, reading.FilterReject), v6}, true},
		{"tcp or ip6", reading.KernelFilter{jump(tcp, reading.FilterAccept, 1), v6}, true},
		{"!(!tcp !ip6)", reading.KernelFilter{jump(tcp, reading.FilterAccept, 1), v6}, true},
		{"!(tcp or ip6)", reading.KernelFilter{jump(tcp, reading.FilterReject, 1), jump(v6, reading.FilterReject, reading.FilterAccept)}, true},
		{"tcp bytes>5", reading.KernelFilter{tcp}, false},
		{"tcp !bytes>5", reading.KernelFilter{tcp}, false},
		{"tcp or bytes>5", nil, false},
		{"!(tcp or bytes>5)", reading.KernelFilter{notTCP}, false},
		{"!(tcp bytes>5)", nil, false},
		{"proto:" + many + " tcp", reading.KernelFilter{tcp}, false},
		{"tcp (proto:" + many + " or udp)", reading.KernelFilter{tcp}, false},
		{"tcp or proto:" + many, nil, false},
		{"tcp or ip6 !proto:" + many, nil, false},
	} {
		f, err := Parse(tt.expr)
		if err != nil {
			t.Fatal(err)
		}
		prog, exact := f.Kernel()
		if fmt.Sprint(prog) != fmt.Sprint(tt.want) || exact != tt.exact {
			t.Errorf("%q: %v, exact %v; want %v, %v", tt.expr, prog, exact, tt.want, tt.exact)
		}
	}
}

func TestKernelFullProgram(t *testing.T) {
	f, err := Parse("proto:" + strings.TrimSuffix(strings.Repeat("1,", reading.MaxFilterTerms), ","))
	if err != nil {
		t.Fatal(err)
	}
	if prog, exact := f.Kernel(); len(prog) != reading.MaxFilterTerms || !exact {
		t.Errorf("%d instructions, exact %v", len(prog), exact)
	}
}

// The pools are small, so that random expressions and random flows meet.
var (
	poolAddrs = []string{"127.0.0.1", "127.0.0.2", "10.1.2.3", "::1", "fd00::7", "::2:0:0:1"}
	poolNets  = []string{"127.0.0.0/8", "127.0.0.2/31", "0.0.0.0/0", "::/0", "::/64", "::/97", "::/80",
		"fd00::/9", "::ffff:10.0.0.0/100", "localhost"}
	poolPorts  = []uint16{0, 1, 80, 443, 5432, 65535}
	poolOwners = []*model.Owner{nil, nil, api, web, kernel, several}
	poolProtos = []model.Proto{model.ProtoTCP, model.ProtoUDP, model.ProtoICMP, model.ProtoICMPv6, model.ProtoSCTP, 47}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func randomFlow(r *rand.Rand) *model.Flow {
	client := netip.MustParseAddr(pick(r, poolAddrs))
	server := netip.MustParseAddr(pick(r, poolAddrs))
	for server.Is4() != client.Is4() {
		server = netip.MustParseAddr(pick(r, poolAddrs))
	}
	return &model.Flow{
		Proto:      pick(r, poolProtos),
		State:      pick(r, []string{"", "established", "time-wait"}),
		RoleSource: pick(r, []model.RoleSource{model.RoleSYN, model.RolePort}),
		Client:     model.Endpoint{Addr: client, Port: pick(r, poolPorts), Owner: pick(r, poolOwners)},
		Server:     model.Endpoint{Addr: server, Port: pick(r, poolPorts), Owner: pick(r, poolOwners)},
		Tally:      model.Tally{ToServer: model.Counters{Bytes: r.Uint64N(3000), Packets: r.Uint64N(9)}, Turn: model.Latency{Count: r.Uint64N(2), Max: time.Duration(r.IntN(3)) * time.Millisecond}},
		ClientSRTT: time.Duration(r.IntN(3)) * time.Millisecond,

		Closed: r.IntN(2) == 0,
	}
}

func randomTerm(r *rand.Rand) string {
	port := func() string {
		lo, hi := pick(r, poolPorts), pick(r, poolPorts)
		return fmt.Sprintf("%d-%d,%d", min(lo, hi), max(lo, hi), pick(r, poolPorts))
	}
	addr := func() string { return pick(r, poolAddrs) + "," + pick(r, poolNets) }
	switch r.IntN(17) {
	case 0, 1, 2:
		return fmt.Sprintf("proto:%d,%d", pick(r, poolProtos), pick(r, poolProtos))
	case 3, 4, 5:
		return "port:" + port()
	case 6, 7, 8:
		return "addr:" + addr()
	case 9:
		return "family:" + pick(r, []string{"ipv4", "ipv6", "ipv4,ipv6"})
	case 10:
		return "addr:" + pick(r, poolNets)
	case 11:
		return pick(r, []string{"sport:", "cport:"}) + port()
	case 12:
		return pick(r, []string{"saddr:", "caddr:"}) + addr()
	case 13:
		return pick(r, []string{"state:established", "role:syn", "closed:yes", "srtt>=2ms", "turn>1ms", "turns=0"})
	case 14:
		return pick(r, []string{"pid:311", "comm:a*", "exe:web", "client:api", "server:412", "cgroup:system.slice",
			"unit:web", "container:4f", "uid:0", "owner:unknown", `comm:"web worker,(1)"`})
	default:
		return fmt.Sprintf("%s%s%d", pick(r, []string{"bytes", "packets"}),
			pick(r, []string{">", ">=", "<", "<=", "="}), r.IntN(10))
	}
}

func randomExpr(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(4) == 0 {
		return randomTerm(r)
	}
	var parts []string
	for range 1 + r.IntN(3) {
		parts = append(parts, pick(r, []string{"", "", "!", "not "})+"("+randomExpr(r, depth-1)+")")
	}
	return strings.Join(parts, pick(r, []string{" ", " and ", " or "}))
}

// TestKernelAgreesWithMatch: the kernel never drops what Match matches, and when it says it is
// exact it drops all else.
func TestKernelAgreesWithMatch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var exacts, weakened, rejected, matched int
	for range 4000 {
		expr := randomExpr(r, r.IntN(5))
		f, err := Parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		prog, exact := f.Kernel()
		checkProgram(t, expr, prog)
		if exact {
			exacts++
		} else if len(prog) > 0 {
			weakened++
		}
		for range 25 {
			flow := randomFlow(r)
			match, run := f.Match(flow), Run(prog, keyOf(flow))
			if match && !run || exact && match != run {
				t.Fatalf("%s\nflow %+v\nmatch %v, kernel %v (exact %v)\n%v", expr, flow, match, run, exact, prog)
			}
			if match {
				matched++
			}
			if !run {
				rejected++
			}
		}
	}
	if min(exacts, weakened) < 400 || min(matched, rejected) < 10000 {
		t.Errorf("too one-sided to show much: %d exact, %d weakened; %d matches, %d rejected by the kernel",
			exacts, weakened, matched, rejected)
	}
}

// checkProgram fails unless prog fits and every jump leads forwards to an instruction or an end.
func checkProgram(t *testing.T, expr string, prog reading.KernelFilter) {
	t.Helper()
	if len(prog) > reading.MaxFilterTerms {
		t.Fatalf("%q: %d instructions", expr, len(prog))
	}
	for i, term := range prog {
		for _, to := range []uint8{term.OnTrue, term.OnFalse} {
			end := to == reading.FilterAccept || to == reading.FilterReject
			if !end && (int(to) <= i || int(to) >= len(prog)) {
				t.Fatalf("%q: instruction %d jumps to %d of %d", expr, i, to, len(prog))
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		f.Add(randomExpr(r, 3))
	}
	for _, doc := range Terms() {
		f.Add(doc.Example)
	}
	for _, s := range []string{"", `addr:"::1",localhost`, "bytes > 1.5GiB", "not not(tcp or !udp)", "((", "port 80, 443",
		`comm:"a b","(c)",[!x-]?\*`, "cgroup:/a/*/[b", "uid:root,nobody", `client:007,"007 james"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		r := rand.New(rand.NewPCG(5, 6))
		flt, err := Parse(expr)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Error() == "" || e.Pos > len(expr)+1 || e.Pos > 0 && !strings.HasSuffix(e.Caret(), "^\n") {
				t.Fatalf("%q: error %+v", expr, e)
			}
			return
		}
		again, err := Parse(flt.String())
		if err != nil || again.String() != flt.String() {
			t.Fatalf("%q: canonical %q reads as %q, %v", expr, flt, again, err)
		}
		prog, exact := flt.Kernel()
		checkProgram(t, expr, prog)
		for range 10 {
			flow := randomFlow(r)
			match, run := flt.Match(flow), Run(prog, keyOf(flow))
			if match && !run || exact && match != run {
				t.Fatalf("%q: match %v, kernel %v (exact %v) of %+v", expr, match, run, exact, flow)
			}
		}
	})
}

func TestRunRejectsWildJump(t *testing.T) {
	key := keyOf(postgres())
	for _, prog := range []reading.KernelFilter{
		{{Test: reading.TestProto, Lo: 6, OnTrue: 1}},                                // past the end
		{{Test: reading.TestProto, Lo: 6, OnTrue: 0, OnFalse: reading.FilterAccept}}, // for ever
		{{Test: reading.FilterTest(99), OnTrue: reading.FilterAccept, OnFalse: 254}}, // no such test
	} {
		if Run(prog, key) {
			t.Errorf("accepted by %v", prog)
		}
	}
}
