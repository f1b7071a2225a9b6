package owner

import (
	"errors"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

func flowKey(proto model.Proto, a, b string) *reading.SlotKey {
	ends := [2]netip.AddrPort{netip.MustParseAddrPort(a), netip.MustParseAddrPort(b)}
	return &reading.SlotKey{
		Addr:  [2][16]byte{ends[0].Addr().As16(), ends[1].Addr().As16()},
		Port:  [2]uint16{ends[0].Port(), ends[1].Port()},
		Site:  1,
		Proto: proto,
	}
}

func held(pid uint32, proto model.Proto, local, remote string) reading.Holder {
	h := reading.Holder{Process: process(pid), Site: 1, Proto: proto, Local: netip.MustParseAddrPort(local)}
	if remote != "" {
		h.Remote = netip.MustParseAddrPort(remote)
	}
	h.Listening = proto == model.ProtoTCP && remote == ""
	return h
}

// holderCase is a socket's end, and who of those that hold sockets is to be behind it.
type holderCase struct {
	name          string
	proto         model.Proto
	local, remote string // the end that is asked for is local
	held          []reading.Holder
	pid           uint32 // 0: nobody
}

func holderCases() []holderCase {
	const (
		tcp, udp = model.ProtoTCP, model.ProtoUDP
		client   = "127.0.0.1:40000"
		server   = "127.0.0.1:80"
		client6  = "[::1]:40000"
		server6  = "[::1]:80"
	)
	v6only := held(1, tcp, "[::]:80", "")
	v6only.V6Only = true
	closed := held(1, tcp, server, "")
	closed.Listening = false
	orphan := held(1, tcp, server, client)
	orphan.Process = nil
	return []holderCase{
		{"connected", tcp, server, client, []reading.Holder{held(1, tcp, server, client)}, 1},
		{"connected, other end's", tcp, client, server, []reading.Holder{held(1, tcp, server, client)}, 0},
		{"connected, other protocol", tcp, server, client, []reading.Holder{held(1, udp, server, client)}, 0},
		{"connected, other peer", tcp, server, client, []reading.Holder{held(1, tcp, server, "127.0.0.1:40001")}, 0},
		{"connected, held twice by one", tcp, server, client, []reading.Holder{held(1, tcp, server, client), held(1, tcp, server, client)}, 1},
		{"connected, held by two", tcp, server, client, []reading.Holder{held(1, tcp, server, client), held(2, tcp, server, client)}, 0},
		{"connected, held by three", tcp, server, client,
			[]reading.Holder{held(1, tcp, server, client), held(2, tcp, server, client), held(1, tcp, server, client)}, 0},
		{"connected before listening", tcp, server, client, []reading.Holder{held(2, tcp, server, ""), held(1, tcp, server, client)}, 1},
		{"held by two, one of them listens", tcp, server, client,
			[]reading.Holder{held(2, tcp, server, ""), held(1, tcp, server, client), held(2, tcp, server, client)}, 0},
		{"ipv6", tcp, server6, client6, []reading.Holder{held(1, tcp, server6, client6)}, 1},

		{"listening here", tcp, server, client, []reading.Holder{held(1, tcp, server, "")}, 1},
		{"listening on all", tcp, server, client, []reading.Holder{held(1, tcp, "0.0.0.0:80", "")}, 1},
		{"listening, dual stack", tcp, server, client, []reading.Holder{held(1, tcp, "[::]:80", "")}, 1},
		{"listening, ipv6 only", tcp, server, client, []reading.Holder{v6only}, 0},
		{"listening on all, ipv6", tcp, server6, client6, []reading.Holder{held(1, tcp, "[::]:80", "")}, 1},
		{"listening, ipv6 only, ipv6", tcp, server6, client6, []reading.Holder{v6only}, 1},
		{"listening on all of ipv4, ipv6", tcp, server6, client6, []reading.Holder{held(1, tcp, "0.0.0.0:80", "")}, 0},
		{"listening here and on all", tcp, server, client, []reading.Holder{held(2, tcp, "0.0.0.0:80", ""), held(1, tcp, server, "")}, 1},
		{"listening elsewhere", tcp, server, client, []reading.Holder{held(1, tcp, "127.0.0.2:80", "")}, 0},
		{"listening on another port", tcp, server, client, []reading.Holder{held(1, tcp, "0.0.0.0:81", "")}, 0},
		{"prefork", tcp, server, client, []reading.Holder{held(1, tcp, "0.0.0.0:80", ""), held(2, tcp, "0.0.0.0:80", "")}, 0},
		{"one on each family's all", tcp, server, client, []reading.Holder{held(1, tcp, "0.0.0.0:80", ""), held(2, tcp, "[::]:80", "")}, 0},
		{"neither connected nor listening", tcp, server, client, []reading.Holder{closed}, 0},
		{"listener younger than the flow", tcp, server, client, []reading.Holder{held(100, tcp, server, "")}, 0},
		{"connected, handed to a younger one", tcp, server, client, []reading.Holder{held(100, tcp, server, client)}, 100},

		{"udp connected", udp, client, server, []reading.Holder{held(1, udp, client, server), held(2, udp, client, "")}, 1},
		{"udp here", udp, server, client, []reading.Holder{held(2, udp, "0.0.0.0:80", ""), held(1, udp, server, "")}, 1},
		{"udp on all", udp, server, client, []reading.Holder{held(1, udp, "0.0.0.0:80", "")}, 1},
		{"udp, dual stack", udp, server, client, []reading.Holder{held(1, udp, "[::]:80", "")}, 1},
		{"udp, two share the port", udp, server, client, []reading.Holder{held(1, udp, server, ""), held(2, udp, server, "")}, 0},
		{"udp connected to another", udp, server, client, []reading.Holder{held(1, udp, server, "127.0.0.1:9")}, 0},
		{"udp, younger than the flow", udp, server, client, []reading.Holder{held(100, udp, server, "")}, 0},
		{"sctp", model.ProtoSCTP, server, client, []reading.Holder{held(1, model.ProtoSCTP, server, "")}, 1},
		{"held by nobody", tcp, server, client, []reading.Holder{orphan}, 0},
	}
}

func TestHolderOf(t *testing.T) {
	for _, test := range holderCases() {
		t.Run(test.name, func(t *testing.T) {
			s := index(test.held)
			for end, key := range []*reading.SlotKey{
				flowKey(test.proto, test.local, test.remote), flowKey(test.proto, test.remote, test.local),
			} {
				pid := uint32(0)
				if p := s.holder(key, end, process(99).StartNS, true); p != nil {
					pid = p.PID
				}
				if pid != test.pid {
					t.Errorf("end %d: held by %d, want %d", end, pid, test.pid)
				}
			}
		})
	}
}

// A listener does not stand for an end that does not wait: somebody has accepted it.
func TestHolderOfAccepted(t *testing.T) {
	key := flowKey(model.ProtoTCP, "127.0.0.1:80", "127.0.0.1:40000")
	listener := held(1, model.ProtoTCP, "127.0.0.1:80", "")
	if p := index([]reading.Holder{listener}).holder(key, 0, process(99).StartNS, false); p != nil {
		t.Errorf("held by %+v, who listens", p)
	}
	worker := held(2, model.ProtoTCP, "127.0.0.1:80", "127.0.0.1:40000")
	if p := index([]reading.Holder{listener, worker}).holder(key, 0, process(99).StartNS, false); p != worker.Process {
		t.Errorf("held by %+v, want %+v", p, worker.Process)
	}
}

// scanner is a Scan function with its clock.
type scanner struct {
	mono  atomic.Uint64 // CLOCK_MONOTONIC; CLOCK_BOOTTIME is an hour more
	scans atomic.Int32
	held  []reading.Holder
	err   error
}

func (s *scanner) scan() ([]reading.Holder, error) {
	s.scans.Add(1)
	return s.held, s.err
}

func (s *scanner) clock(id int32) uint64 {
	if id == unix.CLOCK_BOOTTIME {
		return s.mono.Load() + uint64(time.Hour)
	}
	return s.mono.Load()
}

var testKey = flowKey(model.ProtoTCP, "127.0.0.1:80", "127.0.0.1:40000")

func TestHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scanner{held: []reading.Holder{held(7, model.ProtoTCP, "0.0.0.0:80", "")}}
		s.mono.Store(1000)
		s.held[0].Process.StartNS = uint64(time.Hour) + 400
		proc := newFakeProc(t)
		proc.set(7, fakeProcess{startNS: s.held[0].Process.StartNS, comm: "web", exe: "/web"})
		r := start(Config{Proc: proc.root, Scan: s.scan}, s.clock)
		defer r.Close()
		expect := func(createdNS uint64, want *model.Owner, scans int32) {
			t.Helper()
			if got := r.Holder(testKey, 0, createdNS, true); got != want {
				t.Errorf("flow of %d: %+v, want %+v", createdNS, got, want)
			}
			synctest.Wait()
			if s.scans.Load() != scans {
				t.Errorf("flow of %d: %d scans, want %d", createdNS, s.scans.Load(), scans)
			}
		}
		expect(500, nil, 1) // the first is asked for, and done at once
		web := r.Holder(testKey, 0, 500, true)
		if web == nil || web.PID != 7 || web.Source != model.OwnerScan {
			t.Fatalf("%+v, want 7 by scan", web)
		}
		r.Settle(patience)
		if web = r.Holder(testKey, 0, 500, true); web.Exe != "/web" || web.Comm != "web" {
			t.Errorf("%+v, want the rest of it", web)
		}
		if own := r.Owner(s.held[0].Process); own == web || own.Source != model.OwnerKernel || own.Exe != "/web" {
			t.Errorf("seen by the kernel: %+v", own)
		}
		if r.Holder(testKey, 0, 500, true) != web {
			t.Error("another pointer, though nothing changed")
		}
		expect(1000, web, 1) // begun with the scan
		expect(399, nil, 1)  // before the process
		expect(400, web, 1)
		if r.Holder(testKey, 1, 500, true) != nil || r.Holder(flowKey(model.ProtoICMP, "127.0.0.1:0", "127.0.0.1:0"), 0, 5000, true) != nil {
			t.Error("an owner where there is none")
		}

		expect(1001, nil, 1) // younger than the scan; the next is not due
		s.mono.Store(2000)
		time.Sleep(400 * time.Millisecond)
		expect(1001, nil, 1)
		time.Sleep(200 * time.Millisecond)
		expect(1001, web, 2)
		time.Sleep(3 * time.Second)
		expect(1001, web, 2)
		time.Sleep(3 * time.Second)
		expect(1001, web, 3) // answered by an old scan, which asks for a new one
	})
}

func TestScanFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scanner{held: []reading.Holder{held(7, model.ProtoTCP, "127.0.0.1:80", "127.0.0.1:40000")}}
		s.mono.Store(1000)
		r := start(Config{Proc: t.TempDir(), Scan: s.scan}, s.clock)
		defer r.Close()
		if err := r.ScanNow(); err != nil || r.Err() != nil || s.scans.Load() != 1 {
			t.Fatalf("%v, %v after %d scans", err, r.Err(), s.scans.Load())
		}
		s.err = errors.New("no iterator")
		if err := r.ScanNow(); !errors.Is(err, s.err) || !errors.Is(r.Err(), s.err) {
			t.Errorf("%v and %v, want %v", err, r.Err(), s.err)
		}
		if r.Holder(testKey, 0, 500, true) == nil {
			t.Error("the old result is gone")
		}
		s.err = nil
		s.mono.Store(2000)
		for _, step := range []struct {
			after time.Duration
			scans int32
		}{{0, 2}, {9 * time.Second, 2}, {2 * time.Second, 3}} {
			time.Sleep(step.after)
			r.Holder(testKey, 0, 1500, true)
			synctest.Wait()
			if s.scans.Load() != step.scans {
				t.Errorf("after %v more: %d scans, want %d", step.after, s.scans.Load(), step.scans)
			}
		}
		if r.Err() != nil || r.Holder(testKey, 0, 1500, true) == nil {
			t.Errorf("%v after a good scan", r.Err())
		}
	})
}

// A scan that takes its time keeps nobody waiting, and lookups go on beside it.
func TestScanHangs(t *testing.T) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	r := New(Config{Proc: newFakeProc(t).root, Scan: func() ([]reading.Holder, error) {
		began <- struct{}{}
		<-release
		return nil, nil
	}})
	defer r.Close()
	defer close(release)
	for range 2 {
		if got := r.Holder(testKey, 0, 1, true); got != nil {
			t.Errorf("%+v before any scan", got)
		}
	}
	<-began
	r.Holder(testKey, 0, 1, true)
	isGone := func() bool {
		_, gone := r.Process(process(1))
		return gone
	}
	for deadline := time.Now().Add(patience); !isGone(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("not looked up")
		}
	}
}

// Settle waits for a scan that may run, not for one that must rest first.
func TestSettleScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scanner{held: []reading.Holder{held(7, model.ProtoTCP, "127.0.0.1:80", "127.0.0.1:40000")}}
		s.mono.Store(1000)
		r := start(Config{Proc: t.TempDir(), Scan: func() ([]reading.Holder, error) {
			time.Sleep(10 * time.Millisecond)
			return s.scan()
		}}, s.clock)
		defer r.Close()
		for _, step := range []struct {
			created uint64
			waits   time.Duration
			known   bool
		}{{500, 10 * time.Millisecond, true}, {1500, 0, false}} {
			r.Holder(testKey, 0, step.created, true)
			began := time.Now()
			r.Settle(time.Minute)
			if took := time.Since(began); took != step.waits {
				t.Errorf("flow of %d: waited %v, want %v", step.created, took, step.waits)
			}
			if known := r.Holder(testKey, 0, step.created, true) != nil; known != step.known {
				t.Errorf("flow of %d: known %v, want %v", step.created, known, step.known)
			}
		}
	})
}

// A question asked while a scan runs is answered by that scan, not by one more.
func TestAskWhileScanning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(scanner)
		s.mono.Store(1000)
		r := start(Config{Proc: t.TempDir(), Scan: func() ([]reading.Holder, error) {
			time.Sleep(2 * time.Second)
			return s.scan()
		}}, s.clock)
		defer r.Close()
		r.Holder(testKey, 0, 500, true)
		time.Sleep(time.Second)
		r.Holder(testKey, 0, 500, true)
		time.Sleep(10 * time.Second)
		if s.scans.Load() != 1 {
			t.Errorf("%d scans, want 1", s.scans.Load())
		}
	})
}

func TestNoScan(t *testing.T) {
	r := New(Config{Proc: t.TempDir()})
	defer r.Close()
	if got, err := r.Holder(testKey, 0, 1, true), r.ScanNow(); got != nil || err != nil {
		t.Errorf("%+v, %v, want nothing", got, err)
	}
}
