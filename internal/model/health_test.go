package model

import (
	"reflect"
	"testing"
	"time"
)

func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		h    *Health
		want uint64
	}{
		{"none", nil, 0},
		{"of each kind", &Health{Refused: 1, Client: EndHealth{Resets: 2}, Server: EndHealth{Resets: 4}, Lost: 8}, 15},
		{"dropped, but sent again", &Health{Drops: []DropCount{{"no_socket", 3}}}, 0},
		{"counted twice", &Health{Lost: 3, Server: EndHealth{SocketDrops: 3}}, 3},
		{"seen by the socket alone", &Health{Lost: 1, Client: EndHealth{SocketDrops: 2}, Server: EndHealth{SocketDrops: 3}}, 5},
		{"no error", &Health{SYNRetries: 1, Server: EndHealth{Timeouts: 1, ZeroWindows: 1, Stalls: 1}}, 0},
	}
	for _, tt := range tests {
		if got := tt.h.Errors(); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

// Every field must add up, those to come included.
func TestHealthAdds(t *testing.T) {
	one := &Health{Drops: []DropCount{{"b", 1}}}
	fill(reflect.ValueOf(one).Elem())
	var sum Health
	sum.Add(nil)
	if !sum.IsZero() {
		t.Errorf("nothing makes %+v", sum)
	}
	sum.Add(one)
	sum.Add(one)
	sum.Add(&Health{Drops: []DropCount{{"a", 5}}})
	want := &Health{}
	fill(reflect.ValueOf(want).Elem())
	double(reflect.ValueOf(want).Elem())
	want.Drops = []DropCount{{"a", 5}, {"b", 2}}
	if !reflect.DeepEqual(&sum, want) {
		t.Errorf("got  %+v\nwant %+v", sum, *want)
	}
	if one.Drops[0].SKBs != 1 {
		t.Errorf("adding changed what was added: %+v", one.Drops)
	}
}

// fill sets every number to another one; double doubles them.
func fill(v reflect.Value) {
	n := uint64(0)
	eachNumber(v, func(number reflect.Value) {
		n++
		set(number, n)
	})
}

func double(v reflect.Value) {
	eachNumber(v, func(number reflect.Value) {
		if number.CanInt() {
			set(number, 2*uint64(number.Int()))
			return
		}
		set(number, 2*number.Uint())
	})
}

func set(number reflect.Value, n uint64) {
	if number.CanInt() {
		number.SetInt(int64(n))
		return
	}
	number.SetUint(n)
}

func eachNumber(v reflect.Value, do func(reflect.Value)) {
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Kind() == reflect.Struct:
			eachNumber(f, do)
		case f.CanInt() || f.CanUint():
			do(f)
		}
	}
}

func TestHealthIsZero(t *testing.T) {
	for _, h := range []Health{
		{Refused: 1}, {SYNRetries: 1}, {SYNACKRetries: 1}, {Drops: []DropCount{{"a", 1}}},
		{Client: EndHealth{SendQueue: 1}}, {Server: EndHealth{ZeroWindow: 1}},
	} {
		if h.IsZero() {
			t.Errorf("%+v counts as nothing", h)
		}
	}
}

func TestRecord(t *testing.T) {
	var l Latency
	for _, d := range []time.Duration{3 * time.Millisecond, time.Microsecond, 0} {
		record(&l, d)
	}
	want := counted([]time.Duration{3 * time.Millisecond, time.Microsecond, 0})
	if !reflect.DeepEqual(l, want) {
		t.Errorf("got  %+v\nwant %+v", l, want)
	}
}
