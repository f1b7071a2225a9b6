package stats

import (
	"cmp"
	"slices"
	"strings"

	"github.com/lotrace/lotrace/internal/model"
)

// View is one way to look at flows: rolled up to rows of T, which can be sorted.
type View[T any] struct {
	name   string
	rollUp func(*model.Flows) []T
	fields []field[T]
	key    func(a, b *T) int // brings rows that a field does not tell apart into one order
}

// The views, each named as --by takes it.
var (
	FlowView = &View[model.Flow]{
		name:   "flow",
		rollUp: (*model.Flows).Slice,
		fields: slices.Concat(
			counters(func(f *model.Flow) (a, b *model.Counters) { return &f.ToServer, &f.ToClient }),
			latencies(func(f *model.Flow) *model.Latency { return &f.Turn }),
			faults(func(f *model.Flow) *model.Health { return f.Health }),
			[]field[model.Flow]{
				text("client", func(a, b *model.Flow) int { return compareNamed(&a.Client, &b.Client) }),
				text("server", func(a, b *model.Flow) int { return compareNamed(&a.Server, &b.Server) }),
				text("proto", func(a, b *model.Flow) int { return compareProto(a.Proto, b.Proto) }),
				text("state", func(a, b *model.Flow) int { return strings.Compare(a.State, b.State) }),
				number("first", func(a, b *model.Flow) int { return a.FirstSeen.Compare(b.FirstSeen) }),
				number("last", func(a, b *model.Flow) int { return a.LastSeen.Compare(b.LastSeen) }),
			}),
		key: compareFlows,
	}

	ServiceView = &View[model.Service]{
		name:   "service",
		rollUp: Services,
		fields: slices.Concat(
			counters(func(s *model.Service) (a, b *model.Counters) { return &s.ToServer, &s.ToClient }),
			latencies(func(s *model.Service) *model.Latency { return &s.Turn }),
			faults(func(s *model.Service) *model.Health { return s.Health }),
			[]field[model.Service]{
				number("flows", func(a, b *model.Service) int { return cmp.Compare(a.Flows, b.Flows) }),
				number("clients", func(a, b *model.Service) int { return cmp.Compare(a.Clients, b.Clients) }),
				text("name", func(a, b *model.Service) int { return strings.Compare(a.Name, b.Name) }),
				text("server", func(a, b *model.Service) int { return compareNamed(&a.Server, &b.Server) }),
				text("proto", func(a, b *model.Service) int { return compareProto(a.Proto, b.Proto) }),
			}),
		key: compareServices,
	}

	PairView = &View[model.Pair]{
		name:   "pair",
		rollUp: Pairs,
		fields: slices.Concat(
			counters(func(p *model.Pair) (a, b *model.Counters) { return &p.ToServer, &p.ToClient }),
			latencies(func(p *model.Pair) *model.Latency { return &p.Turn }),
			faults(func(p *model.Pair) *model.Health { return p.Health }),
			[]field[model.Pair]{
				number("flows", func(a, b *model.Pair) int { return cmp.Compare(a.Flows, b.Flows) }),
				text("name", func(a, b *model.Pair) int {
					return cmp.Or(strings.Compare(a.ClientName, b.ClientName), strings.Compare(a.ServiceName, b.ServiceName))
				}),
				text("client", func(a, b *model.Pair) int { return strings.Compare(a.ClientName, b.ClientName) }),
				text("server", func(a, b *model.Pair) int { return compareNamed(&a.Server, &b.Server) }),
				text("proto", func(a, b *model.Pair) int { return compareProto(a.Proto, b.Proto) }),
			}),
		key: comparePairs,
	}

	ProcessView = usageView("process", Processes)
	CgroupView  = usageView("cgroup", Cgroups)
)

func usageView(name string, rollUp func(*model.Flows) []model.Usage) *View[model.Usage] {
	return &View[model.Usage]{
		name:   name,
		rollUp: rollUp,
		fields: slices.Concat(
			counters(func(u *model.Usage) (a, b *model.Counters) { return &u.ToServer, &u.ToClient }),
			latencies(func(u *model.Usage) *model.Latency { return &u.Turn }),
			faults(func(u *model.Usage) *model.Health { return u.Health }),
			[]field[model.Usage]{
				number("sent", func(a, b *model.Usage) int { return cmp.Compare(a.ToServer.Bytes, b.ToServer.Bytes) }),
				number("received", func(a, b *model.Usage) int { return cmp.Compare(a.ToClient.Bytes, b.ToClient.Bytes) }),
				number("flows", func(a, b *model.Usage) int { return cmp.Compare(a.Flows, b.Flows) }),
				text("name", func(a, b *model.Usage) int { return strings.Compare(a.Name, b.Name) }),
			}),
		key: compareUsages,
	}
}

// Name is the view's name.
func (v *View[T]) Name() string { return v.name }

// Rows rolls the flows up and returns the first limit rows (0: all) in the order of field, and how
// many there are in all. Numbers and times come largest first, text ascends, a leading "-" turns
// either round; "" is DefaultSort. The flows given stay as they are. It fails as CheckSort does.
func (v *View[T]) Rows(flows *model.Flows, field string, limit int) (rows []T, total int, err error) {
	f, sign, err := v.find(field)
	if err != nil {
		return nil, 0, err
	}
	rows = v.rollUp(flows)
	return sortRows(rows, limit, sign, f.compare, v.key), len(rows), nil
}
