package filter

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// Kernel returns the program the kernel runs on every packet's key. It accepts at least what Match
// matches; exact says that it accepts nothing else. Terms the kernel cannot test count as passed,
// and so do conjuncts too many for model.MaxFilterTerms instructions.
func (f *Filter) Kernel() (prog reading.KernelFilter, exact bool) {
	if f == nil || f.root == nil {
		return nil, true
	}
	c, exact := f.root.kernel(false)
	fit := c.fit(reading.MaxFilterTerms)
	if fit == nil {
		return nil, false
	}
	return fit.emit(nil, reading.FilterAccept, reading.FilterReject), exact && fit == c
}

// cond is a condition on a key in negation normal form: a test, or kids of which all or any must
// hold. Nil always holds.
type cond struct {
	test   reading.FilterTerm // without its jumps
	negate bool
	all    bool
	kids   []*cond // nil: a test
}

func test(t reading.FilterTerm) *cond { return &cond{test: t} }

// allOf and anyOf keep nil, which always holds, out of the tree.
func allOf(kids ...*cond) *cond {
	kids = slices.DeleteFunc(kids, func(k *cond) bool { return k == nil })
	switch len(kids) {
	case 0:
		return nil
	case 1:
		return kids[0]
	}
	return &cond{all: true, kids: kids}
}

func anyOf(kids ...*cond) *cond {
	if slices.Contains(kids, nil) {
		return nil
	}
	if len(kids) == 1 {
		return kids[0]
	}
	return &cond{kids: kids}
}

// not negates a condition that is not nil.
func (c *cond) not() *cond {
	if c.kids == nil {
		return &cond{test: c.test, negate: !c.negate}
	}
	n := &cond{all: !c.all}
	for _, k := range c.kids {
		n.kids = append(n.kids, k.not())
	}
	return n
}

// kernel pushes negation down to the terms before it weakens: what the kernel cannot test has to
// hold both as it stands and negated.
func (n *node) kernel(negate bool) (c *cond, exact bool) {
	switch n.kind {
	case kindTerm:
		if n.term.kernel == nil {
			return nil, false
		}
		if c = n.term.kernel(n.vals); negate {
			c = c.not()
		}
		return c, true
	case kindNot:
		return n.kids[0].kernel(!negate)
	case kindAnd, kindOr: // below
	}
	exact = true
	var kids []*cond
	for _, k := range n.kids {
		kc, kexact := k.kernel(negate)
		kids = append(kids, kc)
		exact = exact && kexact
	}
	if (n.kind == kindAnd) != negate {
		return allOf(kids...), exact
	}
	return anyOf(kids...), exact
}

func kernelProto(vals []value) *cond {
	var alts []*cond
	for _, v := range vals {
		alts = append(alts, protoIs(model.Proto(v.lo)))
	}
	return anyOf(alts...)
}

func protoIs(p model.Proto) *cond {
	return test(reading.FilterTerm{Test: reading.TestProto, Lo: uint16(p)})
}

// kernelPort asks for the protocol last: most packets have another port.
func kernelPort(vals []value) *cond {
	var alts []*cond
	for _, v := range vals {
		alts = append(alts, test(reading.FilterTerm{Test: reading.TestPort, Lo: uint16(v.lo), Hi: uint16(v.hi)}))
	}
	return allOf(anyOf(alts...),
		anyOf(protoIs(model.ProtoTCP), protoIs(model.ProtoUDP), protoIs(model.ProtoSCTP)))
}

func kernelFamily(vals []value) *cond {
	var alts []*cond
	for _, v := range vals {
		alts = append(alts, familyIs(v.text == "ipv6"))
	}
	return anyOf(alts...)
}

func familyIs(ipv6 bool) *cond {
	t := reading.FilterTerm{Test: reading.TestFamily, Lo: 4}
	if ipv6 {
		t.Lo = 6
	}
	return test(t)
}

func kernelAddr(vals []value) *cond {
	v4InV6 := netip.AddrFrom16(netip.IPv4Unspecified().As16()) // ::ffff:0.0.0.0
	var alts []*cond
	for _, v := range vals {
		c := test(reading.FilterTerm{Test: reading.TestAddr, Addr: v.prefix})
		// The kernel keeps IPv4 mapped into IPv6, so ::/0 would cover it too.
		if v.prefix.Contains(v4InV6) {
			c = allOf(c, familyIs(true))
		}
		alts = append(alts, c)
	}
	return anyOf(alts...)
}

// size is the number of instructions emit makes.
func (c *cond) size() int {
	if c == nil {
		return 0
	}
	if c.kids == nil {
		return 1
	}
	n := 0
	for _, k := range c.kids {
		n += k.size()
	}
	return n
}

// fit weakens c to at most room instructions. Of conditions that must all hold the small ones are
// kept, in their order; alternatives are kept all or none, for one that always holds decides.
func (c *cond) fit(room int) *cond {
	if c.size() <= room {
		return c
	}
	if !c.all {
		return nil
	}
	bySize := slices.Clone(c.kids)
	slices.SortStableFunc(bySize, func(a, b *cond) int { return a.size() - b.size() })
	kept := map[*cond]*cond{}
	for _, k := range bySize {
		kept[k] = k.fit(room)
		room -= kept[k].size()
	}
	var all []*cond
	for _, k := range c.kids {
		all = append(all, kept[k])
	}
	return allOf(all...)
}

// emit appends the code of c, which goes on at onTrue or onFalse: both lie behind it.
func (c *cond) emit(prog reading.KernelFilter, onTrue, onFalse uint8) reading.KernelFilter {
	if c.kids == nil {
		t := c.test
		t.OnTrue, t.OnFalse = onTrue, onFalse
		if c.negate {
			t.OnTrue, t.OnFalse = onFalse, onTrue
		}
		return append(prog, t)
	}
	for i, k := range c.kids {
		next := uint8(len(prog) + k.size())
		switch {
		case i == len(c.kids)-1:
			prog = k.emit(prog, onTrue, onFalse)
		case c.all:
			prog = k.emit(prog, next, onFalse)
		default:
			prog = k.emit(prog, onTrue, next)
		}
	}
	return prog
}

// Run reports whether prog accepts a flow of that key: what the kernel's interpreter has to do,
// written down the plain way. A jump to neither an instruction nor an end rejects.
func Run(prog reading.KernelFilter, key model.Key) bool {
	if len(prog) == 0 {
		return true
	}
	pc := 0
	for range prog { // jumps lead forwards only, so no run takes more steps
		t := prog[pc]
		next := t.OnFalse
		if holds(t, key) {
			next = t.OnTrue
		}
		if int(next) >= len(prog) {
			return next == reading.FilterAccept
		}
		pc = int(next)
	}
	return false
}

func holds(t reading.FilterTerm, key model.Key) bool {
	switch t.Test {
	case reading.TestProto:
		return uint16(key.Proto) == t.Lo
	case reading.TestFamily:
		return isIPv6(key.A.Addr(), key.B.Addr()) == (t.Lo == 6)
	case reading.TestPort:
		a, b := key.A.Port(), key.B.Port()
		return t.Lo <= a && a <= t.Hi || t.Lo <= b && b <= t.Hi
	case reading.TestAddr:
		return mappedWithin(key.A.Addr(), t.Addr) || mappedWithin(key.B.Addr(), t.Addr)
	}
	return false
}

// mappedWithin compares as the kernel does: 16 bytes, IPv4 mapped into IPv6.
func mappedWithin(addr netip.Addr, p netip.Prefix) bool {
	a, b, n := addr.As16(), p.Addr().As16(), p.Bits()
	if p.Addr().Is4() {
		n += 96
	}
	whole := n / 8
	if !bytes.Equal(a[:whole], b[:whole]) {
		return false
	}
	return n%8 == 0 || (a[whole]^b[whole])>>(8-n%8) == 0
}
