package model

import (
	"reflect"
	"testing"
	"time"
)

// Every field must add up, those to come included.
func TestTallyAdds(t *testing.T) {
	counted := func(times uint64) *Tally {
		tally := &Tally{Health: &Health{}}
		n := uint64(0)
		eachNumber(reflect.ValueOf(tally).Elem(), func(number reflect.Value) {
			n++
			set(number, times*n)
		})
		eachNumber(reflect.ValueOf(tally.Health).Elem(), func(number reflect.Value) {
			n++
			set(number, times*n)
		})
		for _, latency := range []*Latency{&tally.Turn, &tally.Response, &tally.Connect} {
			n++
			*latency = Latency{}
			for range times {
				record(latency, time.Duration(n)*time.Millisecond)
			}
		}
		return tally
	}
	var sum Tally
	if !sum.IsZero() {
		t.Errorf("the zero Tally is %+v", sum)
	}
	one := counted(1)
	for range 3 {
		sum.Add(one)
	}
	if want := counted(3); !reflect.DeepEqual(&sum, want) {
		t.Errorf("got  %+v, health %+v\nwant %+v, health %+v", sum, *sum.Health, *want, *want.Health)
	}
	if !reflect.DeepEqual(one, counted(1)) {
		t.Errorf("adding changed what was added: %+v", one)
	}
}

// A Tally of one field alone is not zero, whichever it is.
func TestTallyIsZero(t *testing.T) {
	v := reflect.TypeFor[Tally]()
	for i := range v.NumField() {
		var tally Tally
		switch field := reflect.ValueOf(&tally).Elem().Field(i); field.Kind() {
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
		case reflect.Struct:
			eachNumber(field, func(number reflect.Value) { set(number, 1) })
		default:
			set(field, 1)
		}
		if tally.IsZero() {
			t.Errorf("%s counts nothing", v.Field(i).Name)
		}
	}
}
