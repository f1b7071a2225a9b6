package filter

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lotrace/lotrace/internal/suggest"
)

// The limits bound the work that an expression can cause.
const (
	maxLen   = 4096 // bytes, as given and in canonical form
	maxDepth = 64   // brackets within brackets
)

// Parse reads an expression. An empty one, or white space alone, matches everything. The error is
// always an *Error.
func Parse(expr string) (*Filter, error) {
	tooLong := &Error{Expr: expr, Msg: fmt.Sprintf("expression is longer than %d bytes", maxLen)}
	if len(expr) > maxLen {
		return nil, tooLong
	}
	p := parser{in: expr}
	if p.skipSpace(); p.done() {
		return &Filter{}, nil
	}
	root, err := p.or()
	if err == nil && !p.done() { // only a bracket ends an expression early
		err = p.fail(p.pos, ")", "no bracket is open before")
	}
	if err != nil {
		return nil, err
	}
	f := &Filter{root: root}
	if len(f.String()) > maxLen {
		return nil, tooLong
	}
	return f, nil
}

// parser descends recursively: or, and, not, then a group or a term. Each step begins at a
// non-space character and skips the white space behind what it read.
type parser struct {
	in    string
	pos   int   // byte offset
	depth int   // open brackets
	bare  *term // the term before, if its value was a word of its own and an operator follows
}

func (p *parser) done() bool { return p.pos == len(p.in) }

func (p *parser) at(c byte) bool { return !p.done() && p.in[p.pos] == c }

func isSpace(c byte) bool { return strings.IndexByte(space, c) >= 0 }

func (p *parser) skipSpace() {
	for !p.done() && isSpace(p.in[p.pos]) {
		p.pos++
	}
}

// peek returns the text from here up to white space or one of the bytes in stop.
func (p *parser) peek(stop string) string {
	end := p.pos
	for end < len(p.in) && !isSpace(p.in[end]) && strings.IndexByte(stop, p.in[end]) < 0 {
		end++
	}
	return p.in[p.pos:end]
}

const (
	space     = " \t\r\n"
	nameStop  = `:<>=(),"`
	valueStop = `(),"`
)

// keyword reads past one of the given words, if it is next.
func (p *parser) keyword(words ...string) bool {
	w := p.peek(nameStop)
	if !slices.Contains(words, strings.ToLower(w)) {
		return false
	}
	p.pos += len(w)
	p.skipSpace()
	return true
}

func (p *parser) fail(pos int, word, msg string) *Error {
	return &Error{Expr: p.in, Pos: utf8.RuneCountInString(p.in[:pos]) + 1, Word: word, Msg: msg}
}

func (p *parser) or() (*node, error) {
	var kids []*node
	for {
		k, err := p.and()
		if err != nil {
			return nil, err
		}
		kids = append(kids, k)
		if !p.keyword("or", "||") {
			return join(kindOr, kids), nil
		}
	}
}

func (p *parser) and() (*node, error) {
	var kids []*node
	for {
		k, err := p.not()
		if err != nil {
			return nil, err
		}
		kids = append(kids, k)
		if p.keyword("and", "&&") {
			continue
		}
		if p.done() || p.at(')') || isOr(p.peek(nameStop)) {
			return join(kindAnd, kids), nil
		}
		p.bare = nil // "port 80 443" is no list
	}
}

func isOr(word string) bool { return word == "||" || strings.EqualFold(word, "or") }

func isAnd(word string) bool { return word == "&&" || strings.EqualFold(word, "and") }

// join makes one node of kids, taking in those of the same kind.
func join(kind nodeKind, kids []*node) *node {
	if len(kids) == 1 {
		return kids[0]
	}
	n := &node{kind: kind}
	for _, k := range kids {
		if k.kind == kind {
			n.kids = append(n.kids, k.kids...)
		} else {
			n.kids = append(n.kids, k)
		}
	}
	return n
}

func (p *parser) not() (*node, error) {
	negate := false
	for {
		if p.at('!') {
			p.pos++
			p.skipSpace()
		} else if !p.keyword("not") {
			break
		}
		negate = !negate
	}
	n, err := p.operand()
	if err != nil || !negate {
		return n, err
	}
	if n.kind == kindNot {
		return n.kids[0], nil
	}
	return &node{kind: kindNot, kids: []*node{n}}, nil
}

func (p *parser) operand() (*node, error) {
	if !p.at('(') {
		return p.readTerm()
	}
	open := p.pos
	if p.depth == maxDepth {
		return nil, p.fail(open, "", fmt.Sprintf("brackets nest deeper than %d", maxDepth))
	}
	p.depth++
	p.pos++
	p.skipSpace()
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.done() {
		return nil, p.fail(open, "(", "nothing closes")
	}
	p.depth--
	p.pos++ // or returns at the end or at a closing bracket only
	p.skipSpace()
	return n, nil
}

// readTerm reads name:value, name OP number, a bare short form, or a name and a value as two words, of which
// the name may be missing if it is that of the term before.
func (p *parser) readTerm() (*node, error) {
	start := p.pos
	name := p.peek(nameStop)
	if n := p.another(name); n != nil {
		return n, nil
	}
	if err := p.missingTerm(name); err != nil {
		return nil, err
	}
	p.bare = nil
	p.pos += len(name)
	op := p.operator()

	short, isShort := shortForms[strings.ToLower(name)]
	if isShort && op == "" {
		p.skipSpace()
		return short.node(), nil
	}
	t := lookup(name)
	switch {
	case t != nil:
	case isShort:
		return nil, p.fail(start, name, "no value can follow")
	default:
		return nil, p.unknownTerm(start, name, op)
	}

	if op == "" && t.twoWords {
		op, p.bare = ":", t
		p.skipSpace()
	}
	if err := p.checkOperator(t, start, name, op); err != nil {
		return nil, err
	}
	return p.values(t, start, name, op)
}

// another reads one more value for the term before, as in "port 80 or 443"; nil: there is none.
func (p *parser) another(name string) *node {
	if p.bare == nil || p.done() || p.at('"') || lookup(name) != nil || isOr(name) || isAnd(name) {
		return nil
	}
	if _, isShort := shortForms[strings.ToLower(name)]; isShort {
		return nil
	}
	text := p.peek(valueStop)
	vals, bad := p.bare.parse(text)
	if bad != nil {
		return nil
	}
	p.pos += len(text)
	p.skipSpace()
	return &node{kind: kindTerm, term: p.bare, op: ":", vals: vals}
}

// unknownTerm complains about a name, and of tcpdump's knows what to write instead.
func (p *parser) unknownTerm(start int, name, op string) *Error {
	switch word, _, isByte := strings.Cut(strings.ToLower(name), "["); {
	case word == "src" || word == "dst":
		return p.fail(start, name, "a flow has both directions; of one end say caddr, cport, saddr or sport, not")
	case isByte:
		return p.fail(start, name, "bytes of packets cannot be tested, as in")
	}
	err := p.fail(start, name, "unknown term")
	err.Suggest = suggest.Nearest(name, names(op == ""))
	return err
}

// missingTerm complains when what is next cannot begin a term.
func (p *parser) missingTerm(name string) error {
	switch {
	case p.done():
		return p.fail(p.pos, "", "a term is missing")
	case isOr(name) || isAnd(name):
		return p.fail(p.pos, name, "a term is missing before")
	case p.at(')'):
		return p.fail(p.pos, ")", "a term is missing before")
	case name == "":
		return p.fail(p.pos, p.in[p.pos:p.pos+1], "a term cannot begin with")
	}
	return nil
}

// operator reads past ":" right here or a comparison, which may stand apart, and returns it; or
// stays and returns "".
func (p *parser) operator() string {
	if p.at(':') {
		p.pos++
		return ":"
	}
	rest := strings.TrimLeft(p.in[p.pos:], space)
	for _, op := range []string{">=", "<=", ">", "<", "="} {
		if strings.HasPrefix(rest, op) {
			p.pos = len(p.in) - len(rest) + len(op)
			p.skipSpace()
			return op
		}
	}
	return ""
}

// checkOperator complains when op is not one of t's: amounts compare, all others take a colon.
func (p *parser) checkOperator(t *term, start int, name, op string) error {
	var msg string
	switch {
	case op == "":
		msg = "no value for"
	case t.amount != nil && op == ":":
		msg = "a comparison must follow"
	case t.amount == nil && op != ":":
		msg = "a colon must follow"
	default:
		return nil
	}
	err := p.fail(start, name, msg)
	err.Suggest = t.Example
	return err
}

// values reads the alternatives behind an operator.
func (p *parser) values(t *term, start int, name, op string) (*node, error) {
	n := &node{kind: kindTerm, term: t, op: op}
	for more := true; more; {
		at := p.pos
		text, err := p.value()
		if err != nil {
			return nil, err
		}
		if text == "" {
			err := p.fail(start, name, "no value for")
			err.Suggest = t.Example
			return nil, err
		}
		vals, bad := t.parse(text)
		if bad != nil {
			bad.Expr, bad.Pos, bad.Word = p.in, p.fail(at, "", "").Pos, text
			return nil, bad
		}
		n.vals = append(n.vals, vals...)
		if more = p.at(','); more {
			if t.amount != nil {
				return nil, p.fail(start, name, "no list of numbers can follow")
			}
			p.pos++
		}
	}
	p.skipSpace()
	return n, nil
}

// value reads one alternative: text between quotes as it stands, or up to the next delimiter.
func (p *parser) value() (string, error) {
	if !p.at('"') {
		v := p.peek(valueStop)
		p.pos += len(v)
		return v, nil
	}
	text, _, closed := strings.Cut(p.in[p.pos+1:], `"`)
	if !closed {
		return "", p.fail(p.pos, `"`, "nothing closes")
	}
	p.pos += len(text) + 2
	return text, nil
}

// quote is the way back from value: what has to be written so that text is read again. No value
// holds a quotation mark, since nothing could stand for it.
func quote(text string) string {
	if strings.ContainsAny(text, space+valueStop) {
		return `"` + text + `"`
	}
	return text
}
