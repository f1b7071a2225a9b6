package model

import "testing"

func TestDeviceAgrees(t *testing.T) {
	device := func(n uint64) DeviceCount { return DeviceCount{Packets: n, Bytes: 100 * n} }
	span := func(before, after uint64) DeviceSpan { return DeviceSpan{device(before), device(after)} }
	counted := func(n uint64) Count { return Count{SKBs: n, Packets: n, Bytes: 100 * n} }
	for _, tt := range []struct {
		name       string
		start, end DeviceSpan
		counted    Count
		want       bool
	}{
		{"at rest", span(10, 10), span(15, 15), counted(5), true},
		{"nothing", span(10, 10), span(10, 10), counted(0), true},
		{"traffic during both readings", span(10, 14), span(20, 25), counted(7), true},
		{"one packet too many", span(10, 10), span(15, 15), counted(6), false},
		{"one packet missed", span(10, 10), span(15, 15), counted(4), false},
		{"one byte too many", span(10, 10), span(15, 15), Count{SKBs: 5, Packets: 5, Bytes: 501}, false},
		{"fewer than the widest bounds hold", span(10, 30), span(20, 20), counted(0), true},
	} {
		if got := NewDevice(tt.start, tt.end, tt.counted); got.Agrees != tt.want {
			t.Errorf("%s: %v", tt.name, got.Agrees)
		}
	}
}
