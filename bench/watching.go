package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/services"
)

const (
	// maxDatagrams a second keep flows alive without the sender having all of a CPU: with more flows each
	// has less than one a second.
	maxDatagrams = 300_000
	settling     = 2 * time.Second // until every flow was seen once, which makes room
)

// watched is what lotrace flows --watch 1s took while something went on.
type watched struct {
	what      string
	made      string  // what went on in fact
	user, all float64 // percent of a CPU
	rss, own  uint64  // bytes resident, and of these not mapped from the kernel or the binary
	overflow  string
	goals     goalsOfWatching
}

// alive is so many UDP flows that live. Those that are busy have a packet a second each, or all together as many
// packets as can be made; the others have spoken once.
type alive struct {
	flows, busy int
	goals       goalsOfWatching
}

// goalsOfWatching is the most that lotrace should take; 0: no goal.
type goalsOfWatching struct{ user, all, memory float64 } // percent of a CPU, twice, and MB

var allAlive = []alive{
	{flows: 10, busy: 10},
	{flows: 1000, busy: 1000},
	{10_000, 10_000, goalsOfWatching{user: 2}},
	{100_000, 1000, goalsOfWatching{all: 3, memory: 150}},
	{100_000, 100_000, goalsOfWatching{all: 8, memory: 150}},
	{1_000_000, 1_000_000, goalsOfWatching{all: 40, memory: 1000}},
}

func (a alive) String() string {
	if a.busy < a.flows {
		return fmt.Sprintf("%s flows, %s of them busy", thousands(a.flows), thousands(a.busy))
	}
	return thousands(a.flows) + " flows"
}

// figures are those that have a goal.
func (w watched) figures() (all []figure) {
	for _, f := range []figure{
		{what: "CPU in user space", measured: exactly(w.user), unit: "%", most: w.goals.user},
		{what: "CPU in all", measured: exactly(w.all), unit: "%", most: w.goals.all},
		{what: "memory", measured: exactly(float64(w.rss) / 1e6), unit: "MB", most: w.goals.memory},
	} {
		f.of, f.precision = "flows --watch 1s, "+w.what, 1
		if f.most > 0 {
			all = append(all, f)
		}
	}
	return all
}

func measureWatching(ctx context.Context, p plan, binary string) ([]watched, error) {
	var all []watched
	for _, flows := range p.flows {
		fmt.Fprintf(os.Stderr, "bench: flows --watch 1s, %s\n", flows)
		w, err := watchFlows(ctx, binary, flows, p.watch)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flows, err)
		}
		all = append(all, w)
	}
	for _, rate := range p.rates {
		fmt.Fprintf(os.Stderr, "bench: flows --watch 1s, %d new connections a second\n", rate)
		w, err := watchConnections(ctx, binary, rate, p.watch)
		if err != nil {
			return nil, fmt.Errorf("%d connections a second: %w", rate, err)
		}
		all = append(all, w)
	}
	return all, nil
}

func watchFlows(ctx context.Context, binary string, live alive, length time.Duration) (watched, error) {
	f, err := newFanout()
	if err != nil {
		return watched{}, err
	}
	rate, sent := min(live.busy, maxDatagrams), 0
	maxFlows := max(loader.DefaultFlows, roundUp(live.flows))
	w, text, err := beside(binary, maxFlows, func() error {
		if err := f.send(0, live.flows); err != nil {
			return err
		}
		settle := settling
		if live.busy < live.flows {
			settle *= 2 // until the window in which all spoke is forgotten
		}
		_, err := f.drip(ctx, live.busy, rate, settle)
		return err
	}, func() error { sent, err = f.drip(ctx, live.busy, rate, length); return err })
	if err := errors.Join(err, f.Close()); err != nil {
		return w, err
	}
	perSecond := int(float64(sent) / length.Seconds())
	if shown, due := mostFlows(text), min(live.busy, perSecond*9/10); shown < due {
		return w, fmt.Errorf("it did not show even %d flows but %d: %s", due, shown, text)
	}
	w.what, w.made, w.goals = live.String(), thousands(perSecond)+" packets/s", live.goals
	return w, nil
}

// watchConnections: TCP connections that live for a request and an answer.
func watchConnections(ctx context.Context, binary string, rate int, length time.Duration) (watched, error) {
	made := 0
	w, text, err := beside(binary, loader.DefaultFlows, func() error {
		_, err := connectAndClose(ctx, rate, settling)
		return err
	}, func() (err error) { made, err = connectAndClose(ctx, rate, length); return err })
	if err != nil {
		return w, err
	}
	perSecond := int(float64(made) / length.Seconds())
	if shown := mostFlows(text); shown < perSecond/2 && shown < loader.DefaultFlows/2 {
		return w, fmt.Errorf("%d connections a second, it shows %d: %s", perSecond, shown, text)
	}
	w.what, w.made = thousands(rate)+" connections/s", thousands(perSecond)+" connections/s"
	return w, nil
}

var (
	lotraceReady = regexp.MustCompile(`lotrace: counting`)
	shownFlows   = regexp.MustCompile(`· ([0-9,]+) flows? ·`)
	overflow     = regexp.MustCompile(`overflow [^·\n]*`)
)

// beside measures lotrace during f, once warm is over: what starting costs is not part of it, nor is the first
// sight of every flow.
func beside(binary string, maxFlows int, warm, f func() error) (w watched, text string, err error) {
	cmd := exec.Command(binary, "flows", "--watch", "1s", "--max-flows", strconv.Itoa(maxFlows))
	err = during(cmd, lotraceReady, func(p *services.Proc) error {
		defer func() { text = p.Output() }()
		if err := warm(); err != nil {
			return err
		}
		before, err := cpuUseOf(p.Process.Pid)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := f(); err != nil {
			return err
		}
		passed := time.Since(start)
		after, err := cpuUseOf(p.Process.Pid)
		if err != nil {
			return err
		}
		percent := func(d time.Duration) float64 { return 100 * float64(d) / float64(passed) }
		used := after.since(before)
		w.user, w.all = percent(used.user()), percent(used.total)
		w.rss, w.own, err = memoryOf(p.Process.Pid)
		return err
	})
	w.overflow = "none"
	if found := last(overflow.FindAllString(text, -1)); found != "" {
		w.overflow = strings.TrimSpace(strings.TrimPrefix(found, "overflow "))
	}
	return w, text, err
}

// mostFlows is how many a window had at most.
func mostFlows(text string) (most int) {
	for _, match := range shownFlows.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.Atoi(strings.ReplaceAll(match[1], ",", "")); err == nil {
			most = max(most, n)
		}
	}
	return most
}

var (
	rssLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)
	ownLine = regexp.MustCompile(`RssAnon:\s+(\d+) kB`)
)

// memoryOf reads proc_pid_status(5).
func memoryOf(pid int) (rss, own uint64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	all, err1 := number(rssLine, string(status))
	anonymous, err2 := number(ownLine, string(status))
	return uint64(all) << 10, uint64(anonymous) << 10, errors.Join(err1, err2)
}

// connectAndClose makes connections at a rate, or as fast as it can, on all CPUs, and returns how many.
func connectAndClose(ctx context.Context, rate int, length time.Duration) (int, error) {
	var lock sync.Mutex
	var all int
	var errs []error
	var workers sync.WaitGroup
	for i := range runtime.NumCPU() {
		workers.Go(func() {
			made, err := connectInTurn(ctx, (rate+i)/runtime.NumCPU(), length)
			lock.Lock()
			defer lock.Unlock()
			all, errs = all+made, append(errs, err)
		})
	}
	workers.Wait()
	return all, errors.Join(errs...)
}

// connectInTurn makes a connection after the other, in even bursts.
func connectInTurn(ctx context.Context, rate int, length time.Duration) (made int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	listener, err := listen()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Close(listener)) }()
	tick := time.NewTicker(time.Second / burstsASec)
	defer tick.Stop()
	end := time.Now().Add(length)
	for i := 1; time.Now().Before(end); i++ {
		for due := rate*i/burstsASec - rate*(i-1)/burstsASec; due > 0; due-- {
			ends, err := tcpPairVia(listener)
			if err != nil {
				return made, err
			}
			if err := errors.Join(ends.trip(), ends.Close()); err != nil {
				return made, err
			}
			made++
		}
		select {
		case <-ctx.Done():
			return made, ctx.Err()
		case <-tick.C:
		}
	}
	return made, nil
}
