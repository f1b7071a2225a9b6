// Package pcapng writes sampled packets into pcapng files that Wireshark, tcpdump and their kin read: one
// section and one interface a file, a comment with both processes beside each packet.
package pcapng

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/lotrace/lotrace/internal/model"
)

// Config says what files tell of the capture as a whole.
type Config struct {
	Origin  model.Origin
	Version string // of lotrace
	Snaplen int    // bytes of each skb; 0: all

	// Started is when the capture began, or any time soon after that: a file whose first packet is older began with
	// that packet.
	Started time.Time

	// Counts reads what became of the packets so far. It is asked when a file begins and when it ends; nil:
	// files do not tell.
	Counts func() (model.SampleCounts, error)
}

// packet is what a file says of one.
type packet struct {
	Time     time.Time
	Data     []byte
	Length   int
	ToServer bool
	Comment  string
}

// maxCaptured is the size of packet beyond which Wireshark takes a file for a broken one.
const maxCaptured = 1 << 18

// maxComment is what the length of an option can say.
const maxComment = 1<<16 - 1

// Writer writes one file. What it hands down are whole blocks, as many at a time as there are.
type Writer struct {
	config Config
	out    blocks
	ng     *pcapgo.NgWriter

	comments comments

	base    model.SampleCounts // when it began
	last    time.Time          // of the newest packet; before the first one, when the file began
	packets uint64
}

// NewWriter begins a file. Nothing is written before there is a lot, or Flush or Close is called.
func NewWriter(to io.Writer, config Config) (*Writer, error) {
	w := &Writer{config: config, out: blocks{to: to}, last: config.Started}
	var err error
	if config.Counts != nil {
		if w.base, err = config.Counts(); err != nil {
			return nil, err
		}
	}
	origin, site := &config.Origin, config.Origin.Site()
	snaplen := config.Snaplen
	if snaplen == 0 || snaplen > maxCaptured {
		snaplen = maxCaptured
	}
	w.ng, err = pcapgo.NewNgWriterInterface(&w.out, pcapgo.NgInterface{
		Name:        site.Device,
		Description: fmt.Sprintf("loopback of network namespace %d, seen at %s", site.Netns, site.Hook),
		Filter:      origin.Filter,
		LinkType:    layers.LinkTypeEthernet,
		SnapLength:  uint32(snaplen),
	}, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
		Hardware:    runtime.GOARCH,
		OS:          "Linux " + origin.Kernel,
		Application: "lotrace " + config.Version,
		Comment:     "captured on " + origin.Host,
	}})
	if err != nil {
		return nil, err
	}
	return w, w.ng.Flush()
}

// Directions as a capture on the server's own machine would tell them: on lo each packet both leaves and
// arrives.
var (
	toServer = &pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionInbound}
	toClient = &pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionOutbound}
)

// Packet appends a packet, of which it keeps nothing.
func (w *Writer) Packet(p *model.Packet) error { return w.add(w.comments.describe(p)) }

// add appends a packet with its time. Processors that sample at once are not quite in order: a packet that comes
// behind a newer one gets that one's time, so that within a file time never runs backwards.
func (w *Writer) add(p *packet) error {
	if w.packets == 0 && p.Time.Before(w.config.Started) {
		w.config.Started = p.Time
	}
	if w.packets == 0 || p.Time.After(w.last) {
		w.last = p.Time
	}
	data := p.Data[:min(len(p.Data), maxCaptured)]
	options := pcapgo.NgPacketOptions{Flags: toClient}
	if p.ToServer {
		options.Flags = toServer
	}
	if p.Comment != "" {
		options.Comments = []string{p.Comment[:min(len(p.Comment), maxComment)]}
	}
	err := w.ng.WritePacketWithOptions(gopacket.CaptureInfo{
		Timestamp:     w.last,
		CaptureLength: len(data),
		Length:        max(p.Length, len(data)),
	}, data, options)
	if err != nil {
		return err
	}
	w.packets++
	return w.endBlock()
}

// endBlock hands a block that is complete on, and all of them once they are many.
func (w *Writer) endBlock() error {
	if err := w.ng.Flush(); err != nil {
		return err
	}
	if len(w.out.buf) < manyBlocks {
		return nil
	}
	return w.out.flush()
}

// Flush writes all there is.
func (w *Writer) Flush() error { return w.out.flush() }

// Close appends the statistics of the file's time, and writes all there is. After an error that was
// returned before, it does nothing.
func (w *Writer) Close() error {
	if w.out.failed != nil {
		return nil
	}
	if w.config.Counts != nil {
		now, err := w.config.Counts()
		if err != nil {
			return err
		}
		err = w.ng.WriteInterfaceStats(0, pcapgo.NgInterfaceStatistics{
			LastUpdate:      w.last,
			StartTime:       w.config.Started,
			EndTime:         w.last,
			PacketsReceived: now.Seen - w.base.Seen,
			PacketsDropped:  now.Seen - now.Taken - (w.base.Seen - w.base.Taken),
		})
		if err != nil {
			return err
		}
	}
	if err := w.ng.Flush(); err != nil {
		return err
	}
	return w.out.flush()
}

// Packets is how many there are in the file, those that are not yet written included.
func (w *Writer) Packets() uint64 { return w.packets }

// Size is that of the file with all that is not yet written.
func (w *Writer) Size() int64 { return w.out.written + int64(len(w.out.buf)) }
