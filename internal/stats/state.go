package stats

// TCP header flags as they stand in the header's thirteenth octet (RFC 9293, section 3.1).
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// TCPState names the state of a TCP flow as the client would see it, with the words of ss filters.
// It is derived from packets, not read from a socket: client and server are all header flags each
// side has sent so far, clientLast and serverLast the clock of its newest packet. Closed reports
// that no more data can follow: both sides have sent a FIN, or one a RST.
func TCPState(client, server uint8, clientLast, serverLast uint64) (state string, closed bool) {
	switch {
	case (client|server)&flagRST != 0:
		return "closed", true
	case client&server&flagFIN != 0:
		return "time-wait", true
	case server&flagFIN != 0:
		return "close-wait", false
	case client&flagFIN != 0 && serverLast > clientLast:
		return "fin-wait-2", false
	case client&flagFIN != 0:
		return "fin-wait-1", false
	}
	return opening(client, server), false
}

// opening names the states without a FIN. A flow first seen in mid-life has no SYN: established.
func opening(client, server uint8) string {
	const handshake = flagSYN | flagACK
	switch {
	case client&handshake != flagSYN:
		return "established"
	case server&handshake == handshake:
		return "syn-recv"
	}
	return "syn-sent"
}
