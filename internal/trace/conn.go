package trace

import (
	"time"

	"github.com/lotrace/lotrace/internal/frame"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// tcpFlags are those of a sample that was taken for their sake, otherwise 0.
func tcpFlags(s *reading.Sample) byte {
	const offset = 13
	if s.Why&reading.SampleConns == 0 || s.Drop != 0 || s.Key.Proto != model.ProtoTCP {
		return 0
	}
	h, ok := frame.Parse(s.Data)
	if !ok || h.Fragment {
		return 0
	}
	return s.Data[h.L4+offset]
}

// connect follows the life of a connection. What ends it is shown by Rest, behind its last turn.
func (t *Tracker) connect(f *flow, s *reading.Sample, flags byte) {
	switch {
	case flags&frame.RST != 0:
		f.ended = true
		f.end(s, model.ConnReset, s.From)
		if f.synNS != 0 && !f.opened {
			f.change.Change = model.ConnRefused
		}
	case flags&(frame.SYN|frame.ACK) == frame.SYN:
		if f.synNS == 0 {
			f.synNS = s.MonoNS
		}
	case flags&frame.SYN != 0:
		if !f.opened && t.config.Conns {
			t.events = append(t.events, Event{Of: f.of, NS: s.MonoNS, Conn: &model.ConnEvent{Change: model.ConnOpen}})
		}
		f.opened = true
	case flags&frame.FIN != 0:
		f.ended = f.ended || s.From != s.Client
		first := f.fin == [2]bool{}
		f.fin[s.From&1] = true
		switch {
		case first:
			f.closer = s.From
		case f.fin[0] && f.fin[1] && f.change == nil:
			f.end(s, model.ConnClosed, f.closer)
		}
	}
}

// end notes how a connection ended, the first time, and by which end of the key. Whether that is the server's is for
// Turns to say: the sample is from before anybody told the kernel who is the client of an older connection.
func (f *flow) end(s *reading.Sample, change model.ConnChange, by uint8) {
	if f.change != nil {
		return
	}
	f.endNS = s.MonoNS
	f.change, f.by = &model.ConnEvent{Change: change}, by
	if f.synNS != 0 {
		f.change.Lasted = time.Duration(s.MonoNS - f.synNS)
	}
}

func (t *Tracker) showChange(f *flow) {
	if f.change != nil && t.config.Conns {
		t.events = append(t.events, Event{Of: f.of, NS: f.endNS, Conn: f.change, By: f.by})
	}
	f.change, f.synNS, f.fin = nil, 0, [2]bool{}
}
