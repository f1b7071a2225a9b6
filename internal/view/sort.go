package view

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/model"
)

// DefaultSort is what rows are sorted by when nobody says otherwise; every view has it.
const DefaultSort = "bytes"

// label is a word that rows are sorted by which is no measure.
type label struct {
	name string
	text bool                           // sorts ascending unless reversed; all others the largest first
	of   func(*rank, *Row)              // fills in what it goes by
	end  func(*Position) netip.AddrPort // tells apart what has one text; nil: nothing does
}

var labels = []label{
	{"name", true, func(k *rank, r *Row) { k.text = [2]string{cmp.Or(r.ClientName, r.Name), r.ServiceName} }, nil},
	{"client", true, func(k *rank, r *Row) { k.text[0] = cmp.Or(r.ClientName, comm(&r.Client)) }, (*Position).clientEnd},
	{"server", true, func(k *rank, r *Row) { k.text[0] = comm(&r.Server) }, (*Position).serverEnd},
	{"proto", true, func(k *rank, r *Row) { k.text[0] = r.Proto.String() }, nil},
	{"command", true, func(k *rank, r *Row) {
		k.text[0] = ofOwner(r, func(o *model.Owner) string { return cmp.Or(o.Cmdline, o.Exe) })
	}, nil},
	{"unit", true, func(k *rank, r *Row) {
		k.text[0] = ofOwner(r, func(o *model.Owner) string { return cmp.Or(o.Unit, human.Container(o)) })
	}, nil},
	{"state", true, func(k *rank, r *Row) { k.text[0] = r.Flow.State }, nil},
	{"first", false, func(k *rank, r *Row) { k.value = instant(r.Flow.FirstSeen) }, nil},
	{"last", false, func(k *rank, r *Row) { k.value = instant(r.Flow.LastSeen) }, nil},
}

// rank is what a row is sorted by, taken out of it once.
type rank struct {
	value    uint64
	text     [2]string
	position Position
	at       int32 // which row
}

// order is how rows are sorted.
type order struct {
	of       func(*rank, *Row)
	end      func(*Position) netip.AddrPort
	names    bool // it may go by the rows' names
	sign     int  // -1: the largest comes first
	textSign int
}

func (o *order) compare(a, b *rank) int {
	if c := cmp.Compare(a.value, b.value); c != 0 {
		return o.sign * c
	}
	if c := cmp.Or(strings.Compare(a.text[0], b.text[0]), strings.Compare(a.text[1], b.text[1])); c != 0 {
		return o.textSign * c
	}
	if o.end != nil {
		if c := o.end(&a.position).Compare(o.end(&b.position)); c != 0 {
			return o.textSign * c
		}
	}
	return a.position.Compare(&b.position)
}

// SortWords lists what the view's rows can be sorted by, for help and completion.
func (b *By) SortWords() []string {
	var words []string
	for _, m := range b.Measures() {
		if m.Sort != "" {
			words = append(words, m.Sort)
		}
	}
	return append(words, b.labels...)
}

// CheckSort reports whether word, with or without a leading "-", or empty for DefaultSort, is one of SortWords.
func (b *By) CheckSort(word string) error {
	_, err := b.order(word)
	return err
}

func (b *By) order(word string) (*order, error) {
	name, reversed := strings.CutPrefix(cmp.Or(word, DefaultSort), "-")
	if !slices.Contains(b.SortWords(), name) {
		return nil, fmt.Errorf("unknown sort field %q for rows by %s: need one of %s", name, b.Name, strings.Join(b.SortWords(), ", "))
	}
	o := &order{sign: -1, textSign: 1, names: b.ofEnd != nil} // which come in the order of their names
	text := IsText(name)
	if i := slices.IndexFunc(labels, func(l label) bool { return l.name == name }); i >= 0 {
		o.of, o.end, o.names = labels[i].of, labels[i].end, true
	} else {
		m := b.sorting(name)
		o.of = func(k *rank, r *Row) { k.value, _ = m.Of(r) }
	}
	switch {
	case reversed && text:
		o.textSign = -1
	case reversed:
		o.sign = 1
	}
	return o, nil
}

// Rows is some rows of a roll-up, in an order.
type Rows struct {
	roll  *Roll
	ranks []*rank
}

// Len is how many they are.
func (r Rows) Len() int { return len(r.ranks) }

// All goes over the rows. Each is valid until the next, or until the roll-up changes.
func (r Rows) All() iter.Seq[*Row] {
	return func(yield func(*Row) bool) {
		for _, k := range r.ranks {
			if !yield(r.roll.Named(r.roll.row(k))) {
				return
			}
		}
	}
}

// Rows returns the first limit rows (0: all) in the order of word. Numbers and times come largest first, unknown
// ones as 0; text ascends; a leading "-" turns either round; "" is DefaultSort. It fails as CheckSort does.
func (r *Roll) Rows(word string, limit int) (Rows, error) {
	o, err := r.by.order(word)
	if err != nil {
		return Rows{}, err
	}
	n := r.Len()
	if limit <= 0 || limit > n {
		limit = n
	}
	all := make([]rank, limit)
	ranks := make([]*rank, 0, limit)
	for k := range r.ranks(o) {
		at := len(ranks)
		if at < limit {
			all[at] = *k
			ranks = append(ranks, &all[at])
			if len(ranks) == limit {
				slices.SortFunc(ranks, o.compare)
			}
			continue
		}
		// Each is compared with the last that is still in, and most end there.
		last := ranks[limit-1]
		if o.compare(k, last) < 0 {
			*last = *k
			at, _ = slices.BinarySearchFunc(ranks[:limit-1], k, o.compare)
			copy(ranks[at+1:], ranks[at:limit-1])
			ranks[at] = last
		}
	}
	return Rows{r, ranks}, nil
}

// ranks goes over the ranks of all rows; each is valid until the next.
func (r *Roll) ranks(o *order) iter.Seq[*rank] {
	return func(yield func(*rank) bool) {
		var k rank
		for at := range r.Len() {
			k = rank{at: int32(at)}
			row := r.row(&k)
			if o.names {
				r.Named(row)
			}
			k.position = row.Position()
			if r.by.ofEnd != nil {
				k.text[0] = row.Name
			}
			o.of(&k, row)
			if !yield(&k) {
				return
			}
		}
	}
}

// row returns the row of a rank; by flow it is valid until the next.
func (r *Roll) row(k *rank) *Row {
	if !r.by.each {
		return r.At(int(k.at))
	}
	at := int(k.at)
	for _, flows := range r.flows {
		if at < flows.Len() {
			f := flows.At(at)
			r.one.show(f)
			break
		}
		at -= flows.Len()
	}
	return &r.one
}

// instant is a time as a number that sorts like it; the zero time is 0.
func instant(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano()) ^ 1<<63
}

// IsText reports whether rows come in ascending order of a word, not the largest first.
func IsText(word string) bool {
	i := slices.IndexFunc(labels, func(l label) bool { return l.name == word })
	return i >= 0 && labels[i].text
}

// Ranking returns a function that says what a row is sorted by with a word: a number, or a text; of a word that the
// view does not have, neither. The row must have its names.
func (b *By) Ranking(word string) func(*Row) (number uint64, text string) {
	o, err := b.order(word)
	if err != nil {
		return func(*Row) (uint64, string) { return 0, "" }
	}
	var k rank
	return func(r *Row) (uint64, string) {
		k = rank{}
		o.of(&k, r)
		return k.value, strings.TrimSuffix(k.text[0]+"\x00"+k.text[1], "\x00")
	}
}

func ofOwner(r *Row, of func(*model.Owner) string) string {
	if r.Owner == nil {
		return ""
	}
	return of(r.Owner)
}

func comm(e *model.Endpoint) string {
	if e.Owner == nil {
		return ""
	}
	return e.Owner.Comm
}
