package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
)

const preamble = `/*
 * Kernel types that lotrace reads, cut from the BTF of %s.
 * Generated from tools/vmlinux/types.txt: add a line there and run "make vmlinux".
 *
 * Offsets are not those of any kernel: the loader relocates every access by name (CO-RE).
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

`

const pushAttribute = `
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

`

const popAttribute = `
#pragma clang attribute pop

#endif
`

// A header collects C definitions in an order a compiler accepts: what a definition needs whole
// comes before it, what it only points to is declared at the top.
type header struct {
	spec    *btf.Spec
	listed  map[string]entry
	done    map[string]bool
	forward map[string]bool
	body    bytes.Buffer
	multi   bool // body ends with a definition of several lines
}

// writeHeader writes the listed types as they are in spec. Errors begin with the number of the line
// that asked for the impossible.
func writeHeader(w io.Writer, spec *btf.Spec, entries []entry, origin string) error {
	h := &header{
		spec:    spec,
		listed:  make(map[string]entry),
		done:    make(map[string]bool),
		forward: make(map[string]bool),
	}
	for _, e := range entries {
		h.listed[e.String()] = e
	}
	for _, e := range entries {
		if err := h.add(e); err != nil {
			return fmt.Errorf("%d: %w", e.line, err)
		}
	}

	fmt.Fprintf(w, preamble, origin)
	for _, name := range slices.Sorted(maps.Keys(h.forward)) {
		fmt.Fprintf(w, "%s;\n", name)
	}
	_, err := io.WriteString(w, pushAttribute+h.body.String()+popAttribute)
	return err
}

func (h *header) add(e entry) error {
	switch e.kind {
	case "struct":
		return requireNamed[*btf.Struct](h, e)
	case "union":
		return requireNamed[*btf.Union](h, e)
	case "typedef":
		return requireNamed[*btf.Typedef](h, e)
	case "enum":
		return requireNamed[*btf.Enum](h, e)
	default:
		return h.enumerators(e.keep)
	}
}

func requireNamed[T btf.Type](h *header, e entry) error {
	candidates, err := h.spec.AnyTypesByName(e.name)
	if err != nil {
		return fmt.Errorf("find %s: %w", e, err)
	}
	// A driver may have a typedef of the same name; the core kernel's comes first.
	for _, t := range candidates {
		if _, ok := t.(T); ok {
			return h.require(t, true)
		}
	}
	return fmt.Errorf("find %s: the name is another kind of type", e)
}

// require makes t usable in a declaration that follows. complete says that its size is needed, not
// just its name.
func (h *header) require(t btf.Type, complete bool) error {
	switch t := t.(type) {
	case *btf.Pointer:
		if isFunction(t.Target) {
			return nil
		}
		return h.require(t.Target, false)
	case *btf.Array:
		return h.require(t.Type, true)
	case *btf.Const:
		return h.require(t.Type, complete)
	case *btf.Volatile:
		return h.require(t.Type, complete)
	case *btf.Restrict:
		return h.require(t.Type, complete)
	case *btf.TypeTag:
		return h.require(t.Type, complete)
	case *btf.Fwd:
		h.forward[t.Kind.String()+" "+t.Name] = true
		return nil
	case *btf.Typedef:
		return h.typedef(t, complete)
	case *btf.Enum:
		return h.enum(t)
	case *btf.Struct:
		return h.record("struct "+t.Name, t.Name, t.Members, complete)
	case *btf.Union:
		return h.record("union "+t.Name, t.Name, t.Members, complete)
	case *btf.Int, *btf.Void:
		return nil
	default:
		return fmt.Errorf("no C for BTF type %v", t)
	}
}

func (h *header) record(key, name string, members []btf.Member, complete bool) error {
	if name == "" {
		return h.members(members)
	}
	if !complete {
		h.forward[key] = true
		return nil
	}
	if h.done[key] {
		return nil
	}
	e, ok := h.listed[key]
	if !ok {
		return fmt.Errorf("%s is used by value: list it", key)
	}
	h.done[key] = true
	members, err := keepMembers(members, e.keep)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if err := h.members(members); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	h.define(key + " " + block(membersC(members)))
	return nil
}

func (h *header) members(members []btf.Member) error {
	for _, m := range members {
		if err := h.require(m.Type, true); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

func (h *header) typedef(t *btf.Typedef, complete bool) error {
	key := "typedef " + t.Name
	target := t.Type
	if s, ok := target.(*btf.Struct); ok && s.Name == "" {
		members, err := keepMembers(s.Members, h.listed[key].keep)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		target = &btf.Struct{Members: members}
	} else if len(h.listed[key].keep) > 0 {
		return fmt.Errorf("%s has no members of its own", key)
	}
	// Even a typedef that is there already may so far have needed no more than a declaration.
	if err := h.require(target, complete); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if !h.done[key] {
		h.done[key] = true
		h.define("typedef " + declare(target, "", t.Name))
	}
	return nil
}

func (h *header) enum(t *btf.Enum) error {
	key := "enum " + t.Name
	if t.Name == "" || h.done[key] {
		return nil
	}
	e, ok := h.listed[key]
	if !ok {
		return fmt.Errorf("%s is used by value: list it", key)
	}
	h.done[key] = true
	wanted := wantedSet(e.keep)
	values := slices.Clone(t.Values)
	if len(wanted) > 0 {
		values = slices.DeleteFunc(values, func(v btf.EnumValue) bool { return !take(wanted, v.Name) })
	}
	if err := missing(wanted); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	h.define(key + " " + block(valuesC(t, values)))
	return nil
}

// enumerators defines constants that the kernel keeps in enums without a name.
func (h *header) enumerators(names []string) error {
	wanted := wantedSet(names)
	for t, err := range h.spec.All() {
		if err != nil {
			return fmt.Errorf("walk kernel BTF: %w", err)
		}
		enum, ok := t.(*btf.Enum)
		if !ok || enum.Name != "" {
			continue
		}
		var values []btf.EnumValue
		for _, v := range enum.Values {
			if take(wanted, v.Name) {
				values = append(values, v)
			}
		}
		if len(values) > 0 {
			h.define("enum " + block(valuesC(enum, values)))
		}
	}
	return missing(wanted)
}

// define appends a definition; one-liners stand together, the rest apart.
func (h *header) define(c string) {
	multi := strings.Contains(c, "\n")
	if multi || h.multi {
		h.body.WriteString("\n")
	}
	h.multi = multi
	h.body.WriteString(c + ";\n")
}

// keepMembers cuts a struct or union down to the named members, in their order. A member inside
// anonymous structs and unions is found there, and keeps its place in them. No names keep all.
func keepMembers(members []btf.Member, names []string) ([]btf.Member, error) {
	if len(names) == 0 {
		return members, nil
	}
	wanted := wantedSet(names)
	kept := cutMembers(members, wanted)
	return kept, missing(wanted)
}

func cutMembers(members []btf.Member, wanted map[string]bool) []btf.Member {
	var kept []btf.Member
	for _, m := range members {
		if m.Name == "" {
			m.Type = cutAnonymous(m.Type, wanted)
		}
		if m.Name == "" && m.Type != nil || m.Name != "" && take(wanted, m.Name) {
			kept = append(kept, m)
		}
	}
	return kept
}

// cutAnonymous returns nil when nothing of t is wanted.
func cutAnonymous(t btf.Type, wanted map[string]bool) btf.Type {
	switch t := t.(type) {
	case *btf.Struct:
		if kept := cutMembers(t.Members, wanted); kept != nil {
			return &btf.Struct{Members: kept}
		}
	case *btf.Union:
		if kept := cutMembers(t.Members, wanted); kept != nil {
			return &btf.Union{Members: kept}
		}
	}
	return nil
}

func wantedSet(names []string) map[string]bool {
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
	}
	return wanted
}

// take reports whether name is wanted, and wants it no longer.
func take(wanted map[string]bool, name string) bool {
	found := wanted[name]
	delete(wanted, name)
	return found
}

func missing(wanted map[string]bool) error {
	if len(wanted) == 0 {
		return nil
	}
	return errors.New("this kernel has no " + strings.Join(slices.Sorted(maps.Keys(wanted)), ", "))
}
