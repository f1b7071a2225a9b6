package testkit

import "encoding/binary"

// mutation is an option that breaks the finished frame.
func mutation(edit func(*frame)) Option {
	return func(d *draft) { d.edits = append(d.edits, edit) }
}

// SetByte overwrites the byte at an offset from the frame's start.
func SetByte(offset int, value byte) Option {
	return mutation(func(f *frame) { f.bytes[offset] = value })
}

// Truncate cuts the frame to n bytes, leaving its length fields as they were.
func Truncate(n int) Option { return mutation(func(f *frame) { f.bytes = f.bytes[:n] }) }

// Trailer appends n bytes that no length field accounts for.
func Trailer(n int) Option {
	return mutation(func(f *frame) { f.bytes = append(f.bytes, make([]byte, n)...) })
}

// Version overwrites the IP version.
func Version(v byte) Option {
	return mutation(func(f *frame) { f.bytes[f.l3] = v<<4 | f.bytes[f.l3]&0x0f })
}

// IHL overwrites the IPv4 header length, in words.
func IHL(words byte) Option {
	return mutation(func(f *frame) { f.bytes[f.l3] = f.bytes[f.l3]&0xf0 | words })
}

// DataOffset overwrites the TCP header length, in words.
func DataOffset(words byte) Option {
	return mutation(func(f *frame) { f.bytes[f.l4+12] = words << 4 })
}

// IPLength overwrites IPv4's total length or IPv6's payload length.
func IPLength(n uint16) Option {
	return mutation(func(f *frame) {
		at := f.l3 + 2
		if f.bytes[f.l3]>>4 == 6 {
			at = f.l3 + 4
		}
		binary.BigEndian.PutUint16(f.bytes[at:], n)
	})
}

// UDPLength overwrites the length field of the UDP header.
func UDPLength(n uint16) Option {
	return mutation(func(f *frame) { binary.BigEndian.PutUint16(f.bytes[f.l4+4:], n) })
}

// ExtensionLength overwrites the length byte of the first IPv6 extension header.
func ExtensionLength(units byte) Option {
	return mutation(func(f *frame) { f.bytes[f.l3+40+1] = units })
}
