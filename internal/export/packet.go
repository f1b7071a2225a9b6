package export

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/lotrace/lotrace/internal/frame"
	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// Lines writes packets as lines of text, many at a time.
type Lines struct{ out *bufio.Writer }

// NewLines returns one that writes to w.
func NewLines(w io.Writer) Lines { return Lines{bufio.NewWriter(w)} }

// Packet writes a packet as tcpdump does, with processes.
func (l Lines) Packet(p *model.Packet) error {
	from, to := &p.Flow.Server, &p.Flow.Client
	if p.ToServer {
		from, to = to, from
	}
	var b strings.Builder
	b.WriteString(p.Time.Format("15:04:05.000000 "))
	h, ok := frame.Parse(p.Data)
	if ok {
		fmt.Fprintf(&b, "%s > %s: ", packetEnd(from), packetEnd(to))
	}
	b.WriteString(describe(p, &h, ok))
	for _, note := range human.PacketNotes(p) {
		b.WriteString(", " + note)
	}
	b.WriteByte('\n')
	_, err := l.out.WriteString(b.String())
	return err
}

// Flush writes all there is.
func (l Lines) Flush() error { return l.out.Flush() }

// Close does what Flush does.
func (l Lines) Close() error { return l.out.Flush() }

func packetEnd(e *model.Endpoint) string {
	if human.Nameless(e.Owner) {
		return human.Address(e)
	}
	return human.Process(e.Owner) + " " + human.Address(e)
}

func describe(p *model.Packet, h *frame.Headers, ok bool) string {
	if !ok {
		return fmt.Sprintf("not IP, or cut within its headers, length %d", p.Length)
	}
	length := p.Length - h.Payload
	switch {
	case h.Fragment:
		return fmt.Sprintf("%s fragment, length %d", h.Proto, length)
	case h.Proto == model.ProtoTCP:
		return describeTCP(h.TCP(p.Data), length)
	}
	return fmt.Sprintf("%s, length %d", strings.ToUpper(h.Proto.String()), length)
}

// describeTCP leaves out what says nothing: the sequence number of a bare acknowledgement, and a number
// acknowledged where none is.
func describeTCP(tcp frame.TCP, length int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Flags [%s]", tcpFlags(tcp.Flags))
	switch {
	case length > 0:
		fmt.Fprintf(&b, ", seq %d:%d", tcp.Seq, tcp.Seq+uint32(length))
	case tcp.Flags&(frame.SYN|frame.FIN|frame.RST) != 0:
		fmt.Fprintf(&b, ", seq %d", tcp.Seq)
	}
	if tcp.Flags&frame.ACK != 0 {
		fmt.Fprintf(&b, ", ack %d", tcp.Ack)
	}
	fmt.Fprintf(&b, ", win %d, length %d", tcp.Window, length)
	return b.String()
}

// tcpFlags are tcpdump's letters.
func tcpFlags(flags uint8) string {
	var letters []byte
	for _, f := range []struct {
		flag   uint8
		letter byte
	}{
		{frame.FIN, 'F'}, {frame.SYN, 'S'}, {frame.RST, 'R'}, {frame.PSH, 'P'},
		{frame.ACK, '.'}, {frame.URG, 'U'}, {frame.ECE, 'E'}, {frame.CWR, 'W'},
	} {
		if flags&f.flag != 0 {
			letters = append(letters, f.letter)
		}
	}
	if letters == nil {
		return "none"
	}
	return string(letters)
}
