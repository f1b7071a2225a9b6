package testkit

import (
	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Sample is one of a packet over TCP on 127.0.0.1, from the client, of port 40000, or from the server, of port 80. It
// was taken at ns, CLOCK_MONOTONIC, by the policy for all packets, and shares data.
func Sample(ns uint64, fromClient bool, data []byte) reading.Sample {
	lo := [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
	s := reading.Sample{
		MonoNS: ns, Key: reading.SlotKey{Addr: [2][16]byte{lo, lo}, Port: [2]uint16{80, 40000}, Proto: model.ProtoTCP},
		Client: 1, Why: reading.SampleAll, OneIn: 1, Length: uint32(len(data)), Data: data,
	}
	if fromClient {
		s.From = 1
	}
	return s
}

// FlowOf is the flow that a sample's key names, of network namespace 1; that of a sample without a key is of none.
func FlowOf(s *reading.Sample) model.Flow {
	from, to := s.Key.Endpoint(int(s.Client)), s.Key.Endpoint(int(1-s.Client))
	f := model.Flow{Client: model.Endpoint{Addr: from.Addr(), Port: from.Port()}, Server: model.Endpoint{Addr: to.Addr(), Port: to.Port()}}
	if s.Reason.HasKey() {
		f.Netns = 1
	}
	return f
}
