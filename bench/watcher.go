package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/lotrace/lotrace/internal/services"
)

// watcher is somebody who looks at lo while services work.
type watcher struct {
	name  string
	args  []string       // its command; none: nobody watches
	ready *regexp.Regexp // printed when it watches
	look  *regexp.Regexp // printed with every look at what came in so far; nil: it says all at its end
	saw   func(text string) (amount, error)
	lag   time.Duration // how long packets wait in the kernel before it gets them; at its end they are lost
	ours  bool
	deaf  bool // it may miss the signal to end
}

// amount is what a watcher's output proves that it saw: packets, or where it does not count them, bytes.
type amount struct{ packets, bytes float64 }

func (a amount) of(total amount) float64 {
	if a.packets > 0 {
		return a.packets / total.packets
	}
	return a.bytes / total.bytes
}

// leastSeen is the share below which somebody saw no more than what went on besides.
const leastSeen = 0.01

var errSawNothing = errors.New("saw no traffic")

// nobody is what all others are compared with, itself too: that shows the noise.
var nobody = watcher{name: "nothing"}

var (
	tcpdumpReady = regexp.MustCompile(`listening on lo`)
	tcpdumpSaw   = sawPackets(regexp.MustCompile(`(\d+) packets captured`))
)

// watchers are those that run beside the workloads. New ways of ours to watch go behind the last of ours.
func watchers(binary string) []watcher {
	flows := func(name string, flags ...string) watcher {
		return byUs(name, append([]string{binary, "flows", "--watch", "1s", "-o", "json"}, flags...)...)
	}
	observe := func(name, what string) watcher { return byUs(name, "/proc/self/exe", "observe", what) }
	return []watcher{
		nobody,
		{
			name:  "a counter of packets",
			args:  []string{"/proc/self/exe", "observe", "least"},
			ready: regexp.MustCompile(`(?m)^counting$`), saw: sawPackets(regexp.MustCompile(`(\d+) packets seen`)),
			ours: true,
		},
		observe("lotrace, counting only", "counts"),
		observe("lotrace, counting and owners", "owners"),
		flows(everything),
		flows("lotrace with parts of turns", "--breakdown"),
		{
			name:  "lotrace capture, 96 bytes",
			args:  []string{binary, "capture", "-w", "/dev/null", "--snaplen", "96"},
			ready: lotraceReady, saw: sawPackets(regexp.MustCompile(`lotrace: ([\d,]+) packets written`)),
			ours: true,
		},
		{
			name:  "tcpdump, 96 bytes",
			args:  []string{"tcpdump", "-i", "lo", "-n", "-s", "96", "-w", "/dev/null"},
			ready: tcpdumpReady, saw: tcpdumpSaw, lag: time.Second,
		},
		{
			name:  "tcpdump",
			args:  []string{"tcpdump", "-i", "lo", "-n", "-w", "/dev/null"},
			ready: tcpdumpReady, saw: tcpdumpSaw, lag: time.Second,
		},
		{
			name:  "tshark",
			args:  []string{"tshark", "-i", "lo", "-n", "-q", "-z", "conv,tcp", "-z", "conv,udp"},
			ready: regexp.MustCompile(`Capture started`), saw: sawPackets(regexp.MustCompile(`(\d+) packets captured`)),
			lag: time.Second / 4,
		},
		{
			name:  "iftop",
			args:  []string{"stdbuf", "-oL", "iftop", "-t", "-i", "lo", "-n", "-N", "-P"},
			ready: regexp.MustCompile(`Listening on lo`), look: iftopSum, saw: sawByIftop,
		},
		{
			name:  "nethogs",
			args:  []string{"nethogs", "-t", "-a", "-C", "-v", "2", "lo"},
			ready: nethogsLook, look: nethogsLook, saw: sawByNethogs,
		},
		{
			name: "bpftrace",
			args: []string{"bpftrace", "-e", `interval:ms:10 /!@ready/ { printf("ready\n"); @ready = 1 }
				tracepoint:net:net_dev_queue /str(args->name) == "lo"/ { @packets[comm] = count(); @bytes[comm] = sum(args->len) }`},
			ready: regexp.MustCompile(`(?m)^ready$`), saw: sawByBpftrace, deaf: true,
		},
	}
}

// everything is lotrace as it comes; ours that is held to the targets.
const everything = "lotrace"

func byUs(name string, args ...string) watcher {
	return watcher{name: name, args: args, ready: regexp.MustCompile(`lotrace: counting`), saw: sawByLotrace, ours: true}
}

// during runs f while the watcher watches, and returns how much of f's traffic it proves to have seen.
func (w watcher) during(f func() error) (share float64, err error) {
	if w.args == nil {
		return 0, f()
	}
	before, err := onDevice()
	if err != nil {
		return 0, err
	}
	p, err := services.Start(exec.Command(w.args[0], w.args[1:]...))
	if err != nil {
		return 0, err
	}
	defer p.Kill()
	if _, err := p.Await(w.ready, 1); err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	// A little more, as timers go.
	time.Sleep(w.lag + w.lag/10)
	if w.look != nil {
		if err := w.awaitLook(p); err != nil {
			return 0, err
		}
	}
	stop := p.Stop
	if w.deaf {
		stop = p.Insist
	}
	if err := stop(syscall.SIGINT); err != nil {
		return 0, err
	}
	after, err := onDevice()
	if err != nil {
		return 0, err
	}
	saw, err := w.saw(p.Output())
	share = saw.of(amount{after.packets - before.packets, after.bytes - before.bytes})
	if err == nil && share < leastSeen {
		err = errSawNothing
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, p.Output())
	}
	return share, nil
}

// awaitLook waits for the next look. Some look only when a packet comes, so a few do.
func (w watcher) awaitLook(p *services.Proc) (err error) {
	ends, err := udpPair()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ends.Close()) }()
	ctx, stop := context.WithCancel(context.Background())
	nudged := make(chan error, 1)
	go func() { nudged <- ends.nudge(ctx) }()
	looks := len(w.look.FindAllString(p.Output(), -1))
	_, err = p.Await(w.look, looks+1)
	stop()
	return errors.Join(err, <-nudged)
}

// onDevice is what lo has counted so far.
func onDevice() (amount, error) {
	lo, err := netlink.LinkByIndex(loIndex)
	if err != nil {
		return amount{}, fmt.Errorf("read lo: %w", err)
	}
	s := lo.Attrs().Statistics
	return amount{float64(s.RxPackets), float64(s.RxBytes)}, nil
}

func sawPackets(pattern *regexp.Regexp) func(string) (amount, error) {
	return func(text string) (amount, error) {
		match := pattern.FindStringSubmatch(text)
		if match == nil || match[1] == "0" {
			return amount{}, errSawNothing
		}
		n, err := strconv.ParseFloat(strings.ReplaceAll(match[1], ",", ""), 64)
		return amount{packets: n}, err
	}
}

// sawByLotrace adds up what the windows say, all of which must agree with the device.
func sawByLotrace(text string) (amount, error) {
	var all amount
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "{") {
			continue // what it says on stderr
		}
		var window struct {
			Totals struct{ Packets float64 }
			Device struct{ Agrees bool }
		}
		if err := json.Unmarshal([]byte(line), &window); err != nil {
			return amount{}, err
		}
		if !window.Device.Agrees {
			return amount{}, errors.New("does not agree with the device")
		}
		all.packets += window.Totals.Packets
	}
	if all.packets == 0 {
		return amount{}, errSawNothing
	}
	return all, nil
}

// iftop: bytes, with a unit that is a thousand and twenty-four of the one before.
var iftopSum = regexp.MustCompile(`(?m)^Cumulative \(sent/received/total\): .* ([0-9.]+)([KMGT]?)B$`)

func sawByIftop(text string) (amount, error) {
	match := last(iftopSum.FindAllStringSubmatch(text, -1))
	if match == nil {
		return amount{}, errSawNothing
	}
	bytes, err := strconv.ParseFloat(match[1], 64)
	if unit := strings.Index("KMGT", match[2]); match[2] != "" {
		bytes *= math.Pow(1024, float64(unit+1))
	}
	if bytes == 0 && err == nil {
		err = errSawNothing
	}
	return amount{bytes: bytes}, err
}

// nethogs prints for every process PROGRAM/PID/UID, bytes sent and bytes received so far.
var (
	nethogsLook = regexp.MustCompile(`(?m)^Refreshing:$`)
	nethogsLine = regexp.MustCompile(`(?m)^.*/\d+/\d+\t([0-9.e+]+)\t([0-9.e+]+)$`)
)

func sawByNethogs(text string) (amount, error) {
	var most amount
	for _, block := range nethogsLook.Split(text, -1) {
		var sum float64
		for _, match := range nethogsLine.FindAllStringSubmatch(block, -1) {
			sent, err1 := strconv.ParseFloat(match[1], 64)
			received, err2 := strconv.ParseFloat(match[2], 64)
			if err := errors.Join(err1, err2); err != nil {
				return amount{}, err
			}
			sum += sent + received
		}
		most.bytes = max(most.bytes, sum)
	}
	if most.bytes == 0 {
		return amount{}, errSawNothing
	}
	return most, nil
}

// bpftrace prints its maps at the end.
var bpftracePackets = regexp.MustCompile(`(?m)^@packets\[.*\]: (\d+)$`)

func sawByBpftrace(text string) (amount, error) {
	var all amount
	for _, match := range bpftracePackets.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			return amount{}, err
		}
		all.packets += n
	}
	if all.packets == 0 {
		return amount{}, errSawNothing
	}
	return all, nil
}

func last[T any](all []T) (t T) {
	if len(all) > 0 {
		t = all[len(all)-1]
	}
	return t
}
