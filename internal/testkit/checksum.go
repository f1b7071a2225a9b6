package testkit

import "hash/crc32"

// checksum is the Internet checksum (RFC 1071) over the parts, all but the last of even length.
func checksum(parts ...[]byte) uint16 {
	var sum uint64
	for _, part := range parts {
		for i, b := range part {
			sum += uint64(b) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// crc32c is SCTP's checksum (RFC 9260).
func crc32c(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
