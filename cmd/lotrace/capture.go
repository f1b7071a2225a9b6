package main

import (
	"context"
	"errors"
	"math"
	"math/bits"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/outfile"
	"github.com/lotrace/lotrace/internal/pcapng"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/tap"
)

// lineSnaplen is enough for the headers that a line is about.
const lineSnaplen = 192

// Room for packets that wait to be written, if nobody says how much: for large ones, since a bulk transfer makes more
// in one burst than can be written meanwhile, for all of which little is copied, and for a few.
const (
	largeRoom = 128 << 20
	smallRoom = 32 << 20
	fewRoom   = 8 << 20

	// maxRoom has a kernel's half of loader.MaxSampleBuffer.
	maxRoom = 2 << 30
)

// largeSnaplen is how much of an skb is a lot.
const largeSnaplen = 4 << 10

// captureOptions is what the flags of capture say.
type captureOptions struct {
	countFlags
	path          string
	packets       int
	rotation      pcapng.Rotation
	rotatePackets int

	snaplen, first, room int
	sampleIn, flowsIn    uint32
	sample               reading.SampleConfig
	heads, errors        bool
	raw, whole, showsAll bool
}

// sink is where packets go.
type sink interface {
	Packet(*model.Packet) error
	Flush() error
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
			{"As the stack has them", []string{"raw-checksums", "no-segment"}},
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
	fs.VarP(&roomValue{&o.room}, "buffer-size", "B", "room for packets that wait (default 8192 to 131072)")
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
	var keep []uint
	if o.path != "" && o.path != "-" && o.rotation.Rotates() {
		// Files come and go while it runs, in others' directories and in the name of who uses sudo.
		keep = []uint{unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_CHOWN}
	}
	config, err := o.config(inv)
	if err != nil {
		return err
	}
	config.For, config.Rights.Keep = o.duration, keep
	config.Packets = live.Packets{SampleConfig: o.sample, Options: tap.Options{
		Whole:        o.whole,
		RawChecksums: o.raw,
		ShowsAll:     o.showsAll || o.path == "", // lines show no payload
		Limit:        uint64(o.packets),
	}}
	s, err := live.Open(config)
	if err != nil {
		return o.openError(err)
	}
	err = errors.Join(ended(o.capture(ctx, inv, s), config.Warn), s.Close())
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
	return o.checkRoom()
}

// choose says what the kernel is to copy.
func (o *captureOptions) choose() {
	policy := func(asked bool, p reading.SamplePolicy) {
		if asked {
			o.sample.Policies |= p
		}
	}
	policy(o.sampleIn > 0, reading.SampleRandom)
	policy(o.flowsIn > 0, reading.SampleFlows)
	policy(o.first > 0, reading.SampleFirst)
	policy(o.heads, reading.SampleHeads)
	policy(o.errors, reading.SampleErrors)
	policy(o.sample.Policies == 0, reading.SampleAll)
	o.sample.OneIn = max(o.sampleIn, o.flowsIn)
	o.sample.First = uint32(o.first)
	o.sample.Snaplen = uint32(o.snaplen)
	if o.snaplen == 0 && o.path == "" {
		o.sample.Snaplen = lineSnaplen
	}
	o.sample.Buffer, o.sample.Ahead = o.rooms()
}

// rooms is how many bytes may wait in the kernel, which has a power of two, and how many in user space.
func (o *captureOptions) rooms() (kernel, user int) {
	room := o.room
	switch {
	case room > 0:
	case o.sample.Snaplen == 0 || o.sample.Snaplen > largeSnaplen:
		room = largeRoom
	case o.sample.Policies&reading.SampleAll != 0:
		room = smallRoom
	default:
		room = fewRoom
	}
	kernel = 1 << (bits.Len(uint(room/2)) - 1)
	return kernel, room - kernel
}

// checkRoom holds that two packets find room in each place.
func (o *captureOptions) checkRoom() error {
	snaplen := o.snaplen
	switch {
	case snaplen == 0 && o.path == "":
		snaplen = lineSnaplen
	case snaplen == 0:
		snaplen = loader.MaxSnaplen
	}
	if least := 2 * loader.LeastSampleBuffer(snaplen); o.room > 0 && o.room < least {
		return usagef("--buffer-size %d: packets of %d bytes need %d KiB or more, or --snaplen", o.room>>10, snaplen, least>>10)
	}
	return nil
}

// open makes where packets go.
func (o *captureOptions) open(inv *invocation, s *live.Session) (sink, error) {
	if o.path == "" {
		return export.NewLines(inv.stdout), nil
	}
	config := pcapng.Config{
		Origin: s.Origin(), Version: version, Snaplen: o.snaplen, Started: time.Now(), Counts: s.SampleCounts,
	}
	if o.path == "-" {
		return pcapng.NewWriter(inv.stdout, config)
	}
	return pcapng.NewFiles(o.path, o.rotation, outfile.BehindSudo(inv.env), config)
}

// capture runs while packets are counted and sampled.
func (o *captureOptions) capture(ctx context.Context, inv *invocation, s *live.Session) error {
	out, err := o.open(inv, s)
	if err != nil {
		return err
	}
	err = s.Run(ctx, live.Sinks{Packet: out.Packet, Round: func(time.Time) error { return out.Flush() }})
	err = errors.Join(err, out.Flush(), out.Close())
	if s.HasBegun() {
		o.tell(inv, s)
	}
	return err
}

// tell says how much was captured, and what is missing.
func (o *captureOptions) tell(inv *invocation, s *live.Session) {
	where := ""
	if o.path != "" && o.path != "-" {
		where = " to " + o.path
	}
	o.say(inv, "%s written%s", human.Counted(s.Packets(), "packet"), where)
	counts, err := s.SampleCounts()
	if err != nil {
		o.say(inv, "%v", err)
		return
	}
	for _, missing := range []struct {
		n   uint64
		why string
	}{
		{counts.Budget, "beyond --budget"},
		{counts.Full, "the buffer was full: try -B, --snaplen, a filter or --sample"},
		{counts.Failed, "the kernel could not copy them"},
	} {
		if missing.n > 0 {
			o.say(inv, "warning: %s of %d not captured: %s", human.Counted(missing.n, "skb"), counts.Seen, missing.why)
		}
	}
}
