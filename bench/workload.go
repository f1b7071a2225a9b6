package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/lotrace/lotrace/internal/services"
)

// workload is what services do with one another while somebody watches, or nobody.
type workload struct {
	name string
	show func(seconds float64) string // what an operation took, in the workload's own words
	// begin starts what serves all runs. A run returns the seconds that an operation took; the
	// shorter the better, and a rate is one turned over. end is not nil, even with an error.
	begin func(plan) (run func(context.Context) (float64, error), end func(), err error)
}

var workloads = []workload{
	{"ping-pong", eachTook("trip"), beginPingPong},
	{"wrk", aSecond("requests"), beginWrk},
	{"redis-benchmark", aSecond("requests"), beginRedis},
	{"sockperf", eachTook("trip"), beginSockperf},
	{"UDP small packets", aSecond("datagrams"), beginDatagrams},
	{"TCP bulk", func(s float64) string { return fmt.Sprintf("%.2f GB/s", 1/s/1e9) }, beginBulk},
}

func eachTook(what string) func(float64) string {
	return func(s float64) string { return fmt.Sprintf("%.2f µs a %s", s*1e6, what) }
}

func aSecond(what string) func(float64) string {
	return func(s float64) string { return thousands(int(1/s)) + " " + what + "/s" }
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func nothingToEnd() {}

// betweenOurEnds is a workload of sockets of our own: ends that are new for each run.
func betweenOurEnds(connect func() (pair, error), send func(pair, int) error, n int) (
	func(context.Context) (float64, error), func(), error) {
	return func(context.Context) (each float64, err error) {
		ends, err := connect()
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, ends.Close()) }()
		if err := send(ends, n/20); err != nil {
			return 0, err
		}
		start := time.Now()
		err = send(ends, n)
		return time.Since(start).Seconds() / float64(n), err
	}, nothingToEnd, nil
}

func beginPingPong(p plan) (func(context.Context) (float64, error), func(), error) {
	return betweenOurEnds(oneCPU.at(tcpPair), pair.pingPong, p.trips)
}

func beginDatagrams(p plan) (func(context.Context) (float64, error), func(), error) {
	return betweenOurEnds(oneCPU.at(udpPair), func(ends pair, n int) error {
		return ends.datagrams(n / burst * burst)
	}, p.datagrams)
}

func beginBulk(p plan) (func(context.Context) (float64, error), func(), error) {
	return betweenOurEnds(tcpPair, pair.stream, p.bulkBytes)
}

// Ports of servers; the namespace has no others.
const (
	nginxPort    = 8080
	redisPort    = 6379
	sockperfPort = 11111
)

// tries is how often a client may fail for being too slow to begin.
const tries = 3

// conns is how many connections wrk and redis-benchmark keep busy.
const conns = "8"

var (
	wrkRate   = regexp.MustCompile(`Requests/sec: +([0-9.]+)`)
	wrkErrors = regexp.MustCompile(`Socket errors|Non-2xx`)
	redisRate = regexp.MustCompile(`"GET","([0-9.]+)"`)
)

// beginWrk starts nginx. wrk runs for whole seconds or until it is interrupted, which is sooner.
func beginWrk(p plan) (func(context.Context) (float64, error), func(), error) {
	nginx, err := services.Nginx(nginxPort, "", 2)
	if err != nil {
		return nil, nothingToEnd, err
	}
	serving, err := nginx.Start()
	if err != nil {
		return nil, nothingToEnd, err
	}
	return func(ctx context.Context) (rate float64, err error) {
		// Interrupted before it listens to that, it says nothing.
		for range tries {
			if rate, err = runWrk(ctx, p.load); err == nil {
				break
			}
		}
		return 1 / rate, err
	}, func() { _ = serving.Stop(syscall.SIGTERM); serving.Kill() }, nil
}

// runWrk returns the requests a second.
func runWrk(ctx context.Context, length time.Duration) (float64, error) {
	before, err := onDevice()
	if err != nil {
		return 0, err
	}
	wrk, err := services.Start(exec.Command("wrk", "-t", "1", "-c", conns, "-d", "1m",
		fmt.Sprintf("http://127.0.0.1:%d/", nginxPort)))
	if err != nil {
		return 0, err
	}
	defer wrk.Kill()
	if err := awaitPackets(ctx, before); err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(length):
	}
	if err := wrk.Stop(syscall.SIGINT); err != nil {
		return 0, err
	}
	if wrkErrors.MatchString(wrk.Output()) {
		return 0, fmt.Errorf("wrk: %s", wrk.Output())
	}
	return number(wrkRate, wrk.Output())
}

// awaitPackets waits until there are more packets than before.
func awaitPackets(ctx context.Context, before amount) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience * time.Second); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if now, err := onDevice(); err != nil || now.packets > before.packets {
			return err
		}
	}
	return errors.New("no traffic begins")
}

func beginRedis(p plan) (func(context.Context) (float64, error), func(), error) {
	redis, err := services.Redis(redisPort)
	if err != nil {
		return nil, nothingToEnd, err
	}
	serving, err := redis.Start()
	if err != nil {
		return nil, nothingToEnd, err
	}
	return func(context.Context) (float64, error) {
		rate, err := say(exec.Command("redis-benchmark", "-p", fmt.Sprint(redisPort), "--csv", "-t", "get",
			"-c", conns, "-n", fmt.Sprint(p.requests)), redisRate)
		return 1 / rate, err
	}, serving.Kill, nil
}

// beginSockperf: UDP, as it has it by default.
func beginSockperf(p plan) (func(context.Context) (float64, error), func(), error) {
	var server *services.Proc
	err := services.OnCPU(0, func() (err error) {
		server, err = services.Sockperf(sockperfPort).Start()
		return err
	})
	if err != nil {
		return nil, nothingToEnd, err
	}
	var client sockperf
	return func(ctx context.Context) (float64, error) {
		if err := client.wake(); err != nil {
			return 0, err
		}
		each, err := countTrips(ctx, p.load)
		return each, errors.Join(err, client.sleep())
	}, func() { client.kill(); server.Kill() }, nil
}

// sockperf is a client. One takes two seconds to begin, so it runs throughout, is stopped between runs and goes
// on from message to message; the device counts them. It wants memory for every second that it may run.
type sockperf struct {
	*services.Proc
	until time.Time
}

const (
	sockperfLife = time.Minute
	longestRun   = 10 * time.Second
)

var sockperfStarted = regexp.MustCompile(`Starting test`)

func (s *sockperf) wake() error {
	if s.Proc != nil && time.Until(s.until) > longestRun {
		return s.Process.Signal(syscall.SIGCONT)
	}
	s.kill()
	return services.OnCPU(0, func() (err error) {
		s.until = time.Now().Add(sockperfLife)
		if s.Proc, err = services.Start(services.SockperfPingPong(sockperfPort, sockperfLife)); err != nil {
			return err
		}
		_, err = s.Await(sockperfStarted, 1)
		return err
	})
}

func (s *sockperf) sleep() error { return s.Process.Signal(syscall.SIGSTOP) }

func (s *sockperf) kill() {
	if s.Proc != nil {
		s.Kill()
	}
}

// countTrips is the seconds that a round trip takes, of two packets, where nothing else goes on.
func countTrips(ctx context.Context, length time.Duration) (float64, error) {
	before, err := onDevice()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(length):
	}
	after, err := onDevice()
	if err != nil {
		return 0, err
	}
	if after.packets == before.packets {
		return 0, errors.New("no round trips")
	}
	return 2 * time.Since(start).Seconds() / (after.packets - before.packets), nil
}

// say runs a client to its end and returns the number that it says.
func say(cmd *exec.Cmd, what *regexp.Regexp) (float64, error) {
	client, err := services.Start(cmd)
	if err != nil {
		return 0, err
	}
	defer client.Kill()
	text, err := client.End()
	if err != nil {
		return 0, err
	}
	return number(what, text)
}

// number is what a text says where a pattern has its group; above zero.
func number(pattern *regexp.Regexp, text string) (float64, error) {
	match := pattern.FindStringSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("no %v: %s", pattern, text)
	}
	n, err := strconv.ParseFloat(match[1], 64)
	if err == nil && n <= 0 {
		err = fmt.Errorf("%v: %s", pattern, match[0])
	}
	return n, err
}
