package loader

import (
	"slices"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

var (
	responses, responseBytes = counting(0x5000)
	turns, turnBytes         = counting(0x6000)
)

// tableLiterals are of the structs of lotrace.h and exchange.h that user space reads where the kernel writes them.
var tableLiterals = []literal{
	{
		name: "lt_slot",
		fields: slices.Concat(keyFields, []field{
			{44, "state", "11000001"},
			{48, "asked", "12000001 13000001"},
			{56, "tcp_flags", "1415"},
			{58, "client", "16"},
			{59, "role", "17"},
			{60, "exchange", "18000000"},
			{64, "dir[0].packets", "2100000000000000"},
			{72, "dir[0].bytes", "2200000000000000"},
			{80, "dir[0].skbs", "2300000000000000"},
			{88, "dir[0].payload_bytes", "2400000000000000"},
			{96, "dir[0].last_ns", "2500000000000000"},
			{104, "dir[0].retrans_bytes", "2600000000000000"},
			{112, "dir[0].retransmits", "27000000"},
			{116, "dir[0].srtt_us8", "401f0080"}, // 8000 eighths, and LT_CLOSED
			{120, "dir[0].next_seq", "28000000"},
			{124, "dir[0].cwnd", "29000000"},
			{128, "dir[1].packets", "3100000000000000"},
			{136, "dir[1].bytes", "3200000000000000"},
			{144, "dir[1].skbs", "3300000000000000"},
			{152, "dir[1].payload_bytes", "3400000000000000"},
			{160, "dir[1].last_ns", "3500000000000000"},
			{168, "dir[1].retrans_bytes", "3600000000000000"},
			{176, "dir[1].retransmits", "37000000"},
			{180, "dir[1].srtt_us8", "803e0000"}, // 16000 eighths
			{184, "dir[1].next_seq", "38000000"},
			{188, "dir[1].cwnd", "39000000"},
			{192, "unlocked[0].packets", "0001000000000000"},
			{200, "unlocked[0].bytes", "0002000000000000"},
			{208, "unlocked[0].skbs", "0003000000000000"},
			{216, "unlocked[0].payload_bytes", "0004000000000000"},
			{224, "unlocked[1].packets", "0005000000000000"},
			{232, "unlocked[1].bytes", "0006000000000000"},
			{240, "unlocked[1].skbs", "0007000000000000"},
			{248, "unlocked[1].payload_bytes", "0008000000000000"},
		}),
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			return readLiteral(as[lotraceLtSlot](t, raw), &lotraceLtLife{})
		},
		want: slotOfFields(time.Millisecond, 0x29),
		but:  []but{{"dir[0].srtt_us8", "00000080", slotOfFields(0, 0)}},
	},
	{
		name: "lt_life",
		fields: []field{
			{0, "created_ns", "1100000000000001"},
			{8, "connected_ns", "1200000000000001"},
			{16, "accepted_ns", "1300000000000001"},
			{24, "first_byte_ns", "1400000000000001"},
			{32, "end[0].version", "22000001"},
			{36, "end[0].tgid", "23000001"},
			{40, "end[0].pid", "24000001"},
			{44, "end[0].uid", "25000001"},
			{48, "end[0].start_ns", "2600000000000001"},
			{56, "end[0].cgroup_id", "2700000000000001"},
			{64, "end[0].comm", "6f6e6500 00000000 00000000 00000000"},
			{80, "end[1].version", "32000001"},
			{84, "end[1].tgid", "33000001"},
			{88, "end[1].pid", "34000001"},
			{92, "end[1].uid", "35000001"},
			{96, "end[1].start_ns", "3600000000000001"},
			{104, "end[1].cgroup_id", "3700000000000001"},
			{112, "end[1].comm", "6f746865 72000000 00000000 00000000"},
			{128, "health", "41000000"},
			{132, "sampled", "42000000"},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			return readLiteral(&lotraceLtSlot{}, as[lotraceLtLife](t, raw))
		},
		want: endsOfFields(processOfFields(0x20, "one"), processOfFields(0x30, "other")),
		but: []but{ // odd while they are written
			{"end[0].version", "21000001", endsOfFields(nil, processOfFields(0x30, "other"))},
			{"end[1].version", "31000001", endsOfFields(processOfFields(0x20, "one"), nil)},
		},
	},
	{
		name: "lt_exchange",
		fields: []field{
			{0, "asked_ns", "1100000000000001"},
			{8, "asked_seq", "12000001"},
			{12, "asked_ack", "15000001"},
			{16, "before_ns", "1600000000000001"},
			{24, "before_ack", "17000001"},
			{28, "pad1", ones(100)},
			{128, "answered_ns", "3100000000000001"},
			{136, "began_ns", "0900000000000001"},
			{144, "of_ns", "0500000000000001"},
			{152, "answered", "32000001"},
			{156, "begun", "33000001"},
			{160, "answered_seq", "34000001"},
			{164, "answered_ack", "35000001"},
			{168, "of_seq", "36000001"},
			{172, "crossed", "13000001"},
			{176, "several", "37000001"},
			{180, "taken", "38000001"},
			{184, "bucket", "03000000"},
			{188, "told", "00000000"},
			{192, "turn.sum_ns", "4100000000000000"},
			{200, "turn.min_ns", "4200000000000000"},
			{208, "turn.range_ns", "0043000000000000"},
			{216, "turn.guess1", "44000000"},
			{220, "turn.pad", "ffffffff"},
			{224, "response.sum_ns", "2100000000000000"},
			{232, "response.min_ns", "2200000000000000"},
			{240, "response.range_ns", "0023000000000000"},
			{248, "response.guess1", "24000000"},
			{252, "response.pad", "ffffffff"},
			{256, "turn_hist", turnBytes},
			{1152, "response_hist", responseBytes},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			return readExchange(as[lotraceLtExchange](t, raw))
		},
		want: exchangeOfFields(1, 0, 0, 0),
		but: []but{
			{"of_seq", "12000001", exchangeOfFields(0, 4, 3, ^uint32(0))}, // the newest turn is no response yet
			{"taken", "32000001", exchangeOfFields(1, -0x2c, 0, 1)},       // the newest response is no turn
		},
	},
	{
		name: "lt_breakdown",
		fields: []field{
			{0, "arrived_ns", "1100000000000001"},
			{8, "read_ns", "1200000000000001"},
			{16, "answer_ns", "1300000000000001"},
			{24, "delivery_ns", "1400000000000001"},
			{32, "wait_ns", "1500000000000001"},
			{40, "think_ns", "1600000000000001"},
			{48, "turns", "17000001"},
			{52, "delivered", "18000001"},
			{56, "pad1", "ffffffffffffffff"},
			{64, "back_ns", "1900000000000001"},
			{72, "backs", "1a000001"},
			{76, "read", "1b000001"},
			{80, "pad2", ones(48)},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			return readExchange(&lotraceLtExchange{Answered: 1}, *as[lotraceLtBreakdown](t, raw)).Breakdown
		},
		want: model.Breakdown{
			Turns: 1<<24 + 0x17, Delivered: 1<<24 + 0x18,
			Delivery: 1<<56 + 0x14, Wait: 1<<56 + 0x15, Think: 1<<56 + 0x16,
			Backs: 1<<24 + 0x1a, Back: 1<<56 + 0x19,
		},
	},
	{
		name: "lt_health",
		fields: []field{
			{0, "refused", "11000001"},
			{4, "syn_retries", "12000001"},
			{8, "synack_retries", "13000001"},
			{12, "other_drops", "14000001"},
			{16, "resets", "21000001 31000001"},
			{24, "timeouts", "22000001 32000001"},
			{32, "zero_windows", "23000001 33000001"},
			{40, "stalls", "24000001 34000001"},
			{48, "closed_since_ns", "2500000000000001 3500000000000001"},
			{64, "closed_ns", "2600000000000001 3600000000000001"},
			{80, "stalled_ns", "2700000000000001 3700000000000001"},
			{96, "drops[0].reason", "41000001"},
			{100, "drops[0].skbs", "42000001"},
			{104, "drops[1].reason", "43000001"},
			{108, "drops[1].skbs", "44000001"},
			{112, "drops[2].reason", "45000001"},
			{116, "drops[2].skbs", "46000001"},
			{120, "drops[3].reason", "47000001"},
			{124, "drops[3].skbs", "48000001"},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			healths := []lotraceLtHealth{1: *as[lotraceLtHealth](t, raw)}
			l := &Loader{table: &table{healths: array[lotraceLtHealth]{at: healths}}}
			var health reading.Health
			l.ReadHealth(1, &health)
			return health
		},
		want: reading.Health{
			Refused: 1<<24 + 0x11, SYNRetries: 1<<24 + 0x12, SYNACKRetries: 1<<24 + 0x13, OtherDrops: 1<<24 + 0x14,
			End: [2]reading.EndHealth{healthOfFields(0x20), healthOfFields(0x30)},
			Drops: [reading.DropReasons]reading.Drop{
				{Reason: 1<<24 + 0x41, SKBs: 1<<24 + 0x42}, {Reason: 1<<24 + 0x43, SKBs: 1<<24 + 0x44},
				{Reason: 1<<24 + 0x45, SKBs: 1<<24 + 0x46}, {Reason: 1<<24 + 0x47, SKBs: 1<<24 + 0x48},
			},
		},
	},
}

// Tell writes the fields that slots have their client and role in.
func TestToldSlot(t *testing.T) {
	l := &Loader{table: &table{slots: array[lotraceLtSlot]{at: make([]lotraceLtSlot, 1)}}}
	l.Tell(0, 1)
	got := readLiteral(&l.table.slots.at[0], &lotraceLtLife{})
	if want := (reading.Slot{Client: 1, Role: reading.SlotRoleTold}); got != want {
		t.Errorf("%+v", got)
	}
}

// readLiteral is the whole of a slot, its counts and what there is to say of it.
func readLiteral(slot *lotraceLtSlot, ends *lotraceLtLife) (to reading.Slot) {
	t := table{
		slots: array[lotraceLtSlot]{at: []lotraceLtSlot{*slot}},
		ends:  array[lotraceLtLife]{at: []lotraceLtLife{*ends}},
		known: make([]knownEnds, 1),
	}
	t.exchanges.reached, t.healths.reached = 0x19, 0x42
	decodeCount(&to.SlotCount, slot)
	t.readSlot(&to)
	return to
}

// readExchange reads one, beside which there may be a breakdown.
func readExchange(exchange *lotraceLtExchange, breakdown ...lotraceLtBreakdown) (to reading.Exchange) {
	breakdowns := append(make([]lotraceLtBreakdown, 1), breakdown...)
	l := &Loader{table: &table{
		exchanges:  array[lotraceLtExchange]{at: []lotraceLtExchange{1: *exchange}},
		breakdowns: array[lotraceLtBreakdown]{at: breakdowns, reached: len(breakdowns)},
	}}
	l.ReadExchange(1, &to, nil)
	return to
}

func slotOfFields(srtt time.Duration, cwnd uint32) reading.Slot {
	return reading.Slot{
		SlotCount: reading.SlotCount{
			State: 1, TCPFlags: [2]uint8{0x14, 0x15},
			Sum: 0x121 + 0x222 + 0x323 + 0x424 + 0x27 + 0x26 + 0x531 + 0x632 + 0x733 + 0x834 + 0x37 + 0x36,
			Dir: [2]reading.SlotDir{
				{
					Counters: model.Counters{
						Packets: 0x121, Bytes: 0x222, SKBs: 0x323, PayloadBytes: 0x424,
						Retransmits: 0x27, RetransBytes: 0x26,
					},
					LastNS: 0x25,
				},
				{
					Counters: model.Counters{
						Packets: 0x531, Bytes: 0x632, SKBs: 0x733, PayloadBytes: 0x834,
						Retransmits: 0x37, RetransBytes: 0x36,
					},
					LastNS: 0x35,
				},
			},
		},
		Key: keyOfFields, Client: 0x16, Role: 0x17, Exchange: 0x18,
		SRTT: [2]time.Duration{srtt, 2 * time.Millisecond}, Cwnd: [2]uint32{cwnd, 0x39},
	}
}

// exchangeOfFields has so many requests that wait, responses that take less by so much, and so many more in a bucket.
func exchangeOfFields(waiting uint32, less int, bucket int, n uint32) reading.Exchange {
	x := reading.Exchange{
		Asked: 1<<24 + 0x32 + waiting, Answered: 1<<24 + 0x32, Crossed: 1<<24 + 0x13,
		AskedNS: 1<<56 + 0x11, AnsweredNS: 1<<56 + 0x31,
		Turn:     reading.ExchangeLatency{SumNS: 0x41, MinNS: 0x42, MaxNS: 0x4342, Histogram: turns},
		Response: reading.ExchangeLatency{SumNS: uint64(0x41 + 0x21 - less), MinNS: 0x22, MaxNS: 0x2322},
	}
	for i := range turns {
		x.Response.Histogram[i] = turns[i] + responses[i]
	}
	x.Response.Histogram[bucket] += n
	return x
}

func endsOfFields(first, second *reading.Process) reading.Slot {
	return reading.Slot{
		CreatedNS: 1<<56 + 0x11, ConnectedNS: 1<<56 + 0x12, AcceptedNS: 1<<56 + 0x13, FirstByteNS: 1<<56 + 0x14,
		SlotCount: reading.SlotCount{Health: 0x41}, Owner: [2]*reading.Process{first, second},
	}
}

func processOfFields(base uint32, comm string) *reading.Process {
	return &reading.Process{
		ProcessID: model.ProcessID{TGID: 1<<24 + base + 3, StartNS: 1<<56 + uint64(base) + 6},
		PID:       1<<24 + base + 4, UID: 1<<24 + base + 5, CgroupID: 1<<56 + uint64(base) + 7, Comm: comm,
	}
}

func healthOfFields(base uint32) reading.EndHealth {
	return reading.EndHealth{
		Resets: 1<<24 + base + 1, Timeouts: 1<<24 + base + 2, ZeroWindows: 1<<24 + base + 3, Stalls: 1<<24 + base + 4,
		ClosedSinceNS: 1<<56 + uint64(base) + 5, ClosedNS: 1<<56 + uint64(base) + 6,
		StalledNS: 1<<56 + uint64(base) + 7,
	}
}
