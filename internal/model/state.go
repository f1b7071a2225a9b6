package model

// TCP header flags as they stand in the header's thirteenth octet (RFC 9293, section 3.1).
const (
	FlagFIN = 0x01
	FlagSYN = 0x02
	FlagRST = 0x04
	FlagACK = 0x10
)

// TCPState names the state of a TCP flow as the client would see it, with the words of ss filters.
// It is derived from packets, not read from a socket: client and server are all header flags each
// side has sent so far, clientLast and serverLast the clock of its newest packet. Closed reports
// that no more data can follow: both sides have sent a FIN, or one a RST.
func TCPState(client, server uint8, clientLast, serverLast uint64) (state string, closed bool) {
	switch {
	case (client|server)&FlagRST != 0:
		return "closed", true
	case client&server&FlagFIN != 0:
		return "time-wait", true
	case server&FlagFIN != 0:
		return "close-wait", false
	case client&FlagFIN != 0 && serverLast > clientLast:
		return "fin-wait-2", false
	case client&FlagFIN != 0:
		return "fin-wait-1", false
	}
	return opening(client, server), false
}

// opening names the states without a FIN. A flow first seen in mid-life has no SYN: established.
func opening(client, server uint8) string {
	const handshake = FlagSYN | FlagACK
	switch {
	case client&handshake != FlagSYN:
		return "established"
	case server&handshake == handshake:
		return "syn-recv"
	}
	return "syn-sent"
}
