package reading

import "net/netip"

// FilterTest is what one kernel filter instruction tests; the values are those of enum lt_test.
type FilterTest uint8

// The tests the kernel knows.
const (
	TestProto  FilterTest = iota // IP protocol number == Lo
	TestFamily                   // address family (4 or 6) == Lo
	TestPort                     // Lo <= either port <= Hi
	TestAddr                     // either address within Addr
)

// Limits and jump targets of a kernel filter; the values are those of bpf/lotrace.h.
const (
	MaxFilterTerms = 32
	FilterReject   = 254
	FilterAccept   = 255
)

// FilterTerm is one instruction of a kernel filter: test, then go on at OnTrue or OnFalse, which
// is the number of a later instruction, or FilterAccept or FilterReject.
type FilterTerm struct {
	Test    FilterTest
	OnTrue  uint8
	OnFalse uint8
	Lo, Hi  uint16
	Addr    netip.Prefix // TestAddr only; unmapped
}

// KernelFilter is run from instruction 0; jumps lead forwards only. Empty accepts everything.
type KernelFilter []FilterTerm
