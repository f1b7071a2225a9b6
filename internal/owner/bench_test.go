package owner

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

const alive = 5000

// manyProcesses makes a resolver over a tree of processes, looked up already, each of which holds a
// connection and listens.
func manyProcesses(b *testing.B) (*Resolver, []*reading.Process, []*reading.SlotKey) {
	b.Helper()
	proc := newFakeProc(b)
	var (
		processes []*reading.Process
		keys      []*reading.SlotKey
		open      []reading.Holder
	)
	for pid := uint32(1); pid <= alive; pid++ {
		p := process(pid)
		p.StartNS = uint64(pid%1000) * nsPerClockTick
		proc.set(pid, fakeProcess{
			startNS: p.StartNS, comm: "app", exe: "/usr/bin/app", cmdline: "app\x00-v\x00",
			cgroup: fmt.Sprintf("0::/system.slice/app-%d.service\n", pid), uid: "33",
		})
		local := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(pid))
		key := flowKey(model.ProtoTCP, local.String(), "127.0.0.1:50000")
		processes, keys = append(processes, p), append(keys, key)
		open = append(open, reading.Holder{Process: p, Proto: model.ProtoTCP, Local: local, Remote: key.Endpoint(1)},
			reading.Holder{Process: p, Proto: model.ProtoTCP, Local: local, Listening: true})
	}
	r := New(Config{Proc: proc.root, Engines: []string{}, Scan: func() ([]reading.Holder, error) { return open, nil }})
	b.Cleanup(func() { _ = r.Close() })
	if err := r.ScanNow(); err != nil {
		b.Fatal(err)
	}
	for _, p := range processes {
		r.Owner(p)
	}
	r.Settle(patience)
	if got := r.Owner(processes[alive-1]); got.Unit == "" {
		b.Fatalf("not looked up: %+v", got)
	}
	return r, processes, keys
}

func BenchmarkOwner(b *testing.B) {
	r, processes, _ := manyProcesses(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Owner(processes[i%alive])
	}
}

func BenchmarkHolder(b *testing.B) {
	r, _, keys := manyProcesses(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Holder(keys[i%alive], 0, 1, true)
	}
}

func BenchmarkHolderUnknown(b *testing.B) {
	r, _, keys := manyProcesses(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Holder(keys[i%alive], 1, 1, true)
	}
}

// The benchmark measures a background lookup of a live process in a real /proc.
func BenchmarkLookup(b *testing.B) {
	pid := uint32(os.Getpid())
	p := &reading.Process{ProcessID: model.ProcessID{TGID: pid, StartNS: startOf(b, pid)}, PID: pid}
	proc := newProcfs("/proc")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := proc.read(p, facts{}); err != nil {
			b.Fatal(err)
		}
	}
}
