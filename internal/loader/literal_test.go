package loader

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lotrace/lotrace/internal/model"
)

// field is one line of a literal: where a field of a C struct is, what its name is, and bytes to find there, in
// hexadecimal and in the order in which they lie in memory.
type field struct {
	offset int
	name   string
	bytes  string
}

// literal is a whole C struct byte by byte, and what Go makes of it. No two fields have the same value, so that no
// two can change places unnoticed, in C or in Go.
type literal struct {
	name   string
	fields []field
	decode func(t *testing.T, raw []byte) any
	want   any
	but    []but
}

// but says what Go makes of a literal with other bytes in one field. A field that is only ever true or false has one.
type but struct {
	name  string
	bytes string
	want  any
}

var literals = slices.Concat(recordLiterals, tableLiterals, mapLiterals)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return b
}

// raw is the struct, with other bytes in the field of that name.
func (l *literal) raw(t testing.TB, other but) []byte {
	t.Helper()
	var all []byte
	changed := other.name == ""
	for _, f := range l.fields {
		if f.offset != len(all) {
			t.Errorf("%s.%s: the bytes before it end at %d, not at %d", l.name, f.name, len(all), f.offset)
		}
		value := unhex(t, f.bytes)
		if f.name == other.name {
			changed = true
			if value = unhex(t, other.bytes); len(value) != len(unhex(t, f.bytes)) {
				t.Errorf("%s.%s has another length", l.name, f.name)
			}
		}
		all = append(all, value...)
	}
	if !changed {
		t.Errorf("%s has no %s", l.name, other.name)
	}
	return all
}

func TestLiterals(t *testing.T) {
	addrs := cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})
	for i := range literals {
		l := &literals[i]
		t.Run(l.name, func(t *testing.T) {
			if diff := cmp.Diff(l.want, l.decode(t, l.raw(t, but{})), addrs); diff != "" {
				t.Errorf("(-want +got): %s", diff)
			}
			for _, b := range l.but {
				if diff := cmp.Diff(b.want, l.decode(t, l.raw(t, b)), addrs); diff != "" {
					t.Errorf("with %s %s (-want +got): %s", b.name, b.bytes, diff)
				}
			}
		})
	}
}

// A value that two fields have would let them change places.
func TestLiteralsTellFieldsApart(t *testing.T) {
	for _, l := range literals {
		seen := make(map[string]string)
		for _, f := range l.fields {
			value := string(bytes.TrimRight(unhex(t, f.bytes), "\x00"))
			if other, ok := seen[value]; ok && !isPadding(f.name) && !isPadding(other) {
				t.Errorf("%s: %s and %s have one value, % x", l.name, other, f.name, value)
			}
			seen[value] = f.name
		}
	}
}

func isPadding(name string) bool { return regexp.MustCompile(`(^|\.)pad\d?$`).MatchString(name) }

// The literals have the fields of the C structs: all of them, in the same places.
func TestLiteralsAreOfTheObject(t *testing.T) {
	spec, err := loadLotrace()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range literals {
		var have []string
		for _, f := range l.fields {
			have = append(have, fmt.Sprintf("%4d %3d %s", f.offset, len(unhex(t, f.bytes)), f.name))
		}
		var want []string
		eachField(t, structOf(t, spec.Types, l.name), "", 0, func(name string, offset, size int) {
			want = append(want, fmt.Sprintf("%4d %3d %s", offset, size, name))
		})
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s (-object +literal): %s", l.name, diff)
		}
	}
}

// eachField visits what is no struct itself. Arrays of numbers are one field; a union is its first member.
func eachField(t *testing.T, of btf.Type, name string, offset int, visit func(name string, offset, size int)) {
	t.Helper()
	size, err := btf.Sizeof(of)
	if err != nil {
		t.Fatal(err)
	}
	switch of := btf.UnderlyingType(of).(type) {
	case *btf.Struct:
		for _, m := range of.Members {
			eachField(t, m.Type, strings.TrimPrefix(name+"."+m.Name, "."), offset+int(m.Offset.Bytes()), visit)
		}
	case *btf.Union:
		eachField(t, of.Members[0].Type, name+of.Members[0].Name, offset, visit)
	case *btf.Array:
		if element, ok := btf.UnderlyingType(of.Type).(*btf.Struct); ok {
			for i := range int(of.Nelems) {
				eachField(t, element, fmt.Sprintf("%s[%d]", name, i), offset+i*int(element.Size), visit)
			}
			return
		}
		visit(name, offset, size)
	default:
		visit(name, offset, size)
	}
}

// unread are the types that user space writes and never reads.
var unread = []string{"lt_config", "lt_filter"}

// Each struct of records.h has a literal of its own. Every other generated type has one, or is in one.
func TestEveryStructHasALiteral(t *testing.T) {
	spec, err := loadLotrace()
	if err != nil {
		t.Fatal(err)
	}
	has := slices.Clone(unread)
	for _, l := range literals {
		eachStruct(structOf(t, spec.Types, l.name), func(name string) { has = append(has, name) })
	}
	records := regexp.MustCompile(`(?m)^struct (\w+) \{`).FindAllStringSubmatch(header(t, "records.h"), -1)
	generated := regexp.MustCompile(`-type (\w+)`).FindAllStringSubmatch(header(t, "../internal/loader/gen.go"), -1)
	if len(records) == 0 || len(generated) == 0 {
		t.Errorf("%d records, %d generated types", len(records), len(generated))
	}
	for _, match := range slices.Concat(records, generated) {
		if !slices.Contains(has, match[1]) {
			t.Errorf("struct %s has no literal", match[1])
		}
	}
	for _, match := range records {
		if !slices.ContainsFunc(recordLiterals, func(l literal) bool { return l.name == match[1] }) {
			t.Errorf("struct %s has no literal of its own", match[1])
		}
	}
}

func eachStruct(of *btf.Struct, visit func(name string)) {
	visit(of.Name)
	for _, m := range of.Members {
		inner := btf.UnderlyingType(m.Type)
		if array, ok := inner.(*btf.Array); ok {
			inner = btf.UnderlyingType(array.Type)
		}
		if inner, ok := inner.(*btf.Struct); ok {
			eachStruct(inner, visit)
		}
	}
}

// as is a copy of raw as the generated type.
func as[T any](t *testing.T, raw []byte) *T {
	t.Helper()
	records, err := recordsIn[T](slices.Clone(raw))
	if err != nil || len(records) != 1 {
		t.Fatalf("%d bytes, want %d", len(raw), unsafe.Sizeof(*new(T)))
	}
	return &records[0]
}

// counting is a histogram of numbers from first on, and its bytes.
func counting(first uint32) (numbers [model.HistogramBuckets]uint32, text string) {
	var raw []byte
	for i := range numbers {
		numbers[i] = first + uint32(i)
		raw = binary.LittleEndian.AppendUint32(raw, numbers[i])
	}
	return numbers, hex.EncodeToString(raw)
}

// ones is n bytes of padding.
func ones(n int) string { return strings.Repeat("ff", n) }

func structOf(t *testing.T, types *btf.Spec, name string) *btf.Struct {
	t.Helper()
	var s *btf.Struct
	if err := types.TypeByName(name, &s); err != nil {
		t.Fatal(err)
	}
	return s
}
