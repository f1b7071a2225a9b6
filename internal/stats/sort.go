package stats

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
)

// DefaultSort is the field that rows are sorted by when nobody says otherwise.
const DefaultSort = "bytes"

// sortField is one name --sort takes. It orders ascending; a view it does not fit is nil.
type sortField struct {
	name     string
	text     bool // sorts ascending unless reversed; all others the largest first
	flows    func(a, b *model.Flow) int
	services func(a, b *model.Service) int
}

// sortFields is all there is to know about --sort: validation, help and errors read it too.
var sortFields = []sortField{
	counter("packets", func(c *model.Counters) uint64 { return c.Packets }),
	counter("bytes", func(c *model.Counters) uint64 { return c.Bytes }),
	counter("payload", func(c *model.Counters) uint64 { return c.PayloadBytes }),
	counter("skbs", func(c *model.Counters) uint64 { return c.SKBs }),
	counter("retransmits", func(c *model.Counters) uint64 { return c.Retransmits }),
	{name: "flows", services: func(a, b *model.Service) int { return cmp.Compare(a.Flows, b.Flows) }},
	{name: "clients", services: func(a, b *model.Service) int { return cmp.Compare(a.Clients, b.Clients) }},
	{name: "name", text: true,
		services: func(a, b *model.Service) int { return strings.Compare(a.Name, b.Name) }},
	{name: "client", text: true,
		flows: func(a, b *model.Flow) int { return compareNamed(&a.Client, &b.Client) }},
	{name: "server", text: true,
		flows:    func(a, b *model.Flow) int { return compareNamed(&a.Server, &b.Server) },
		services: func(a, b *model.Service) int { return compareNamed(&a.Server, &b.Server) }},
	{name: "proto", text: true,
		flows:    func(a, b *model.Flow) int { return compareProto(a.Proto, b.Proto) },
		services: func(a, b *model.Service) int { return compareProto(a.Proto, b.Proto) }},
	{name: "state", text: true,
		flows: func(a, b *model.Flow) int { return strings.Compare(a.State, b.State) }},
	{name: "first", flows: func(a, b *model.Flow) int { return a.FirstSeen.Compare(b.FirstSeen) }},
	{name: "last", flows: func(a, b *model.Flow) int { return a.LastSeen.Compare(b.LastSeen) }},
}

// counter is the field that sums one counter over both directions.
func counter(name string, of func(*model.Counters) uint64) sortField {
	return sortField{
		name: name,
		flows: func(a, b *model.Flow) int {
			return cmp.Compare(of(&a.ToServer)+of(&a.ToClient), of(&b.ToServer)+of(&b.ToClient))
		},
		services: func(a, b *model.Service) int {
			return cmp.Compare(of(&a.ToServer)+of(&a.ToClient), of(&b.ToServer)+of(&b.ToClient))
		},
	}
}

// SortFields lists the fields that fit a view ("flow" or "service"), for help and completion.
func SortFields(by string) []string {
	var names []string
	for _, f := range sortFields {
		if by == "service" && f.services != nil || by == "flow" && f.flows != nil {
			names = append(names, f.name)
		}
	}
	return names
}

// CheckSort reports whether field, with or without a leading "-", or empty for DefaultSort, is one
// of SortFields(by).
func CheckSort(by, field string) error {
	_, _, err := findSort(by, field)
	return err
}

// SortFlows returns the first limit flows (0: all) in the order of field: numbers and times largest
// first, text ascending, a leading "-" the other way round, "" by DefaultSort. Equal rows come in the
// order of protocol, client and server. The flows given stay as they are. It fails if there is no
// such field.
func SortFlows(flows []model.Flow, field string, limit int) ([]model.Flow, error) {
	f, sign, err := findSort("flow", field)
	if err != nil {
		return nil, err
	}
	return sortRows(flows, limit, sign, f.flows, compareFlows), nil
}

// SortServices does to services what SortFlows does to flows.
func SortServices(services []model.Service, field string, limit int) ([]model.Service, error) {
	f, sign, err := findSort("service", field)
	if err != nil {
		return nil, err
	}
	return sortRows(services, limit, sign, f.services, compareServices), nil
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

// findSort returns the field, and -1 where its natural order is to be turned round.
func findSort(by, field string) (f *sortField, sign int, err error) {
	name, reversed := strings.CutPrefix(cmp.Or(field, DefaultSort), "-")
	if !slices.Contains(SortFields(by), name) {
		return nil, 0, fmt.Errorf("unknown sort field %q: need one of %s", name, strings.Join(SortFields(by), ", "))
	}
	i := slices.IndexFunc(sortFields, func(f sortField) bool { return f.name == name })
	f, sign = &sortFields[i], 1
	if f.text == reversed {
		sign = -1
	}
	return f, sign, nil
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
