package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/capture"
	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/outfile"
	"github.com/lotrace/lotrace/internal/pcapng"
)

// lineSnaplen is enough for the headers that a line is about.
const lineSnaplen = 192

// wholeBuffer is what waits in the kernel when all of each skb is copied: a bulk transfer makes more in one
// burst than can be written meanwhile.
const wholeBuffer = 64 << 20

// captureOptions is what the flags of capture say.
type captureOptions struct {
	watching
	path          string
	packets       int
	rotation      pcapng.Rotation
	rotatePackets int

	snaplen, first       int
	sampleIn, flowsIn    uint32
	heads, errors        bool
	raw, whole, showsAll bool

	out sink
}

// sink is where packets go.
type sink interface {
	capture.Output
	// Close ends the output well.
	Close() error
}

func captureCommand() *command {
	var o captureOptions
	return &command{
		name:     "capture",
		synopsis: "write packets to a pcapng file, each with its processes",
		long: `
Without -w, one line per packet. FILTER is as with flows -f, or as tcpdump has
hosts, nets, ports and protocols. Passwords, cookies and the like are masked.`,
		operands: "[FILTER]...",
		examples: []string{
			"sudo lotrace capture -w web.pcapng tcp port 80 and host ::1",
			"sudo lotrace capture -w - client:api | wireshark -k -i -",
			"sudo lotrace capture -w day.pcapng --rotate-size 100MB --files 10 --heads",
		},
		groups: []flagGroup{
			{"Many files", []string{"rotate-size", "rotate-interval", "rotate-packets", "files"}},
			{"As with flows", []string{"filter", "netns", "hook", "max-flows", "quiet", "verbose"}},
		},
		flags: o.register,
		run:   o.run,
	}
}

func (o *captureOptions) register(fs *pflag.FlagSet) {
	fs.StringVarP(&o.path, "write", "w", "", "write pcapng to `FILE`; - is standard output")
	intVar(fs, &o.packets, "count", "c", 0, 0, math.MaxInt, "end after `N` packets")
	durationVar(fs, &o.duration, "duration", "d", 0, "end after so long (default: at ^C)")
	intVar(fs, &o.snaplen, "snaplen", "", 0, 0, loader.MaxSnaplen, "at most `N` bytes of each skb, 0 for all")
	fs.Var(&oneInValue{&o.sampleIn}, "sample", "one in N packets, by chance")
	fs.Var(&oneInValue{&o.flowsIn}, "flows", "all packets of one in N flows")
	intVar(fs, &o.first, "first", "", 0, 0, math.MaxInt32, "the first `K` packets of each flow")
	fs.BoolVar(&o.heads, "heads", false, "the first packet of each request and answer")
	fs.BoolVar(&o.errors, "errors", false, "resets, retransmits and what the kernel dropped")
	fs.Var(&budgetValue{&o.sample}, "budget", "copy at most so many packets, or bytes as 10MB/s")
	fs.Var(&sizeValue{&o.rotation.Size}, "rotate-size", "next file before this one is larger")
	durationVar(fs, &o.rotation.Every, "rotate-interval", "", 0, "next file after so long")
	intVar(fs, &o.rotatePackets, "rotate-packets", "", 0, 0, math.MaxInt, "next file after `N` packets")
	fs.Var(&keepValue{&o.rotation}, "files", "keep the newest N files, or so many bytes in all")
	fs.BoolVar(&o.raw, "raw-checksums", false, "leave checksums as the stack left them")
	fs.BoolVar(&o.whole, "no-segment", false, "leave skbs whole that the device gets in segments")
	fs.BoolVar(&o.showsAll, "no-redact", false, "write secrets as they are")
	filterFlag(fs, &o.filter)
	netnsFlag(fs, &o.netns)
	hookFlag(fs, &o.hook)
	maxFlowsFlag(fs, &o.maxFlows, loader.DefaultFlows, loader.MinFlows, loader.MaxFlows)
	quietFlag(fs, &o.quiet)
	verboseFlag(fs, &o.verbose)
	for _, name := range []string{"count", "snaplen", "first", "rotate-packets"} {
		fs.Lookup(name).DefValue = ""
	}
}

func (o *captureOptions) run(ctx context.Context, inv *invocation) error {
	if words := strings.Join(inv.args, " "); o.filter != "" && words != "" {
		o.filter = "(" + o.filter + ") (" + words + ")"
	} else if words != "" {
		o.filter = words
	}
	if err := o.check(inv); err != nil {
		return err
	}
	if o.path != "" && o.path != "-" {
		inv.elsewhere()
	}
	o.choose()
	if o.path != "" && o.path != "-" && o.rotation.Rotates() {
		// Files come and go while it runs, in others' directories and in the name of who uses sudo.
		o.keep = []uint{unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_CHOWN}
	}
	o.loaded = func(l *loader.Loader, expr *filter.Filter) (err error) {
		o.out, err = o.open(inv, l, expr)
		return err
	}
	err := o.do(inv, func(s *session) error { return o.capture(ctx, inv, s) })
	if o.path != "" && errors.Is(err, syscall.EPIPE) { // whoever reads the pipe has enough
		return nil
	}
	return err
}

func (o *captureOptions) check(inv *invocation) error {
	o.rotation.Packets = uint64(o.rotatePackets)
	expr, err := filter.Parse(o.filter)
	if err != nil {
		return filterError(err)
	}
	switch changing := expr.Changing(); {
	case changing != "":
		return usagef("filter: %s is of flows as they end; packets are chosen before", changing)
	case o.sampleIn > 0 && o.flowsIn > 0:
		return usagef("--sample and --flows: choose one of the two")
	case o.rotation.Files > 0 && !o.rotation.Rotates():
		return usagef("--files needs --rotate-size, --rotate-interval or --rotate-packets")
	case o.rotation.Rotates() && (o.path == "" || o.path == "-"):
		return usagef("to rotate needs -w FILE")
	case o.path == "-" && inv.screen != nil:
		return usagef("-w - writes no text; standard output must not be a terminal")
	}
	return nil
}

// choose says what the kernel is to copy.
func (o *captureOptions) choose() {
	policy := func(asked bool, p model.SamplePolicy) {
		if asked {
			o.sample.Policies |= p
		}
	}
	policy(o.sampleIn > 0, model.SampleRandom)
	policy(o.flowsIn > 0, model.SampleFlows)
	policy(o.first > 0, model.SampleFirst)
	policy(o.heads, model.SampleHeads)
	policy(o.errors, model.SampleErrors)
	policy(o.sample.Policies == 0, model.SampleAll)
	o.sample.OneIn = max(o.sampleIn, o.flowsIn)
	o.sample.First = uint32(o.first)
	o.sample.Snaplen = uint32(o.snaplen)
	switch {
	case o.snaplen > 0:
	case o.path == "":
		o.sample.Snaplen = lineSnaplen
	default:
		o.sample.Buffer = wholeBuffer
	}
}

// open makes where packets go.
func (o *captureOptions) open(inv *invocation, l *loader.Loader, expr *filter.Filter) (sink, error) {
	if o.path == "" {
		return &lines{bufio.NewWriter(inv.stdout)}, nil
	}
	config := pcapng.Config{
		Origin: origin(l, expr), Version: version, Snaplen: o.snaplen, Started: time.Now(), Counts: l.SampleCounts,
	}
	if o.path == "-" {
		w, err := pcapng.NewWriter(inv.stdout, config)
		return &pcapngSink{out: w, close: w.Finish}, err
	}
	files, err := pcapng.NewFiles(o.path, o.rotation, outfile.BehindSudo(inv.env), config)
	return &pcapngSink{out: files, close: files.Close}, err
}

// capture runs while packets are counted and sampled.
func (o *captureOptions) capture(ctx context.Context, inv *invocation, s *session) error {
	clock, err := wallClock()
	if err != nil {
		return err
	}
	config := capture.Config{
		Netns:        s.loader.Netns(),
		Whole:        o.whole,
		RawChecksums: o.raw,
		ShowsAll:     o.showsAll || o.path == "", // lines show no payload
		Duration:     o.duration,
		Packets:      uint64(o.packets),
		WallClock:    clock,
		Alive:        s.loader.Alive,
	}
	if o.filter != "" {
		config.Match = s.expr.Match
	}
	run := capture.New(s.loader, s.engine, o.out, config)
	err = errors.Join(run.Run(ctx), o.out.Close())
	o.tell(inv, s, run)
	return err
}

// tell says how much was captured, and what is missing.
func (o *captureOptions) tell(inv *invocation, s *session, run *capture.Capture) {
	where := ""
	if o.path != "" && o.path != "-" {
		where = " to " + o.path
	}
	o.say(inv, "%s written%s", human.Counted(run.Packets(), "packet"), where)
	counts, err := s.loader.SampleCounts()
	if err != nil {
		o.say(inv, "%v", err)
		return
	}
	for _, missing := range []struct {
		n   uint64
		why string
	}{
		{counts.Budget, "beyond --budget"},
		{counts.Full, "the buffer was full: try --snaplen, a filter or --sample"},
		{counts.Failed, "the kernel could not copy them"},
	} {
		if missing.n > 0 {
			o.say(inv, "warning: %s of %d not captured: %s", human.Counted(missing.n, "skb"), counts.Seen, missing.why)
		}
	}
}

// wallClock is the time since 1970 less CLOCK_MONOTONIC. Taken once, it holds for the whole capture, so that
// time makes no steps in it.
func wallClock() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("read clock: %w", err)
	}
	return time.Duration(time.Now().UnixNano() - ts.Nano()), nil
}

// pcapngSink is a sink of files or a pipe.
type pcapngSink struct {
	out interface {
		Packet(*pcapng.Packet) error
		Flush() error
	}
	close    func() error
	comments pcapng.Comments
}

func (p *pcapngSink) Packet(c *capture.Packet) error {
	comment := p.comments.Of(c.Flow, c.ToServer, c.Sample.OneIn)
	for _, note := range notes(c.Sample) {
		comment += ", " + note
	}
	return p.out.Packet(&pcapng.Packet{
		Time: c.Time, Data: c.Data, Length: c.Length, ToServer: c.ToServer, Comment: comment,
	})
}

func (p *pcapngSink) Flush() error { return p.out.Flush() }
func (p *pcapngSink) Close() error { return p.close() }

// notes are what the kernel knows of a packet, of few of them.
func notes(s *model.Sample) []string {
	var all []string
	if s.Retransmit {
		all = append(all, "sent again")
	}
	if s.Drop != 0 {
		all = append(all, "dropped: "+loader.DropReason(s.Drop))
	}
	return all
}

// lines is a sink of text.
type lines struct{ *bufio.Writer }

func (l *lines) Packet(c *capture.Packet) error {
	line := export.Packet{
		Time: c.Time, Data: c.Data, Length: c.Length, From: c.Flow.Server, To: c.Flow.Client, Notes: notes(c.Sample),
	}
	if c.ToServer {
		line.From, line.To = line.To, line.From
	}
	return line.Line(l)
}

func (l *lines) Close() error { return l.Writer.Flush() }
