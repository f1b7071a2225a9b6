package hook

import (
	"fmt"
	"time"
)

// xdpWarning is what generic XDP does to lo, whatever the program.
const xdpWarning = "generic XDP on lo copies every large packet into one piece of memory, and the kernel drops " +
	"packets when that memory is short: local traffic gets slower and may stall. Prefer a tc hook."

// SelfTestXDP sends a little TCP through the device and returns a warning if this kernel hides packets of it from
// XDP, as old ones do with cloned skbs; "" if all were seen. Counted says how many packets there have been at
// the hook. It must run inside the namespace.
func (d *Device) SelfTestXDP(counted func() (uint64, error)) (warning string, err error) {
	device, err := d.Count()
	if err != nil {
		return "", err
	}
	hook, err := counted()
	if err != nil {
		return "", err
	}
	if err := TalkTCP(); err != nil {
		return fmt.Sprintf("the XDP self-test could not run: %v", err), nil
	}
	after, err := d.Count()
	if err != nil {
		return "", err
	}
	sent := after.Packets - device.Packets
	var seen uint64
	for deadline := time.Now().Add(XDP.SettleLimit()); time.Now().Before(deadline); LetPass() {
		now, err := counted()
		if err != nil {
			return "", err
		}
		if seen = now - hook; seen >= sent {
			return "", nil
		}
	}
	return fmt.Sprintf("this kernel hides packets from XDP: of %d on the device, %d were seen. "+
		"Counts will be too low; use a tc hook.", sent, seen), nil
}

// SettleLimit bounds the wait for packets that are between the hook and the device's counters. They are there for
// microseconds, with bottom halves off; but a virtual CPU may be taken away meanwhile, and under XDP they wait
// for ksoftirqd, which on a busy machine waits for its turn.
func (k Kind) SettleLimit() time.Duration {
	if k == XDP {
		return 250 * time.Millisecond
	}
	return 20 * time.Millisecond
}

// LetPass gives the CPU away for a moment: packets may be waiting for ksoftirqd to have it.
func LetPass() { time.Sleep(20 * time.Microsecond) }
