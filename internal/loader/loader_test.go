package loader_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// memlock adds up what the kernel says our open maps and programs take.
func memlock(t *testing.T) uint64 {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fdinfo")
	if err != nil {
		t.Fatal(err)
	}
	var total uint64
	seen := make(map[string]bool)
	for _, fd := range fds {
		info, err := os.ReadFile("/proc/self/fdinfo/" + fd.Name())
		if err != nil {
			continue // closed since, it was the directory's own
		}
		id := regexp.MustCompile(`(?m)^(map|prog)_id:\s+\d+`).Find(info)
		size := regexp.MustCompile(`(?m)^memlock:\s+(\d+)`).FindSubmatch(info)
		if id == nil || size == nil || seen[string(id)] {
			continue
		}
		seen[string(id)] = true
		n, err := strconv.ParseUint(string(size[1]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

// minAccounting is the kernel from which fdinfo tells what a map takes, not only what was asked for.
const minAccounting = "6.4"

func TestDefaultTableFitsIn32MB(t *testing.T) {
	testkit.RequireRoot(t)
	testkit.RequireKernel(t, minAccounting, "memory use of maps")
	before := memlock(t)
	newRig(t, loader.Config{Hook: hook.Auto})
	if used := memlock(t) - before; used > 32<<20 || used < 16<<20 {
		t.Errorf("table and programs take %d bytes", used)
	}
}

func TestLargestTable(t *testing.T) {
	r := newRig(t, loader.Config{Hook: hook.Auto, MaxFlows: loader.MaxFlows})
	sent, err := testkit.PingPong(r.ns, 4, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.checkSent(r.window(), sent)
}

func TestStages(t *testing.T) {
	for _, kind := range []hook.Kind{hook.TCX, hook.Clsact} {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, loader.Config{Hook: kind, Stages: true})
			sent, err := testkit.TCPBulk(r.ns, 6, 64<<20)
			if err != nil {
				t.Fatal(err)
			}
			s := r.window()
			r.checkSent(s, sent)
			arrived := model.Count{SKBs: s.Totals.Packets, Packets: s.Totals.Packets, Bytes: s.Totals.Bytes}
			if s.Stages.Egress != s.Totals || s.Stages.Ingress != arrived {
				t.Errorf("stages %+v, totals %+v", *s.Stages, s.Totals)
			}
		})
	}
}

func TestKernelFilter(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			only := reading.KernelFilter{{
				Test: reading.TestProto, Lo: uint16(model.ProtoUDP), OnTrue: reading.FilterAccept, OnFalse: reading.FilterReject,
			}}
			r := newRig(t, loader.Config{Hook: kind, Filter: only})
			if _, err := testkit.PingPong(r.ns, 4, 10, 1); err != nil {
				t.Fatal(err)
			}
			udp, err := testkit.UDPCount(r.ns, 4, 13, 7)
			if err != nil {
				t.Fatal(err)
			}
			testkit.Quiesce(r.ns)
			s, err := r.engine.Window(new(model.Flows))
			if err != nil {
				t.Fatal(err)
			}
			if s.Flows.Len() != 1 {
				t.Fatalf("%d flows, want the datagrams alone", s.Flows.Len())
			}
			r.checkSent(s, udp)
			var now reading.Reading
			if err := r.loader.Read(&now); err != nil {
				t.Fatal(err)
			}
			if n := now.Reasons[reading.ReasonFiltered].Packets; n == 0 {
				t.Error("nothing was filtered")
			}
		})
	}
}

func TestCloseLeavesNoDescriptor(t *testing.T) {
	for _, kind := range allHooks {
		t.Run(string(kind), func(t *testing.T) {
			testkit.RequireRoot(t)
			testkit.RequireKernel(t, minimum(kind), "hook "+string(kind))
			ns := testkit.NewNetns(t)
			testkit.CheckFDs(t)
			l, err := loader.Open(loader.Config{Netns: ns.Path(), Hook: kind})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
