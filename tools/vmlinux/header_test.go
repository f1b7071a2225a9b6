package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var (
	u8T    = &btf.Typedef{Name: "u8", Type: &btf.Int{Name: "unsigned char", Size: 1}}
	u32T   = &btf.Typedef{Name: "u32", Type: &btf.Int{Name: "unsigned int", Size: 4}}
	charT  = &btf.Int{Name: "char", Size: 1, Encoding: btf.Char}
	queueT = &btf.Struct{Name: "queue", Size: 4, Members: []btf.Member{{Name: "depth", Type: u32T}}}
	modeT  = &btf.Enum{Name: "mode", Size: 4, Values: []btf.EnumValue{{Name: "SLOW", Value: 0}, {Name: "FAST", Value: 7}}}
)

// tinySpec is a kernel with one device: every construct the header has to spell, once.
func tinySpec(t *testing.T) *btf.Spec {
	t.Helper()
	device := &btf.Struct{Name: "device", Size: 80}
	lockT := &btf.Typedef{Name: "lock_t", Type: &btf.Struct{Size: 8, Members: []btf.Member{
		{Name: "word", Type: u32T},
		{Name: "owned", Type: u32T, Offset: 32},
	}}}
	device.Members = []btf.Member{
		{Name: "next", Type: &btf.Pointer{Target: device}},
		{Name: "peer", Type: &btf.Pointer{Target: &btf.Fwd{Name: "peer", Kind: btf.FwdUnion}}, Offset: 64},
		{Name: "name", Type: &btf.Pointer{Target: &btf.Const{Type: charT}}, Offset: 128},
		{Name: "open", Type: &btf.Pointer{Target: &btf.FuncProto{Return: u32T}}, Offset: 192},
		{Name: "table", Type: &btf.Pointer{Target: &btf.Array{Index: u32T, Type: u8T, Nelems: 4}}, Offset: 256},
		{Name: "up", Type: u8T, Offset: 320, BitfieldSize: 1},
		{Name: "loud", Type: u8T, Offset: 321, BitfieldSize: 2},
		{Name: "state", Type: &btf.Volatile{Type: u8T}, Offset: 328},
		{Name: "mode", Type: modeT, Offset: 352},
		{Name: "queue", Type: &btf.Array{Index: u32T, Type: queueT, Nelems: 2}, Offset: 384},
		{Name: "lock", Type: lockT, Offset: 448},
		{Type: &btf.Union{Size: 8, Members: []btf.Member{
			{Name: "cookie", Type: u32T},
			{Type: &btf.Struct{Size: 8, Members: []btf.Member{
				{Name: "daddr", Type: u32T},
				{Name: "saddr", Type: u32T, Offset: 32},
			}}},
		}}, Offset: 512},
	}
	limits := &btf.Enum{Size: 4, Signed: true, Values: []btf.EnumValue{{Name: "ANY", Value: ^uint64(0)}, {Name: "NONE"}}}
	wide := &btf.Enum{Size: 8, Values: []btf.EnumValue{{Name: "TOP", Value: 1 << 63}}}

	builder, err := btf.NewBuilder([]btf.Type{device, limits, wide}, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := builder.Spec()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// cut returns what comes between the two pragmas, and the declarations before them.
func cut(t *testing.T, list string) (forward, body string, err error) {
	t.Helper()
	entries, err := parseList(strings.NewReader(list))
	if err != nil {
		return "", "", err
	}
	var out bytes.Buffer
	if err := writeHeader(&out, tinySpec(t), entries, "a tiny kernel"); err != nil {
		return "", "", err
	}
	_, rest, _ := strings.Cut(out.String(), "#define __VMLINUX_H__\n")
	forward, rest, ok := strings.Cut(rest, pushAttribute)
	body, ok2 := strings.CutSuffix(rest, popAttribute)
	if !ok || !ok2 {
		t.Fatalf("definitions are not between the pragmas:\n%s", out.String())
	}
	return strings.TrimSpace(forward), body, nil
}

func TestHeader(t *testing.T) {
	tests := []struct{ name, list, forward, body string }{
		{
			name:    "pointed-to types are declared, not defined",
			list:    "struct device: next peer",
			forward: "struct device;\nunion peer;",
			body:    "struct device {\n\tstruct device *next;\n\tunion peer *peer;\n};\n",
		},
		{
			name: "declarators",
			list: "struct device: name open table state",
			body: "typedef unsigned char u8;\n\n" +
				"struct device {\n\tconst char *name;\n\tvoid *open;\n\tu8 (*table)[4];\n\tvolatile u8 state;\n};\n",
		},
		{
			name: "bitfields",
			list: "struct device: loud up",
			body: "typedef unsigned char u8;\n\nstruct device {\n\tu8 up : 1;\n\tu8 loud : 2;\n};\n",
		},
		{
			name: "what is used by value comes first, whatever the list's order",
			list: "struct device: mode queue lock\nenum mode: FAST\ntypedef lock_t: owned\nstruct queue # whole",
			body: "enum mode {\n\tFAST = 7,\n};\n\ntypedef unsigned int u32;\n\nstruct queue {\n\tu32 depth;\n};\n\n" +
				"typedef struct {\n\tu32 owned;\n} lock_t;\n\n" +
				"struct device {\n\tenum mode mode;\n\tstruct queue queue[2];\n\tlock_t lock;\n};\n",
		},
		{
			name: "members of anonymous parts keep their place",
			list: "struct device: saddr",
			body: "typedef unsigned int u32;\n\n" +
				"struct device {\n\tunion {\n\t\tstruct {\n\t\t\tu32 saddr;\n\t\t};\n\t};\n};\n",
		},
		{
			name: "constants out of anonymous enums",
			list: "enumerators TOP ANY",
			body: "\nenum {\n\tANY = -1,\n};\n\nenum {\n\tTOP = 0x8000000000000000ULL,\n};\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forward, body, err := cut(t, test.list)
			if err != nil {
				t.Fatal(err)
			}
			if forward != test.forward {
				t.Errorf("declared:\n%s\nwant:\n%s", forward, test.forward)
			}
			if strings.TrimSpace(body) != strings.TrimSpace(test.body) {
				t.Errorf("defined:\n%s\nwant:\n%s", body, test.body)
			}
		})
	}
}

func TestHeaderErrors(t *testing.T) {
	tests := []struct{ list, want string }{
		{"\nstruct nothing", "2: find struct nothing: "},
		{"union device", "1: find union device: the name is another kind of type"},
		{"struct device: next flavour colour", "1: struct device: this kernel has no colour, flavour"},
		{"struct device: queue", "1: struct device: queue: struct queue is used by value: list it"},
		{"struct device: mode", "1: struct device: mode: enum mode is used by value: list it"},
		{"enum mode: SLOW MEDIUM", "1: enum mode: this kernel has no MEDIUM"},
		{"typedef u32: bits", "1: typedef u32 has no members of its own"},
		{"enumerators ANY FAST", "1: this kernel has no FAST"},
		{"struct queue\nstruct queue: depth", "2: struct queue is listed twice"},
		{"class queue", `1: unknown kind "class"`},
		{"struct queue:", "1: want struct NAME or struct NAME: PART…"},
		{"enumerators", "1: want enumerators NAME…"},
		{": depth", "1: no type before the colon"},
	}
	for _, test := range tests {
		_, _, err := cut(t, test.list)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q: got error %v, want %q", test.list, err, test.want)
		}
	}
}

// The header itself depends on the kernel it was made on; that it was made from this list does not.
func TestCommittedHeaderHasTheList(t *testing.T) {
	list, err := os.Open("types.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	entries, err := parseList(list)
	if err != nil {
		t.Fatal(err)
	}
	header, err := os.ReadFile("../../vmlinux.h")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		for _, name := range append(e.keep, e.name) {
			if !regexp.MustCompile(`\b` + name + `\b`).Match(header) {
				t.Errorf("line %d: vmlinux.h has no %s: run make vmlinux", e.line, name)
			}
		}
	}
}
