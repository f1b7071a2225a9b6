package export

import (
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// The types below are JSON, version 1, as docs/json.md documents it: names and order are a promise
// to scripts, and change only by adding. A nil pointer is null: unknown.

type document struct {
	summary
	Rows []any `json:"rows"`
}

// summary is a document without its rows.
type summary struct {
	Schema      string      `json:"schema"`
	Kind        string      `json:"kind"`
	Start       *string     `json:"start"`
	End         *string     `json:"end"`
	DurationNs  int64       `json:"duration_ns"`
	Source      source      `json:"source"`
	Totals      totals      `json:"totals"`
	Device      *device     `json:"device"`
	Stages      *stages     `json:"stages"`
	Attribution attribution `json:"attribution"`
	Samples     samples     `json:"samples"`
	Self        self        `json:"self"`
	Limited     int         `json:"limited"`
	Uncounted   uint64      `json:"untold"`
	SlowLost    uint64      `json:"slow_lost"`
	Slow        []slowRow   `json:"slow"` // null unless they were asked for
}

type source struct {
	Host   *string `json:"host"`
	Kernel *string `json:"kernel"`
	Netns  uint32  `json:"netns"`
	Device *string `json:"device"`
	Hook   *string `json:"hook"`
	Filter *string `json:"filter"`
}

type totals struct {
	Packets    uint64   `json:"packets"`
	Bytes      uint64   `json:"bytes"`
	SKBs       uint64   `json:"skbs"`
	Flows      int      `json:"flows"`
	Overflow   overflow `json:"overflow"`
	Hidden     hidden   `json:"hidden"`
	Unmeasured uint64   `json:"unmeasured"`
}

// hidden is what the rest of the totals leaves out.
type hidden struct {
	Flows   int    `json:"flows"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

type overflow struct {
	Packets uint64           `json:"packets"`
	Bytes   uint64           `json:"bytes"`
	ByCause map[string]cause `json:"by_cause"`
}

type cause struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

type device struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Dropped uint64 `json:"dropped"`
	Agrees  bool   `json:"agrees"`
}

type stages struct {
	Egress         stage `json:"egress"`
	Ingress        stage `json:"ingress"`
	MissingPackets int64 `json:"missing_packets"`
}

type stage struct {
	SKBs    uint64 `json:"skbs"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// attribution counts flows by how many of their two owners are known.
type attribution struct {
	Flows int `json:"flows"`
	Both  int `json:"both"`
	One   int `json:"one"`
	None  int `json:"none"`
}

type samples struct {
	Seen  uint64 `json:"seen"`
	Taken uint64 `json:"taken"`
	Lost  uint64 `json:"lost"`
}

type self struct {
	BPFNsPerPacket *float64 `json:"bpf_ns_per_packet"`
	CPUPercent     float64  `json:"cpu_percent"`
	RSSBytes       uint64   `json:"rss_bytes"`
}

// summarize says everything about a window but its rows, of which limited are not shown.
func summarize(s *model.Window, limited int) summary {
	doc := summary{
		Schema:     "lotrace/v1",
		Kind:       "flows",
		Start:      timestamp(s.Start),
		End:        timestamp(s.End),
		DurationNs: s.Duration.Nanoseconds(),
		Source:     newSource(&s.Origin),
		Totals: totals{
			Packets: s.Totals.Packets,
			Bytes:   s.Totals.Bytes,
			SKBs:    s.Totals.SKBs,
			Flows:   s.Flows.Len(),
			Overflow: overflow{
				Packets: s.Overflow.Packets,
				Bytes:   s.Overflow.Bytes,
				ByCause: make(map[string]cause, len(s.ByCause)),
			},
			Hidden:     hidden{Flows: s.Hidden.Flows, Packets: s.Hidden.Packets, Bytes: s.Hidden.Bytes},
			Unmeasured: s.Unmeasured,
		},
		Stages:      stagesOf(s.Stages),
		Attribution: attribute(s.Flows),
		Samples:     samples{Seen: s.Samples.Seen, Taken: s.Samples.Taken, Lost: s.Samples.Lost()},
		Self: self{
			BPFNsPerPacket: known(&s.Self.BPFNsPerPacket),
			CPUPercent:     s.Self.CPUPercent,
			RSSBytes:       s.Self.RSSBytes,
		},
		Limited:   limited,
		Uncounted: s.Uncounted,
		SlowLost:  s.SlowLost,
		Slow:      slowRows(s),
	}
	for name, c := range s.ByCause {
		doc.Totals.Overflow.ByCause[name] = cause{Packets: c.Packets, Bytes: c.Bytes}
	}
	if d := s.Device; d != nil {
		doc.Device = &device{Packets: d.Packets, Bytes: d.Bytes, Dropped: d.Dropped, Agrees: d.Agrees}
	}
	return doc
}

// newSource points into o.
func newSource(o *model.Origin) source {
	site := o.Site()
	return source{
		Host:   known(&o.Host),
		Kernel: known(&o.Kernel),
		Netns:  site.Netns,
		Device: known(&site.Device),
		Hook:   known(&site.Hook),
		Filter: known(&o.Filter),
	}
}

func stagesOf(s *model.Stages) *stages {
	if s == nil {
		return nil
	}
	return &stages{
		Egress:         stage(s.Egress),
		Ingress:        stage(s.Ingress),
		MissingPackets: missing(s),
	}
}

// missing is how many packets left egress and did not reach ingress; below zero when more of an
// earlier window's packets arrived in this one than it still has under way itself.
func missing(s *model.Stages) int64 { return int64(s.Egress.Packets - s.Ingress.Packets) }

func attribute(flows *model.Flows) attribution {
	a := attribution{Flows: flows.Len()}
	for f := range flows.All() {
		switch client, server := f.Client.Owner, f.Server.Owner; {
		case client != nil && server != nil:
			a.Both++
		case client != nil || server != nil:
			a.One++
		default:
			a.None++
		}
	}
	return a
}

// known returns v, or nil where it holds its type's zero value and that stands for unknown.
func known[T comparable](v *T) *T {
	var unknown T
	if *v == unknown {
		return nil
	}
	return v
}

// timestamp is RFC 3339 with all nine digits, so that stamps sort as text; the zero time is unknown.
func timestamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format("2006-01-02T15:04:05.000000000Z07:00")
	return &s
}
