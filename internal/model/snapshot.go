package model

import (
	"iter"
	"time"
)

// Count is an amount of traffic in no flow in particular. Packets and bytes are the device's.
type Count struct {
	SKBs    uint64
	Packets uint64
	Bytes   uint64
}

// Add adds o to c.
func (c *Count) Add(o Count) {
	c.SKBs += o.SKBs
	c.Packets += o.Packets
	c.Bytes += o.Bytes
}

// Sub returns c less o; both cumulative, o the older.
func (c Count) Sub(o Count) Count {
	return Count{SKBs: c.SKBs - o.SKBs, Packets: c.Packets - o.Packets, Bytes: c.Bytes - o.Bytes}
}

// Origin says where a snapshot's numbers come from.
type Origin struct {
	Host   string
	Kernel string
	Netns  uint32
	Device string
	Hook   string // "tcx", "clsact" or "xdp"
	Filter string // "" when nothing is filtered
}

// Device is the interface's own counters over a window.
type Device struct {
	Packets uint64
	Bytes   uint64
	Dropped uint64 // packets refused after the hook had counted them (backlog full, device down)
	Agrees  bool   // the totals lie within the readings around them, to the packet and byte
}

// Stages is what two places on a packet's way saw. Missing packets left egress and never arrived.
type Stages struct {
	Egress  Count
	Ingress Count
}

// Self is what lotrace itself costs.
type Self struct {
	BPFNsPerPacket float64 // 0: unknown (kernel.bpf_stats_enabled is off)
	CPUPercent     float64 // of one core, over the window
	RSSBytes       uint64
}

// Hidden is what was left out because it is lotrace's own traffic: in no row and not in the totals,
// but part of what the device counted.
type Hidden struct {
	Flows int
	Count
}

// Snapshot is one window of traffic, ready to show: what an encoder or a screen gets. Rows are in
// no particular order until View sorts them.
type Snapshot struct {
	Start    time.Time
	End      time.Time
	Duration time.Duration // by the monotonic clock; End-Start when no clock was stepped
	Origin   Origin
	Totals   Count            // Σ flows + overflow
	Overflow Count            // in Totals, in no flow
	ByCause  map[string]Count // overflow by cause; only causes that occurred
	Device   *Device          // nil under a filter
	Stages   *Stages          // nil unless asked for
	Hidden   Hidden
	// Flows that found in the window that all places for turns were taken: their rows have none.
	Unmeasured uint64
	Untold     uint64 // flows whose troubles began in the window and found no place: their rows tell of none
	// Why what waits in sockets is unknown in the window, or in the first one at its beginning: accept queues are
	// nil and other queues 0. What sockets counted is in the next window in which it is known. Nil: it is known.
	QueuesFailed error
	Samples      SampleCounts
	Self         Self
	Flows        []Flow
	Packed       *PackedFlows // nil, or what would be in Flows

	SlowFrom time.Duration // turns of this length and more are slow; 0: nobody asked
	Slow     []SlowTurnRow // newest first
	SlowLost uint64        // slow turns for which there was no room; the longest is never one of them
}

// All goes over the flows, packed or not. Each is valid until the next.
func (s *Snapshot) All() iter.Seq[*Flow] {
	return func(yield func(*Flow) bool) {
		for i := range s.Flows {
			if !yield(&s.Flows[i]) {
				return
			}
		}
		for i := 0; s.Packed != nil && i < s.Packed.Len(); i++ {
			if !yield(s.Packed.At(i)) {
				return
			}
		}
	}
}
