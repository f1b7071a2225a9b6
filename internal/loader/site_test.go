package loader

import (
	"testing"

	"github.com/cilium/ebpf"

	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
)

// twoSites are the programs of two namespaces with equal addresses, on one table.
func twoSites(t *testing.T) (table *bench, programs map[uint32]*ebpf.Program) {
	t.Helper()
	table = newBench(t, Config{Hook: hook.TCX, MaxFlows: MinFlows})
	maps := make(map[string]*ebpf.Map, len(table.coll.Maps))
	for name, m := range table.coll.Maps {
		maps[name] = m
	}
	delete(maps, ".rodata")
	programs = make(map[uint32]*ebpf.Program)
	for site := uint32(1); site <= 2; site++ {
		spec := table.source.only("lotrace_egress")
		for name, m := range maps {
			spec.Maps[name].MaxEntries, spec.Maps[name].ValueSize = m.MaxEntries(), m.ValueSize()
		}
		if err := spec.Variables["config"].Set(lotraceLtConfig{Netns: 100 + site, Site: site, MaxFlows: MinFlows}); err != nil {
			t.Fatal(err)
		}
		coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps})
		if err != nil {
			t.Fatalf("%+v", err)
		}
		t.Cleanup(coll.Close)
		programs[site] = coll.Programs["lotrace_egress"]
	}
	return table, programs
}

func pass(t *testing.T, program *ebpf.Program, options ...testkit.Option) {
	t.Helper()
	if _, err := program.Run(&ebpf.RunOptions{Data: testkit.Packet(options...)}); err != nil {
		t.Fatal(err)
	}
}

// countBySite is how many packets each flow of each site has.
func countBySite(t *testing.T, b *bench) map[uint32]map[[2]uint16]uint64 {
	t.Helper()
	var counted reading.Reading
	if err := b.table.read(&counted, false); err != nil {
		t.Fatal(err)
	}
	bySite := make(map[uint32]map[[2]uint16]uint64)
	for _, slot := range b.table.slotsOf(&counted) {
		if bySite[slot.Key.Site] == nil {
			bySite[slot.Key.Site] = make(map[[2]uint16]uint64)
		}
		bySite[slot.Key.Site][slot.Key.Port] += slot.Dir[0].Packets + slot.Dir[1].Packets
	}
	return bySite
}

func ip(v6 bool) testkit.Option {
	if v6 {
		return testkit.IPv6()
	}
	return testkit.IPv4()
}

// Two namespaces may have equal tuples, and datagrams with equal numbers.
func TestSitesDoNotMeet(t *testing.T) {
	testkit.RequireRoot(t)
	for name, v6 := range map[string]bool{"ipv4": false, "ipv6": true} {
		t.Run(name, func(t *testing.T) {
			b, programs := twoSites(t)
			for site, program := range programs {
				for range site {
					pass(t, program, ip(v6), testkit.UDP(), testkit.Payload(8))
				}
			}
			got := countBySite(t, b)
			for site := range programs {
				if len(got[site]) != 1 {
					t.Fatalf("flows by site: %v, want one each", got)
				}
				for _, packets := range got[site] {
					if packets != uint64(site) {
						t.Errorf("site %d has %d packets", site, packets)
					}
				}
			}
		})
		t.Run(name+" fragments", func(t *testing.T) {
			b, programs := twoSites(t)
			first := func(site uint32, ports ...testkit.Option) {
				pass(t, programs[site], append(ports, ip(v6), testkit.UDP(), testkit.Payload(40), testkit.Fragment(7, 0, true))...)
			}
			later := func(site uint32) {
				pass(t, programs[site], ip(v6), testkit.UDP(), testkit.Payload(8), testkit.Fragment(7, 48, false))
			}
			first(1)
			later(2) // whose first was not seen
			later(1)
			got := countBySite(t, b)
			if n := got[2][[2]uint16{}]; n != 1 || len(got[2]) != 1 {
				t.Errorf("site 2 has %v, want its fragment without ports", got[2])
			}
			for ports, packets := range got[1] {
				if ports == ([2]uint16{}) || packets != 2 || len(got[1]) != 1 {
					t.Errorf("site 1 has %v, want both fragments in one flow", got[1])
				}
			}
		})
	}
}
