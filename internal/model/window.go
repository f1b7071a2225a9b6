package model

import "time"

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

// Origin says where a window's numbers come from.
type Origin struct {
	Host   string
	Kernel string
	Filter string // "" when nothing is filtered
	Sites  []Site // in the order of their numbers
}

// Site is a place where traffic is counted: one network namespace's loopback device.
type Site struct {
	Number uint32 // from 1; no other site of the run ever has it
	Netns  uint32 // inode number of the namespace, which the kernel may give to another one later
	Device string
	Hook   string // "tcx", "clsact" or "xdp"
}

// Site returns the first site; the zero Site if there is none.
func (o *Origin) Site() Site {
	if len(o.Sites) == 0 {
		return Site{}
	}
	return o.Sites[0]
}

// Device is what the interfaces themselves counted over a window, those of all sites together.
type Device struct {
	Packets uint64
	Bytes   uint64
	Dropped uint64     // packets refused after the hook had counted them (backlog full, device down)
	Agrees  bool       // the totals lie within the readings around them, to the packet and byte
	Start   DeviceSpan // at the window's beginning
	End     DeviceSpan
}

// DeviceCount is an interface's own cumulative counters.
type DeviceCount struct {
	Packets uint64
	Bytes   uint64
	Dropped uint64
}

// Add adds o to d.
func (d *DeviceCount) Add(o DeviceCount) {
	d.Packets += o.Packets
	d.Bytes += o.Bytes
	d.Dropped += o.Dropped
}

// DeviceSpan is an interface's counters read just before and just after the flow table.
type DeviceSpan struct{ Before, After DeviceCount }

// NewDevice compares what was counted in a window with what the interface says at its ends. The truth lies
// between the narrowest and the widest pair of readings.
func NewDevice(start, end DeviceSpan, counted Count) *Device {
	d := &Device{
		Packets: end.After.Packets - start.After.Packets,
		Bytes:   end.After.Bytes - start.After.Bytes,
		Dropped: end.After.Dropped - start.After.Dropped,
		Start:   start,
		End:     end,
	}
	d.Agrees = within(counted.Packets, start.Before.Packets, start.After.Packets, end.Before.Packets, end.After.Packets) &&
		within(counted.Bytes, start.Before.Bytes, start.After.Bytes, end.Before.Bytes, end.After.Bytes)
	return d
}

// within reports whether total lies between endBefore-startAfter and endAfter-startBefore, without the
// first of them turning negative.
func within(total, startBefore, startAfter, endBefore, endAfter uint64) bool {
	return total+startAfter >= endBefore && total <= endAfter-startBefore
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

// ReportFull is the cause of an overflow that windows themselves have: there were more rows than they keep.
const ReportFull = "report_full"

// Window is what happened between two readings, ready to show: exact, and made to be added up: later time by a Folder,
// other sites by Join. Its rows are in no particular order.
type Window struct {
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
	Uncounted  uint64 // flows whose health began in the window and found no place: their rows tell of none
	// Why what waits in sockets is unknown in the window, or in the first one at its beginning: accept queues are
	// nil and other queues 0. What sockets counted is in the next window in which it is known. Nil: it is known.
	QueuesFailed error
	Samples      SampleCounts
	Self         Self
	Flows        *Flows    // nil: none
	Listening    Listening // flows point to its queues

	SlowFrom time.Duration // turns of this length and more are slow; 0: nobody asked
	Slow     []SlowTurnRow // newest first
	SlowLost uint64        // slow turns for which there was no room; the longest is never one of them
}
