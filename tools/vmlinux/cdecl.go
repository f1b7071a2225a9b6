package main

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// declare returns the C declaration of name as a t, without the semicolon. qualifiers belong to t
// and end in a space. Functions have no C here: a pointer to one becomes a void pointer.
func declare(t btf.Type, qualifiers, name string) string {
	switch t := t.(type) {
	case *btf.Const:
		return declare(t.Type, "const "+qualifiers, name)
	case *btf.Volatile:
		return declare(t.Type, "volatile "+qualifiers, name)
	case *btf.Restrict:
		return declare(t.Type, qualifiers, name)
	case *btf.TypeTag:
		return declare(t.Type, qualifiers, name)
	case *btf.Pointer:
		return declarePointer(t, "*"+qualifiers+name)
	case *btf.Array:
		return declare(t.Type, qualifiers, fmt.Sprintf("%s[%d]", name, t.Nelems))
	default:
		return strings.TrimSpace(qualifiers + specifier(t) + " " + name)
	}
}

func declarePointer(t *btf.Pointer, name string) string {
	if isFunction(t.Target) {
		return "void " + name
	}
	if _, ok := btf.QualifiedType(t.Target).(*btf.Array); ok {
		name = "(" + name + ")"
	}
	return declare(t.Target, "", name)
}

func isFunction(t btf.Type) bool {
	_, ok := btf.UnderlyingType(t).(*btf.FuncProto)
	return ok
}

// specifier returns a type's name where it has one, and otherwise its body in the name's place.
func specifier(t btf.Type) string {
	switch t := t.(type) {
	case *btf.Void:
		return "void"
	case *btf.Fwd:
		return t.Kind.String() + " " + t.Name
	case *btf.Struct:
		if t.Name == "" {
			return "struct " + block(membersC(t.Members))
		}
		return "struct " + t.Name
	case *btf.Union:
		if t.Name == "" {
			return "union " + block(membersC(t.Members))
		}
		return "union " + t.Name
	case *btf.Enum:
		if t.Name == "" {
			return "enum " + block(valuesC(t, t.Values))
		}
		return "enum " + t.Name
	default:
		return t.TypeName()
	}
}

func block(lines []string) string {
	var b strings.Builder
	b.WriteString("{\n")
	for _, line := range lines {
		b.WriteString("\t" + strings.ReplaceAll(line, "\n", "\n\t") + "\n")
	}
	b.WriteString("}")
	return b.String()
}

func membersC(members []btf.Member) []string {
	lines := make([]string, 0, len(members))
	for _, m := range members {
		line := declare(m.Type, "", m.Name)
		if m.BitfieldSize > 0 {
			line += fmt.Sprintf(" : %d", m.BitfieldSize)
		}
		lines = append(lines, line+";")
	}
	return lines
}

func valuesC(t *btf.Enum, values []btf.EnumValue) []string {
	lines := make([]string, 0, len(values))
	for _, v := range values {
		lines = append(lines, fmt.Sprintf("%s = %s,", v.Name, literal(t, v.Value)))
	}
	return lines
}

func literal(t *btf.Enum, value uint64) string {
	switch {
	case t.Signed:
		return fmt.Sprintf("%d", int64(value))
	case t.Size == 8:
		return fmt.Sprintf("%#xULL", value)
	default:
		return fmt.Sprintf("%d", value)
	}
}
