package live

import (
	"bytes"

	"github.com/lotrace/lotrace/internal/model"
)

// Poison has what sinks were lent overwritten when it is not theirs any more, so that one that keeps it shows. Tests
// set it before they run anything; otherwise it is false.
var Poison bool

// junk is what borrowed memory is overwritten with.
const junk = 0xdb

func spoil(data []byte) []byte { return append(data[:0], bytes.Repeat([]byte{junk}, len(data))...) }

// poisoned are the same sinks, each lent copies that are spoiled as soon as they may be.
func (s Sinks) poisoned() Sinks {
	p := s
	if s.Window != nil {
		p.Window = func(w *model.Window) error {
			err := s.Window(w)
			if s.Rows == nil {
				w.Flows.Spoil()
			}
			*w = model.Window{Flows: w.Flows}
			return err
		}
	}
	if s.Packet != nil {
		p.Packet = func(packet *model.Packet) error {
			lent, flow := *packet, *packet.Flow
			lent.Data, lent.Flow = bytes.Clone(packet.Data), &flow
			err := s.Packet(&lent)
			spoil(lent.Data)
			lent, flow = model.Packet{Data: lent.Data, Flow: &flow}, model.Flow{}
			return err
		}
	}
	if s.Turn != nil {
		p.Turn = func(t *model.Traced) error { return poisonedTurn(t, s.Turn) }
	}
	return p
}

func poisonedTurn(t *model.Traced, sink func(*model.Traced) error) error {
	lent, flow := *t, *t.Flow
	lent.Flow = &flow
	var turn model.Turn
	var conn model.ConnEvent
	if t.Turn != nil {
		turn = *t.Turn
		turn.Request, turn.Answer = bytes.Clone(turn.Request), bytes.Clone(turn.Answer)
		lent.Turn = &turn
	}
	if t.Conn != nil {
		conn = *t.Conn
		lent.Conn = &conn
	}
	err := sink(&lent)
	turn = model.Turn{Request: spoil(turn.Request), Answer: spoil(turn.Answer)}
	conn, flow = model.ConnEvent{}, model.Flow{}
	lent = model.Traced{Flow: &flow, Turn: lent.Turn, Conn: lent.Conn}
	return err
}
