package export

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/frame"
	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// Packet is what a line says of one.
type Packet struct {
	Time     time.Time
	Data     []byte // from the MAC header on
	Length   int    // on the wire
	From, To model.Endpoint
	Notes    []string // appended; none for most
}

// Line writes a packet as tcpdump does, with processes.
func (p *Packet) Line(w io.Writer) error {
	var b strings.Builder
	b.WriteString(p.Time.Format("15:04:05.000000 "))
	h, ok := frame.Parse(p.Data)
	if ok {
		fmt.Fprintf(&b, "%s > %s: ", packetEnd(&p.From), packetEnd(&p.To))
	}
	b.WriteString(describe(p, &h, ok))
	for _, note := range p.Notes {
		b.WriteString(", " + note)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

func packetEnd(e *model.Endpoint) string {
	if human.Nameless(e.Owner) {
		return human.Address(e)
	}
	return human.Process(e.Owner) + " " + human.Address(e)
}

func describe(p *Packet, h *frame.Headers, ok bool) string {
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
