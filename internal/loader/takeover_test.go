package loader_test

import (
	"net"
	"testing"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// A connection that takes over the ports of an ended one keeps its slot, whenever the latter is retired:
// both of its ends go on counting there.
func TestRetireLeavesSuccessor(t *testing.T) {
	for _, c := range []struct {
		name           string
		before, behind func(l *loader.Loader, ended *reading.Slot) error // the takeover
	}{
		{"between reading and mark", nothing, retire},
		{"between mark and deletion", loader.MarkForTest, loader.FinishForTest},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, loader.Config{})
			listener := listenIn(t, r.ns)
			defer listener.Close()
			client, server := dialFrom(t, r.ns, nil, listener)
			local := client.LocalAddr()
			reset(t, client)
			server.Close()
			testkit.Quiesce(r.ns)
			var now reading.Reading
			if err := r.loader.ReadSlots(&now); err != nil {
				t.Fatal(err)
			}
			ended := loader.SlotsForTest(r.loader, &now)[0]

			if err := c.before(r.loader, &ended); err != nil {
				t.Fatal(err)
			}
			client, server = dialFrom(t, r.ns, local, listener)
			defer client.Close()
			defer server.Close()
			if err := c.behind(r.loader, &ended); err != nil {
				t.Fatal(err)
			}
			if _, err := server.Write([]byte{1}); err != nil { // finds its slot through the index
				t.Fatal(err)
			}
			if _, err := client.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			testkit.Quiesce(r.ns)
			if err := r.loader.ReadSlots(&now); err != nil {
				t.Fatal(err)
			}
			slots := loader.SlotsForTest(r.loader, &now)
			if n := len(slots); n != 1 {
				t.Errorf("%d slots for one connection", n)
			}
			for i := range slots {
				if s := &slots[i]; s.Role != reading.SlotRoleSYN || s.Owner[0] == nil || s.Owner[1] == nil {
					t.Errorf("role %v, owners %v", s.Role, s.Owner)
				}
			}
		})
	}
}

func nothing(*loader.Loader, *reading.Slot) error { return nil }

func retire(l *loader.Loader, ended *reading.Slot) error {
	_, err := l.Retire([]uint32{ended.Index}, nil)
	return err
}

func listenIn(t *testing.T, ns *testkit.Netns) (l net.Listener) {
	t.Helper()
	err := ns.Do(func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:0"); return err })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dialFrom(t *testing.T, ns *testkit.Netns, local net.Addr, l net.Listener) (client, server net.Conn) {
	t.Helper()
	err := ns.Do(func() (err error) {
		d := net.Dialer{LocalAddr: local}
		client, err = d.Dial("tcp", l.Addr().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func reset(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
}
