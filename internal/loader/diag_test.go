package loader

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// listeningMessage is what the kernel says of a socket that listens at [::]:80, six of five waiting in it.
func listeningMessage() []byte {
	b := make([]byte, sizeofDiagMessage)
	b[0], b[1], b[5], b[56], b[60] = unix.AF_INET6, unix.BPF_TCP_LISTEN, 80, 6, 5
	b = append(b, 5, 0, diagSKV6Only, 0, 1, 0, 0, 0)
	meminfo := make([]byte, 4*(meminfoDrops+1))
	meminfo[4*meminfoDrops] = 7
	return append(append(b, byte(4+len(meminfo)), 0, diagSKMeminfo, 0), meminfo...)
}

func TestParseListening(t *testing.T) {
	want := reading.Backlog{Addr: netip.IPv6Unspecified(), Port: 80, V6Only: true, Length: 6, Limit: 5, Drops: 7}
	if got, err := parseListening(listeningMessage()); err != nil || got != want {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	for n := range sizeofDiagMessage {
		if got, err := parseListening(listeningMessage()[:n]); err == nil {
			t.Errorf("%+v of %d bytes", got, n)
		}
	}
}

// connectedMessage is what the kernel says of a connection from 127.0.0.1:80 to 127.0.0.2:443.
func connectedMessage(state uint8, receive, send, outOfOrder byte) []byte {
	b := make([]byte, sizeofDiagMessage)
	b[0], b[1], b[5], b[6], b[7], b[56], b[60] = unix.AF_INET, state, 80, 1, 187, receive, send
	copy(b[8:], []byte{127, 0, 0, 1})
	copy(b[24:], []byte{127, 0, 0, 2})
	const size = unix.SizeofTCPInfo
	info := make([]byte, size)
	info[unsafe.Offsetof(unix.TCPInfo{}.Rcv_ooopack)] = outOfOrder
	b = append(b, (size+4)%256, (size+4)/256, diagInfo, 0)
	return append(b, info...)
}

func TestParseConnected(t *testing.T) {
	for _, tt := range []struct {
		state         uint8
		receive, send byte
		want          reading.Queue
	}{
		{unix.BPF_TCP_ESTABLISHED, 2, 3, reading.Queue{Receive: 2, Send: 3, OutOfOrder: 4}},
		{unix.BPF_TCP_FIN_WAIT1, 2, 3, reading.Queue{Receive: 2, Send: 2, OutOfOrder: 4}},
		{unix.BPF_TCP_FIN_WAIT2, 2, 0, reading.Queue{Receive: 2, OutOfOrder: 4}},
		{unix.BPF_TCP_CLOSE_WAIT, 2, 3, reading.Queue{Receive: 1, Send: 3, OutOfOrder: 4}},
		{unix.BPF_TCP_CLOSE_WAIT, 0, 0, reading.Queue{OutOfOrder: 4}},
		{unix.BPF_TCP_LAST_ACK, 2, 3, reading.Queue{Receive: 1, Send: 2, OutOfOrder: 4}},
		{unix.BPF_TCP_CLOSING, 1, 1, reading.Queue{OutOfOrder: 4}},
	} {
		m, q, err := parseConnected(connectedMessage(tt.state, tt.receive, tt.send, 4))
		if err != nil || q != tt.want {
			t.Errorf("state %d: %+v %v, want %+v", tt.state, q, err, tt.want)
		}
		if m.local.String() != "127.0.0.1:80" || m.remote.String() != "127.0.0.2:443" {
			t.Errorf("from %v to %v", m.local, m.remote)
		}
	}
	whole := connectedMessage(unix.BPF_TCP_ESTABLISHED, 1, 1, 1)
	for n := range len(whole) {
		if _, q, err := parseConnected(whole[:n]); err == nil && q.OutOfOrder != 0 {
			t.Errorf("%+v of %d bytes", q, n)
		}
	}
}

// Whatever the message is, it is read without a panic.
func FuzzParseDiag(f *testing.F) {
	f.Add(listeningMessage())
	f.Add(connectedMessage(unix.BPF_TCP_LAST_ACK, 1, 1, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, asListening := parseListening(b)
		_, _, asConnected := parseConnected(b)
		if (asListening == nil) != (asConnected == nil) {
			t.Errorf("%v, but %v", asListening, asConnected)
		}
		if asListening == nil && (len(b) < sizeofDiagMessage || len(b)%4 != 0) {
			t.Errorf("%d bytes are no whole record", len(b))
		}
	})
}

// A tuple has one key, whichever end it is looked at from.
func TestEncodeKey(t *testing.T) {
	for _, tt := range []struct{ low, high string }{
		{"127.0.0.1:80", "127.0.0.1:443"},
		{"127.0.0.1:443", "127.0.0.2:80"},
		{"[::1]:1", "127.0.0.1:1"}, // as bytes, mapped
		{"[::1]:80", "[fe80::1]:80"},
	} {
		low, high := netip.MustParseAddrPort(tt.low), netip.MustParseAddrPort(tt.high)
		key, end := encodeKey(low, high, 7, model.ProtoTCP)
		same, other := encodeKey(high, low, 7, model.ProtoTCP)
		if key != same || end != 0 || other != 1 {
			t.Errorf("%v %v: ends %d and %d, keys %+v and %+v", low, high, end, other, key, same)
		}
		decoded := decodeKey(&key)
		if decoded.Endpoint(0) != low || decoded.Endpoint(1) != high {
			t.Errorf("%v %v became %v %v", low, high, decoded.Endpoint(0), decoded.Endpoint(1))
		}
	}
}

// Without the iterator, too, a server that hears from IPv6 alone is known as one: it is nobody's server over IPv4.
func TestDiagUnconnected(t *testing.T) {
	ns := testkit.NewNetns(t)
	actor := ns.Actor(t)
	var want []reading.Listener
	for _, test := range []struct {
		at      string
		v6only  bool
		options []string
	}{
		{"[::]:0", true, []string{"v6only"}}, {"[::]:0", false, nil}, {"[::1]:0", true, []string{"v6only"}},
		{"0.0.0.0:0", false, nil}, {"127.0.0.2:0", false, nil},
	} {
		_, at := actor.Open("udp", test.at, test.options...)
		want = append(want, reading.Listener{
			Site: Site, Proto: model.ProtoUDP, Addr: at.Addr(), Port: at.Port(), V6Only: test.v6only,
		})
		actor.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 9)) // connected: waits for nobody else
	}
	var got []reading.Listener
	if err := ns.Do(func() (err error) { got, err = diagUnconnected(Site); return err }); err != nil {
		t.Fatal(err)
	}
	byPort := func(a, b reading.Listener) int { return cmp.Compare(a.Port, b.Port) }
	slices.SortFunc(got, byPort)
	slices.SortFunc(want, byPort)
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
