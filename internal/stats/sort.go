package stats

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// DefaultSort is the field that rows are sorted by when nobody says otherwise; every view has it.
const DefaultSort = "bytes"

// field is one name --sort takes.
type field[T any] struct {
	name    string
	text    bool // sorts ascending unless reversed; all others the largest first
	compare func(a, b *T) int
}

func text[T any](name string, compare func(a, b *T) int) field[T] {
	return field[T]{name, true, compare}
}

func number[T any](name string, compare func(a, b *T) int) field[T] {
	return field[T]{name, false, compare}
}

// counters are the fields that sum one counter over both directions.
func counters[T any](of func(*T) (a, b *model.Counters)) []field[T] {
	sum := func(name string, count func(*model.Counters) uint64) field[T] {
		both := func(row *T) uint64 {
			a, b := of(row)
			return count(a) + count(b)
		}
		return number(name, func(a, b *T) int { return cmp.Compare(both(a), both(b)) })
	}
	return []field[T]{
		sum("packets", func(c *model.Counters) uint64 { return c.Packets }),
		sum("bytes", func(c *model.Counters) uint64 { return c.Bytes }),
		sum("payload", func(c *model.Counters) uint64 { return c.PayloadBytes }),
		sum("skbs", func(c *model.Counters) uint64 { return c.SKBs }),
		sum("retransmits", func(c *model.Counters) uint64 { return c.Retransmits }),
	}
}

// latencies are the fields of turns. A row without any counts as the fastest.
func latencies[T any](of func(*T) *model.Latency) []field[T] {
	by := func(name string, value func(*model.Latency) time.Duration) field[T] {
		return number(name, func(a, b *T) int { return cmp.Compare(value(of(a)), value(of(b))) })
	}
	return []field[T]{
		number("turns", func(a, b *T) int { return cmp.Compare(of(a).Count, of(b).Count) }),
		by("p50", func(l *model.Latency) time.Duration { return l.Quantile(0.50) }),
		by("p99", func(l *model.Latency) time.Duration { return l.Quantile(0.99) }),
		by("max", func(l *model.Latency) time.Duration { return l.Max }),
	}
}

// faults is the field of what Health.Errors counts.
func faults[T any](of func(*T) *model.Health) []field[T] {
	return []field[T]{number("errors", func(a, b *T) int { return cmp.Compare(of(a).Errors(), of(b).Errors()) })}
}

// SortFields lists the fields that the view's rows can be sorted by, for help and completion.
func (v *View[T]) SortFields() []string {
	names := make([]string, len(v.fields))
	for i, f := range v.fields {
		names[i] = f.name
	}
	return names
}

// CheckSort reports whether field, with or without a leading "-", or empty for DefaultSort, is one
// of SortFields.
func (v *View[T]) CheckSort(field string) error {
	_, _, err := v.find(field)
	return err
}

// find returns the field, and -1 where its natural order is to be turned round.
func (v *View[T]) find(field string) (f *field[T], sign int, err error) {
	name, reversed := strings.CutPrefix(cmp.Or(field, DefaultSort), "-")
	i := slices.Index(v.SortFields(), name)
	if i < 0 {
		return nil, 0, fmt.Errorf("unknown sort field %q for rows by %s: need one of %s",
			name, v.name, strings.Join(v.SortFields(), ", "))
	}
	f, sign = &v.fields[i], 1
	if f.text == reversed {
		sign = -1
	}
	return f, sign, nil
}

// sortRows orders pointers and copies only the rows that are wanted: they are a few hundred bytes each,
// and of ten thousand a screen shows twenty.
func sortRows[T any](rows []T, limit, sign int, field, key func(a, b *T) int) []T {
	compare := func(a, b *T) int {
		if c := sign * field(a, b); c != 0 {
			return c
		}
		return key(a, b)
	}
	if limit <= 0 || limit > len(rows) {
		limit = len(rows)
	}
	order := make([]*T, 0, limit)
	if limit < len(rows) {
		order = firstRows(order, rows, compare)
	} else {
		for i := range rows {
			order = append(order, &rows[i])
		}
		slices.SortFunc(order, compare)
	}
	sorted := make([]T, len(order))
	for i, row := range order {
		sorted[i] = *row
	}
	return sorted
}

// firstRows fills order, up to its capacity, with the first of rows: each row is compared with the
// last that is still in, and most end there.
func firstRows[T any](order []*T, rows []T, compare func(a, b *T) int) []*T {
	for i := range rows {
		row := &rows[i]
		if len(order) == cap(order) {
			if compare(row, order[len(order)-1]) >= 0 {
				continue
			}
			order = order[:len(order)-1]
		}
		at, _ := slices.BinarySearchFunc(order, row, compare)
		order = slices.Insert(order, at, row)
	}
	return order
}

// compareFlows orders flows by their full key.
func compareFlows(a, b *model.Flow) int {
	return cmp.Or(
		compareProto(a.Proto, b.Proto),
		a.Client.AddrPort().Compare(b.Client.AddrPort()),
		a.Server.AddrPort().Compare(b.Server.AddrPort()),
		cmp.Compare(a.Netns, b.Netns),
	)
}

// compareServices orders services by their full key.
func compareServices(a, b *model.Service) int {
	return cmp.Or(
		compareProto(a.Proto, b.Proto),
		a.Server.AddrPort().Compare(b.Server.AddrPort()),
		cmp.Compare(a.Netns, b.Netns),
	)
}

// comparePairs orders pairs by their full key.
func comparePairs(a, b *model.Pair) int {
	return cmp.Or(
		compareProto(a.Proto, b.Proto),
		a.Server.AddrPort().Compare(b.Server.AddrPort()),
		compareOwners(a.Client, b.Client),
		cmp.Compare(a.Netns, b.Netns),
	)
}

// compareUsages orders processes and cgroups by name, and processes of one name by age.
func compareUsages(a, b *model.Usage) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), compareOwners(a.Owner, b.Owner))
}

func compareOwners(a, b *model.Owner) int { return Identify(a).Compare(Identify(b)) }

// compareNamed orders endpoints as people read them: by process name, then by address.
func compareNamed(a, b *model.Endpoint) int {
	return cmp.Or(strings.Compare(comm(a), comm(b)), a.AddrPort().Compare(b.AddrPort()))
}

func comm(e *model.Endpoint) string {
	if e.Owner == nil {
		return ""
	}
	return e.Owner.Comm
}

func compareProto(a, b model.Proto) int { return strings.Compare(a.String(), b.String()) }
