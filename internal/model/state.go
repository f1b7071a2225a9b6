package model

// TCP header flags as they stand in the header's thirteenth octet (RFC 9293, section 3.1).
const (
	FlagFIN = 0x01
	FlagSYN = 0x02
	FlagRST = 0x04
	FlagACK = 0x10
)

// The states that a TCP flow can be in as packets show it, by their names in ss.
const (
	StateSYNSent     = "syn-sent"
	StateSYNRecv     = "syn-recv"
	StateEstablished = "established"
	StateFINWait1    = "fin-wait-1"
	StateFINWait2    = "fin-wait-2"
	StateCloseWait   = "close-wait"
	StateTimeWait    = "time-wait"
	StateClosed      = "closed"
)

// TCPStates lists them, in the order of a connection's life.
func TCPStates() []string {
	return []string{StateSYNSent, StateSYNRecv, StateEstablished, StateFINWait1, StateFINWait2, StateCloseWait,
		StateTimeWait, StateClosed}
}

// TCPState names the state of a TCP flow as the client would see it, one of TCPStates.
// It is derived from packets, not read from a socket: client and server are all header flags each
// side has sent so far, clientLast and serverLast the clock of its newest packet. Closed reports
// that no more data can follow: both sides have sent a FIN, or one a RST.
func TCPState(client, server uint8, clientLast, serverLast uint64) (state string, closed bool) {
	switch {
	case (client|server)&FlagRST != 0:
		return StateClosed, true
	case client&server&FlagFIN != 0:
		return StateTimeWait, true
	case server&FlagFIN != 0:
		return StateCloseWait, false
	case client&FlagFIN != 0 && serverLast > clientLast:
		return StateFINWait2, false
	case client&FlagFIN != 0:
		return StateFINWait1, false
	}
	return opening(client, server), false
}

// opening names the states without a FIN. A flow first seen in mid-life has no SYN: established.
func opening(client, server uint8) string {
	const handshake = FlagSYN | FlagACK
	switch {
	case client&handshake != FlagSYN:
		return StateEstablished
	case server&handshake == handshake:
		return StateSYNRecv
	}
	return StateSYNSent
}
