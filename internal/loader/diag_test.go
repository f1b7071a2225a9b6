package loader

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
)

// listeningMessage is what the kernel says of a socket that listens at [::]:80, six of five waiting in it.
func listeningMessage() []byte {
	b := make([]byte, sizeofDiagMessage)
	b[0], b[1], b[5], b[56], b[60] = unix.AF_INET6, tcpListen, 80, 6, 5
	b = append(b, 5, 0, diagSKV6Only, 0, 1, 0, 0, 0)
	meminfo := make([]byte, 4*(meminfoDrops+1))
	meminfo[4*meminfoDrops] = 7
	return append(append(b, byte(4+len(meminfo)), 0, diagSKMeminfo, 0), meminfo...)
}

func TestParseListening(t *testing.T) {
	want := model.Backlog{Addr: netip.IPv6Unspecified(), Port: 80, V6Only: true, Length: 6, Limit: 5, Drops: 7}
	if got, err := parseListening(listeningMessage()); err != nil || got != want {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	for n := range sizeofDiagMessage {
		if got, err := parseListening(listeningMessage()[:n]); err == nil {
			t.Errorf("%+v of %d bytes", got, n)
		}
	}
}

// Whatever the message is, it is read without a panic.
func FuzzParseListening(f *testing.F) {
	f.Add(listeningMessage())
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseListening(b); err == nil && (len(b) < sizeofDiagMessage || len(b)%4 != 0) {
			t.Errorf("%d bytes are no whole record", len(b))
		}
	})
}
