package loader

import (
	"net/netip"
	"testing"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// mapLiterals are of the structs of lotrace.h that user space copies out of maps, or into them.
var mapLiterals = []literal{
	{
		name: "lt_counts",
		fields: []field{
			{0, "by[0].skbs", "0100000000000000"},
			{8, "by[0].packets", "0200000000000000"},
			{16, "by[0].bytes", "0300000000000000"},
			{24, "by[1].skbs", "1100000000000000"},
			{32, "by[1].packets", "1200000000000000"},
			{40, "by[1].bytes", "1300000000000000"},
			{48, "by[2].skbs", "2100000000000000"},
			{56, "by[2].packets", "2200000000000000"},
			{64, "by[2].bytes", "2300000000000000"},
			{72, "by[3].skbs", "3100000000000000"},
			{80, "by[3].packets", "3200000000000000"},
			{88, "by[3].bytes", "3300000000000000"},
			{96, "by[4].skbs", "4100000000000000"},
			{104, "by[4].packets", "4200000000000000"},
			{112, "by[4].bytes", "4300000000000000"},
			{120, "by[5].skbs", "5100000000000000"},
			{128, "by[5].packets", "5200000000000000"},
			{136, "by[5].bytes", "5300000000000000"},
			{144, "by[6].skbs", "6100000000000000"},
			{152, "by[6].packets", "6200000000000000"},
			{160, "by[6].bytes", "6300000000000000"},
			{168, "by[7].skbs", "7100000000000000"},
			{176, "by[7].packets", "7200000000000000"},
			{184, "by[7].bytes", "7300000000000000"},
			{192, "by[8].skbs", "8100000000000000"},
			{200, "by[8].packets", "8200000000000000"},
			{208, "by[8].bytes", "8300000000000000"},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			return decodeReasons([]lotraceLtCounts{*as[lotraceLtCounts](t, raw)})
		},
		want: reading.ReasonCounts{
			{SKBs: 0x01, Packets: 0x02, Bytes: 0x03}, {SKBs: 0x11, Packets: 0x12, Bytes: 0x13},
			{SKBs: 0x21, Packets: 0x22, Bytes: 0x23}, {SKBs: 0x31, Packets: 0x32, Bytes: 0x33},
			{SKBs: 0x41, Packets: 0x42, Bytes: 0x43}, {SKBs: 0x51, Packets: 0x52, Bytes: 0x53},
			{SKBs: 0x61, Packets: 0x62, Bytes: 0x63}, {SKBs: 0x71, Packets: 0x72, Bytes: 0x73},
			{SKBs: 0x81, Packets: 0x82, Bytes: 0x83},
		},
	},
	{
		name:   "lt_sample_counts",
		fields: []field{{0, "by", "1100000000000000 1200000000000000 1300000000000000 1400000000000000"}},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			return decodeSampleCounts([]lotraceLtSampleCounts{*as[lotraceLtSampleCounts](t, raw)})
		},
		want: model.SampleCounts{Seen: 0x4a, Taken: 0x11, Budget: 0x12, Full: 0x13, Failed: 0x14},
	},
	{
		name: "lt_pools",
		fields: []field{
			{0, "slots.fresh", "1100000000000000"},
			{8, "slots.full", "1200000000000000"},
			{16, "exchanges.fresh", "1300000000000000"},
			{24, "exchanges.full", "1400000000000000"},
			{32, "healths.fresh", "1500000000000000"},
			{40, "healths.full", "1600000000000000"},
			{48, "slow_lost", "1700000000000000"},
			{56, "lives", "1800000000000000"},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			return readPools(t, as[lotraceLtPools](t, raw))
		},
		want: reached{
			Used: 0x11, Slots: 0x11, Ends: 0x11, Exchanges: 0x14, Breakdowns: 0x14, HealthPlaces: 0x16,
			Lost: reading.Reading{Unmeasured: 0x14, Uncounted: 0x16, SlowLost: 0x17},
		},
	},
	{
		name: "lt_filter_term", // user space writes it: the bytes are what comes of a term
		fields: []field{
			{0, "test", "03"},
			{1, "on_true", "12"},
			{2, "on_false", "13"},
			{3, "prefix_len", "78"}, // 24 bits, mapped
			{4, "lo", "1500"},
			{6, "hi", "1600"},
			{8, "addr", "00000000 00000000 0000ffff 7f000100"},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			written := encodeFilter(reading.KernelFilter{{
				Test: reading.TestAddr, OnTrue: 0x12, OnFalse: 0x13, Lo: 0x15, Hi: 0x16,
				Addr: netip.MustParsePrefix("127.0.1.0/24"),
			}}).Term[0]
			return written == *as[lotraceLtFilterTerm](t, raw)
		},
		want: true,
	},
}

// reached is what user space takes from the pools: how far each array is in use, and what found no room.
type reached struct {
	Used, Slots, Ends, Exchanges, Breakdowns, HealthPlaces int

	Lost reading.Reading
}

func readPools(t *testing.T, pools *lotraceLtPools) (to reached) {
	t.Helper()
	table := table{
		slots: mapped[lotraceLtSlot](), ends: mapped[lotraceLtLife](),
		exchanges: mapped[lotraceLtExchange](), breakdowns: mapped[lotraceLtBreakdown](),
		healths: mapped[lotraceLtHealth](),
	}
	used, err := table.reachFresh(pools)
	if err != nil {
		t.Fatal(err)
	}
	decodePools(&to.Lost, pools)
	to.Used, to.Slots, to.Ends = used, table.slots.reached, table.ends.reached
	to.Exchanges, to.Breakdowns, to.HealthPlaces = table.exchanges.reached, table.breakdowns.reached, table.healths.reached
	return to
}

// mapped is an array of which all is there without a map.
func mapped[T any]() array[T] {
	a := array[T]{at: make([]T, 1<<8)}
	a.mapped = a.size()
	return a
}
