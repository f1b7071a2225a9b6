package tui

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lotrace/lotrace/internal/filter"
	"github.com/lotrace/lotrace/internal/model"
)

// The rows of the newest frame are written, and no later one leaves a trace on them.
func TestWrite(t *testing.T) {
	var got Export
	write := func(e Export) (string, error) {
		got = e
		return "/srv/lotrace.json", nil
	}
	m := screenOf(t, Options{Sort: "-p99", Write: write}, 80, 24, shops(2), "/", "type:client:curl", "enter")
	cmd := press(m, "w", "j")
	flows := m.flows.Len()
	m.flows.Reset()
	for other := shop(3).Flows[0]; m.flows.Len() < flows; { // in the memory of those that are written
		m.flows.Append(&other)
	}
	m.Update(cmd())
	if got.Format != "json" || got.By != "pair" || got.Sort != "-p99" || got.Window.Flows.Len() != 4 {
		t.Fatalf("%+v", got)
	}
	s := got.Window
	var sum model.Count
	for f := range s.Flows.All() {
		if f.Client.Owner.Comm != "curl" || f.Turn.Histogram[model.Bucket(f.Turn.Max)] != 1 {
			t.Errorf("flow %+v", *f)
		}
		sum.Packets += f.ToServer.Packets + f.ToClient.Packets
	}
	if s.Totals.Packets != sum.Packets || s.Device != nil || s.Origin.Filter != "client:curl" {
		t.Errorf("%d packets of %d, device %v, filter %q", s.Totals.Packets, sum.Packets, s.Device, s.Origin.Filter)
	}
	if !strings.Contains(text(m), "written to /srv/lotrace.json") {
		t.Errorf("it does not say where:\n%s", text(m))
	}
	press(m, "down")
	if strings.Contains(text(m), "written to") {
		t.Error("it says so after another key")
	}
	press(m, "esc")
	press(m, "w", "c")
	if s := screenOf(t, Options{Write: write}, 80, 24, shops(1)); press(s, "g", "g", "w", "c")() == nil || got.Format != "csv" ||
		got.By != "flow" || got.Window.Device == nil {
		t.Errorf("%+v", got)
	}
}

func TestWriteFails(t *testing.T) {
	m := screenOf(t, Options{Write: func(Export) (string, error) { return "", errors.New("no room") }}, 80, 24, shops(1))
	m.Update(press(m, "w", "j")())
	if !strings.Contains(text(m), "no room") {
		t.Errorf("it does not say why:\n%s", text(m))
	}
	for _, o := range []Options{{}, {Write: m.options.Write}} {
		if s := screenOf(t, o, 80, 24, nil); press(s, "w", "j") != nil || s.said == "" {
			t.Error("something is written of nothing, or to nowhere")
		}
	}
}

// The filter of the rows on the screen matches what they stand for, and nothing else of the frame.
func TestWriteFilter(t *testing.T) {
	for _, test := range []struct {
		by, only string
		want     int // flows that match
		text     string
	}{
		{"service", "client:curl", 4, "proto:tcp addr:127.0.0.1 port:80"},
		{"pair", "port:8125 or addr:::1", 2, "proto:tcp addr:::1 port:5432 or proto:udp addr:127.0.0.1 port:8125"},
		{"flow", "port:51001", 1, "proto:tcp addr:127.0.0.1 port:6379 addr:127.0.0.1 port:51001"},
		{"process", "client:jobs", 1, "pid:61 or pid:60"},
		{"cgroup", "client:jobs", 1, "cgroup:/system.slice/jobs.service or cgroup:/system.slice/statsd.service"},
	} {
		var got Export
		m := screenOf(t, Options{By: test.by, Sort: "client", Write: func(e Export) (string, error) { got = e; return "x", nil }},
			120, 40, shops(1), "/", "type:"+test.only, "enter")
		cmd := press(m, "w", "f")
		if cmd == nil {
			t.Fatalf("by %s: %s", test.by, m.said)
		}
		cmd()
		f, err := filter.Parse(got.Filter)
		if err != nil {
			t.Fatal(err)
		}
		matched := 0
		for i := range m.flows.Len() {
			if f.Match(m.flows.At(i)) {
				matched++
			}
		}
		if matched != test.want {
			t.Errorf("by %s: %q matches %d flows", test.by, got.Filter, matched)
		}
		if got.Filter != test.text {
			t.Errorf("by %s: %q, want %q", test.by, got.Filter, test.text)
		}
		if _, exact := f.Kernel(); !exact && m.group <= groupFlow {
			t.Errorf("by %s: the kernel cannot test %q", test.by, got.Filter)
		}
	}
	strange := &model.Owner{ProcessID: model.ProcessID{TGID: 9}, PID: 9, Comm: "x", Cgroup: "/a b/[c]*?"}
	flow := model.Flow{Proto: model.ProtoTCP, Client: endpoint("127.0.0.1:1", strange), Server: endpoint("127.0.0.1:2", strange), Tally: model.Tally{ToServer: sent(1, 1)}}
	m := screenOf(t, Options{By: "cgroup"}, 80, 24, []*window{finish(1, window{Flows: []model.Flow{flow}})})
	expr, err := m.filterOfRows()
	if f, _ := filter.Parse(expr); err != nil || !f.Match(&flow) {
		t.Errorf("%q, error %v", expr, err)
	}
	if m := screenOf(t, Options{}, 80, 24, idle()); m.said != "" || press(m, "w", "f") != nil {
		t.Error("a filter of no rows")
	}
}

// A row is copied whole, whatever the screen had room for.
func TestCopy(t *testing.T) {
	m := screenOf(t, Options{}, 40, 10, []*window{names()}, "end")
	got := fmt.Sprint(press(m, "c")())
	if !strings.Contains(got, `bad \xff\xfe utf8(6)`+"\t") || strings.Count(got, "\t") != 9 {
		t.Errorf("copied %q", got)
	}
	if press(m, "c"); !strings.Contains(text(m), "copied") {
		t.Errorf("it does not say so:\n%s", text(m))
	}
	if press(screenOf(t, Options{}, 80, 24, idle()), "c") != nil {
		t.Error("copied nothing")
	}
}
