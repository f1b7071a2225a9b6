package loader

import (
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// keyFields is the struct lt_key that others begin with.
var keyFields = []field{
	{0, "key.addr", "00000000 00000000 0000ffff 7f000001  fd000000 00000000 00000000 00000002"},
	{32, "key.port", "a1a2 b1b2"},
	{36, "key.site", "c1c2c3c4"},
	{40, "key.proto", "06"},
	{41, "key.pad", "ffffff"},
}

var keyOfFields = reading.SlotKey{
	Addr: [2][16]byte{
		netip.MustParseAddr("::ffff:127.0.0.1").As16(),
		netip.MustParseAddr("fd00::2").As16(),
	},
	Port: [2]uint16{0xa2a1, 0xb2b1}, Site: 0xc4c3c2c1, Proto: model.ProtoTCP,
}

// recordLiterals are of the structs of records.h.
var recordLiterals = []literal{
	{
		name: "lt_slow",
		fields: slices.Concat(keyFields, []field{
			{44, "slot", "11000000"},
			{48, "client", "12"},
			{49, "has_breakdown", "13"},
			{50, "pad", "ffffffffffff"},
			{56, "asked_ns", "1400000000000001"},
			{64, "turn_ns", "1500000000000001"},
			{72, "delivery_ns", "1600000000000001"},
			{80, "wait_ns", "1700000000000001"},
			{88, "think_ns", "1800000000000001"},
		}),
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			turn, err := decodeSlow(raw)
			if err != nil {
				t.Fatal(err)
			}
			return turn
		},
		want: slowOfFields(&model.SlowParts{
			Delivery: 1<<56 + 0x16, Wait: 1<<56 + 0x17, Think: 1<<56 + 0x18,
		}),
		but: []but{{"has_breakdown", "00", slowOfFields(nil)}},
	},
	{
		name: "lt_sample",
		fields: slices.Concat(keyFields, []field{
			{44, "slot", "11000001"},
			{48, "mono_ns", "1200000000000001"},
			{56, "why", "13000001"},
			{60, "drop", "14000001"},
			{64, "from", "15"},
			{65, "client", "16"},
			{66, "reason", "17"},
			{67, "retransmit", "18"},
			{68, "one_in", "19000001"},
			{72, "len", "1a000001"},
			{76, "header_len", "1b000001"},
			{80, "segment_size", "1c000001"},
			{84, "captured", "05000000"},
			{88, "number", "1d000001"},
			{92, "answer", "00"},
			{93, "pad", "ffffff"},
			{96, "asked_ns", "1e00000000000001"},
			{104, "took_ns", "1f00000000000001"},
			{112, "sent", "2000000000000001 2100000000000001"},
		}),
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			var sample reading.Sample
			if err := decodeSample(&sample, slices.Concat(raw, []byte("frame, and more"))); err != nil {
				t.Fatal(err)
			}
			return sample
		},
		want: sampleOfFields(true, false),
		but: []but{
			{"retransmit", "00", sampleOfFields(false, false)},
			{"answer", "22", sampleOfFields(true, true)},
		},
	},
	{
		name: "lt_listener",
		fields: []field{
			{0, "addr", "00000000 00000000 0000ffff 7f000001"},
			{16, "port", "1112"},
			{18, "proto", "11"},
			{19, "family", "04"},
			{20, "v6only", "13"},
			{21, "pad", "ffffff"},
			{24, "site", "14000001"},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			listeners, err := parseListeners(slices.Concat(raw, raw))
			if err != nil || len(listeners) != 2 || listeners[0] != listeners[1] {
				t.Fatalf("%v, %v", listeners, err)
			}
			return listeners[0]
		},
		want: listenerOfFields("127.0.0.1", true),
		but: []but{
			{"v6only", "00", listenerOfFields("127.0.0.1", false)},
			{"addr", "00000000000000000000000000000000", listenerOfFields("0.0.0.0", true)},
		},
	},
	{
		name: "lt_queue",
		fields: []field{
			{0, "slot", "11000001"},
			{4, "side", "12"},
			{5, "pad", "ffffff"},
			{8, "receive", "13000001"},
			{12, "send", "14000001"},
			{16, "out_of_order", "15000001"},
			{20, "drops", "16000001"},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			return decodeQueue(as[lotraceLtQueue](t, raw))
		},
		want: reading.Queue{
			Slot: 1<<24 + 0x11, End: 0x12,
			Receive: 1<<24 + 0x13, Send: 1<<24 + 0x14, OutOfOrder: 1<<24 + 0x15, Drops: 1<<24 + 0x16,
		},
	},
	{
		name: "lt_holder",
		fields: []field{
			{0, "local", "00000000 00000000 0000ffff 7f000001"},
			{16, "remote", "00000000 00000000 0000ffff 7f000002"},
			{32, "local_port", "1112"},
			{34, "remote_port", "1314"},
			{36, "proto", "06"},
			{37, "family", "04"},
			{38, "v6only", "00"},
			{39, "listening", "16"},
			{40, "site", "1e000001"},
			{44, "pad", "ffffffff"},
			{48, "socket", "1700000000000001"},
			{56, "owner.version", "18000001"},
			{60, "owner.tgid", "19000001"},
			{64, "owner.pid", "1a000001"},
			{68, "owner.uid", "1b000001"},
			{72, "owner.start_ns", "1c00000000000001"},
			{80, "owner.cgroup_id", "1d00000000000001"},
			{88, "owner.comm", "68656c64 00000000 00000000 00000000"},
		},
		decode: func(t *testing.T, raw []byte) any {
			t.Helper()
			holders, err := parseHolders(slices.Concat(raw, raw))
			if err != nil || len(holders) != 2 || holders[0] != holders[1] {
				t.Fatalf("%v, %v", holders, err)
			}
			return holders[0]
		},
		want: holderOfFields(holderLocal, holderRemote, true, false),
		but: []but{
			{"v6only", "15", holderOfFields(holderLocal, holderRemote, true, true)},
			{"listening", "00", holderOfFields(holderLocal, holderRemote, false, false)},
			{"local", "00000000000000000000000000000000", holderOfFields("0.0.0.0:4625", holderRemote, true, false)},
			{"remote", "00000000000000000000000000000000", holderOfFields(holderLocal, "0.0.0.0:5139", true, false)},
			{"remote_port", "0000", holderOfFields(holderLocal, "", true, false)},
		},
	},
}

const (
	holderLocal  = "127.0.0.1:4625"
	holderRemote = "127.0.0.2:5139"
)

func slowOfFields(parts *model.SlowParts) reading.SlowTurn {
	return reading.SlowTurn{
		Slot: 0x11, Key: keyOfFields, Client: 0x12,
		AskedNS: 1<<56 + 0x14, Turn: time.Duration(1<<56 + 0x15), Parts: parts,
	}
}

func sampleOfFields(retransmit, answer bool) reading.Sample {
	return reading.Sample{
		MonoNS: 1<<56 + 0x12, Key: keyOfFields, Slot: 1<<24 + 0x11, From: 0x15, Client: 0x16,
		Why: 1<<24 + 0x13, Reason: 0x17, Drop: 1<<24 + 0x14,
		Retransmit: retransmit, OneIn: 1<<24 + 0x19,
		Length: 1<<24 + 0x1a, HeaderLen: 1<<24 + 0x1b, SegmentSize: 1<<24 + 0x1c,
		Message: reading.Message{
			Number: 1<<24 + 0x1d, Answer: answer,
			AskedNS: 1<<56 + 0x1e, TookNS: 1<<56 + 0x1f, Sent: [2]uint64{1<<56 + 0x20, 1<<56 + 0x21},
		},
		Data: []byte("frame"),
	}
}

func listenerOfFields(addr string, v6Only bool) reading.Listener {
	return reading.Listener{
		Site: 1<<24 + 0x14, Proto: model.ProtoUDP, Addr: netip.MustParseAddr(addr), Port: 0x1211, V6Only: v6Only,
	}
}

func holderOfFields(local, remote string, listening, v6Only bool) reading.Holder {
	h := reading.Holder{
		Process: &reading.Process{
			ProcessID: model.ProcessID{TGID: 1<<24 + 0x19, StartNS: 1<<56 + 0x1c},
			PID:       1<<24 + 0x1a, UID: 1<<24 + 0x1b, CgroupID: 1<<56 + 0x1d, Comm: "held",
		},
		Site: 1<<24 + 0x1e, Proto: model.ProtoTCP, Socket: 1<<56 + 0x17, Local: netip.MustParseAddrPort(local),
		Listening: listening, V6Only: v6Only,
	}
	if remote != "" {
		h.Remote = netip.MustParseAddrPort(remote)
	}
	return h
}

// Bytes of any length become whole records, or an error.
func FuzzRecords(f *testing.F) {
	for i := range recordLiterals {
		f.Add(recordLiterals[i].raw(f, but{}))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var sample reading.Sample
		if err := decodeSample(&sample, raw); err == nil && sampleSize+len(sample.Data) > len(raw) {
			t.Errorf("%d bytes captured in %d", len(sample.Data), len(raw))
		}
		if _, err := decodeSlow(raw); (err == nil) != (len(raw) == int(unsafe.Sizeof(lotraceLtSlow{}))) {
			t.Errorf("slow turn of %d bytes: %v", len(raw), err)
		}
		listeners, err := parseListeners(raw)
		if size := int(unsafe.Sizeof(lotraceLtListener{})); (err == nil) != (len(raw) == size*len(listeners)) {
			t.Errorf("%d listeners in %d bytes: %v", len(listeners), len(raw), err)
		}
		holders, err := parseHolders(raw)
		if size := int(unsafe.Sizeof(lotraceLtHolder{})); (err == nil) != (len(raw) == size*len(holders)) {
			t.Errorf("%d holders in %d bytes: %v", len(holders), len(raw), err)
		}
	})
}
