// Package filter turns one expression, such as "port:5432 !addr:127.0.0.2 bytes>1MB", into what the
// kernel tests on every packet and a predicate over whole flows for everything else.
package filter

import (
	"strings"

	"github.com/lotrace/lotrace/internal/model"
)

// Filter is a parsed expression. It never changes, so many goroutines may use one. A nil *Filter
// and that of the empty expression match everything.
type Filter struct {
	root *node // nil: match all
}

type nodeKind uint8

const (
	kindTerm nodeKind = iota
	kindNot
	kindAnd
	kindOr
)

// node is one term, or an operator over kids. The parser keeps trees flat: no And right under an
// And, no Or right under an Or, no Not right under a Not, no operator over less than it needs.
type node struct {
	kind nodeKind
	kids []*node

	term *term
	op   string  // ":" or a comparison
	vals []value // alternatives; exactly one behind a comparison
}

// Match reports whether the flow passes the whole expression. Amounts are those of the flow as
// given: of one window, or cumulative.
func (f *Filter) Match(flow *model.Flow) bool {
	return f == nil || f.root == nil || f.root.match(flow)
}

func (n *node) match(flow *model.Flow) bool {
	switch n.kind {
	case kindTerm:
		return n.matchTerm(flow)
	case kindNot:
		return !n.kids[0].match(flow)
	case kindAnd:
		for _, k := range n.kids {
			if !k.match(flow) {
				return false
			}
		}
		return true
	case kindOr:
		for _, k := range n.kids {
			if k.match(flow) {
				return true
			}
		}
	}
	return false
}

func (n *node) matchTerm(flow *model.Flow) bool {
	if n.term.amount != nil {
		got, known := n.term.amount(flow)
		return known && compare(got, n.op, n.vals[0].lo)
	}
	for _, v := range n.vals {
		if n.term.match(flow, v) {
			return true
		}
	}
	return false
}

func compare(a uint64, op string, b uint64) bool {
	switch op {
	case ">":
		return a > b
	case ">=":
		return a >= b
	case "<":
		return a < b
	case "<=":
		return a <= b
	default:
		return a == b
	}
}

// Changing returns the name of a term whose answer may change while a flow goes on, as that of bytes>1MB,
// or "". Without one, all packets of a flow fare alike once its owners are known.
func (f *Filter) Changing() string {
	if f == nil || f.root == nil {
		return ""
	}
	return f.root.changing()
}

func (n *node) changing() string {
	if n.kind == kindTerm {
		if n.term.amount != nil || n.term.Name == "state" || n.term.Name == "closed" {
			return n.term.Name
		}
		return ""
	}
	for _, k := range n.kids {
		if name := k.changing(); name != "" {
			return name
		}
	}
	return ""
}

// String returns the canonical text: short forms spelt out, units resolved, no needless brackets.
// It parses to an equal filter. The filter that matches everything is "".
func (f *Filter) String() string {
	if f == nil || f.root == nil {
		return ""
	}
	var b strings.Builder
	f.root.write(&b)
	return b.String()
}

func (n *node) write(b *strings.Builder) {
	switch n.kind {
	case kindNot:
		b.WriteByte('!')
		n.kids[0].writeWithin(b, n.kids[0].kind != kindTerm)
	case kindAnd, kindOr:
		between := " "
		if n.kind == kindOr {
			between = " or "
		}
		for i, k := range n.kids {
			if i > 0 {
				b.WriteString(between)
			}
			k.writeWithin(b, n.kind == kindAnd && k.kind == kindOr)
		}
	case kindTerm:
		b.WriteString(n.term.Name)
		b.WriteString(n.op)
		for i, v := range n.vals {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quote(v.text))
		}
	}
}

func (n *node) writeWithin(b *strings.Builder, brackets bool) {
	if brackets {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	n.write(b)
}
