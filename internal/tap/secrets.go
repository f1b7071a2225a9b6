package tap

import (
	"bytes"

	"github.com/lotrace/lotrace/internal/frame"
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/redact"
)

// maxConnections bounds how many connections are followed at once: twice as many.
const maxConnections = 1 << 14

// secrets masks them in samples. It follows TCP connections, where a secret may begin in one segment and go on
// in the next; those that were silent for longest are forgotten.
type secrets struct {
	young, old map[reading.SlotKey]*redact.Flow
	plain      []byte // payload as it was
}

// mask masks what is secret in a sample's payload, and reports whether anything was.
func (m *secrets) mask(s *reading.Sample) bool {
	h, ok := frame.Parse(s.Data)
	if !ok {
		h.Payload = min(int(s.HeaderLen), len(s.Data))
	}
	payload := s.Data[h.Payload:]
	m.plain = append(m.plain[:0], payload...)
	if ok && h.Proto == model.ProtoTCP && !h.Fragment {
		tcp := h.TCP(s.Data)
		m.connection(&s.Key, tcp.Flags).Segment(int(s.From), tcp.Seq, payload, int(s.Length)-h.Payload)
	} else {
		redact.Message(payload)
	}
	return !bytes.Equal(m.plain, payload)
}

// connection is what was seen of one; nothing yet, if flags say that it begins.
func (m *secrets) connection(key *reading.SlotKey, flags uint8) *redact.Flow {
	flow := m.young[*key]
	if flow != nil && flags&frame.SYN == 0 {
		return flow
	}
	if flow = m.old[*key]; flow == nil || flags&frame.SYN != 0 {
		flow = &redact.Flow{}
	}
	if m.young == nil || len(m.young) == maxConnections {
		m.old, m.young = m.young, make(map[reading.SlotKey]*redact.Flow)
	}
	m.young[*key] = flow
	return flow
}
