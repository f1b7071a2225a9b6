package model

import (
	"slices"
	"testing"
)

func TestTCPState(t *testing.T) {
	const (
		fin, syn, rst, psh, ack = 0x01, 0x02, 0x04, 0x08, 0x10
		ece, cwr                = 0x40, 0x80
	)
	tests := []struct {
		name                   string
		client, server         uint8
		clientLast, serverLast uint64
		state                  string
		closed                 bool
	}{
		{"nothing but the SYN", syn, 0, 1, 0, "syn-sent", false},
		{"SYN that offers ECN", syn | ece | cwr, 0, 1, 0, "syn-sent", false},
		{"SYN-ACK, client silent", syn, syn | ack, 1, 2, "syn-recv", false},
		{"handshake complete", syn | ack, syn | ack, 3, 2, "established", false},
		{"mid-life, both", ack | psh, ack, 3, 2, "established", false},
		{"mid-life, client only", ack, 0, 3, 0, "established", false},
		{"mid-life, server only", 0, ack | psh, 0, 3, "established", false},
		{"client FIN, server silent", syn | ack | fin, syn | ack, 9, 8, "fin-wait-1", false},
		{"client FIN, same instant", syn | ack | fin, syn | ack, 9, 9, "fin-wait-1", false},
		{"client FIN, server answered", syn | ack | fin, syn | ack, 9, 10, "fin-wait-2", false},
		{"server FIN", syn | ack, syn | ack | fin, 9, 8, "close-wait", false},
		{"both FIN", syn | ack | fin, syn | ack | fin, 9, 10, "time-wait", true},
		{"refused", syn, rst | ack, 1, 2, "closed", true},
		{"reset by the client", syn | ack | rst, syn | ack, 9, 8, "closed", true},
		{"reset after both FIN", syn | ack | fin, syn | ack | fin | rst, 9, 10, "closed", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state, closed := TCPState(tt.client, tt.server, tt.clientLast, tt.serverLast)
			if state != tt.state || closed != tt.closed {
				t.Errorf("got %s, closed %v; want %s, closed %v", state, closed, tt.state, tt.closed)
			}
		})
	}
}

// Whatever the two ends have sent, and whoever spoke last, the state is one of the model's, and each of those occurs.
func TestTCPStates(t *testing.T) {
	known := TCPStates()
	seen := make(map[string]bool)
	for flags := range 1 << 16 {
		for _, serverLast := range []uint64{0, 1, 2} {
			state, closed := TCPState(uint8(flags), uint8(flags>>8), 1, serverLast)
			if !slices.Contains(known, state) {
				t.Fatalf("flags %04x: %q", flags, state)
			}
			if ends := state == StateTimeWait || state == StateClosed; closed != ends {
				t.Fatalf("flags %04x: %s, closed %v", flags, state, closed)
			}
			seen[state] = true
		}
	}
	if len(seen) != len(known) {
		t.Errorf("of %v, there is only %v", known, seen)
	}
}
