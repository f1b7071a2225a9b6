package export

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/testkit"
)

func TestPacketLine(t *testing.T) {
	end := func(at string, owner *model.Owner) model.Endpoint {
		ap := netip.MustParseAddrPort(at)
		return model.Endpoint{Addr: ap.Addr(), Port: ap.Port(), Owner: owner}
	}
	curl := end("127.0.0.1:40000", &model.Owner{Comm: "curl", PID: 311})
	unknown := end("127.0.0.1:80", nil)
	request := testkit.Packet(testkit.TCP(testkit.PSH|testkit.ACK), testkit.Seq(1000), testkit.Payload(64))
	const ends = "03:04:05.000006 curl(311) 127.0.0.1:40000 > 127.0.0.1:80: "
	for _, test := range []struct {
		name string
		data []byte
		cut  int // bytes that are missing
		told model.Packet
		want string
	}{
		{"request", request, 0, model.Packet{}, ends + "Flags [P.], seq 1000:1064, ack 0, win 65535, length 64"},
		{"cut payload", request[:60], len(request) - 60, model.Packet{}, ends + "Flags [P.], seq 1000:1064, ack 0, win 65535, length 64"},
		{"cut header", request[:50], len(request) - 50, model.Packet{}, "03:04:05.000006 not IP, or cut within its headers, length 118"},
		{"syn", testkit.Packet(testkit.TCP(testkit.SYN), testkit.Seq(7)), 0, model.Packet{}, ends + "Flags [S], seq 7, win 65535, length 0"},
		{"ack", testkit.Packet(testkit.TCP(testkit.ACK), testkit.Seq(7)), 0, model.Packet{Retransmit: true, Drop: "NO_SOCKET"},
			ends + "Flags [.], ack 0, win 65535, length 0, sent again, dropped: NO_SOCKET"},
		{"no flag", testkit.Packet(testkit.TCP(0)), 0, model.Packet{}, ends + "Flags [none], win 65535, length 0"},
		{"udp", testkit.Packet(testkit.UDP(), testkit.Payload(3)), 0, model.Packet{}, ends + "UDP, length 3"},
		{"fragment", testkit.Packet(testkit.UDP(), testkit.Fragment(1, 8, true), testkit.Payload(16)), 0, model.Packet{}, ends + "udp fragment, length 16"},
		{"arp", testkit.Packet(testkit.ARP()), 0, model.Packet{}, "03:04:05.000006 not IP, or cut within its headers, length 42"},
	} {
		var b strings.Builder
		p := test.told
		p.Time, p.Data, p.Length = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), test.data, len(test.data)+test.cut
		p.Flow, p.ToServer = &model.Flow{Client: curl, Server: unknown}, true
		lines := NewLines(&b)
		if err := errors.Join(lines.Packet(&p), lines.Flush()); err != nil || b.String() != test.want+"\n" {
			t.Errorf("%s: %v\n got %swant %s", test.name, err, &b, test.want)
		}
	}
}
