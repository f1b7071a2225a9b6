package export

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/model"
)

// additions are the fields that came after the contract's example was written.
var additions = []string{
	"device.dropped", "stages", "limited",
	"totals.hidden.flows", "totals.hidden.packets", "totals.hidden.bytes", "totals.unmeasured",
	"rows.client.host_pid", "rows.client.container_name", "rows.server.host_pid", "rows.server.container_name",
	"rows.to_server.retrans_bytes", "rows.to_client.retrans_bytes",
	"rows.cwnd.client", "rows.cwnd.server", "rows.crossed",
	"untold", "slow_lost", "slow",
	"rows.errors", "rows.health", "rows.breakdown", "rows.accept_ns", "rows.first_byte_ns",
}

// testdata/contract.json is the documented example: each of its fields, in its order, of its type.
func TestJSONKeepsContract(t *testing.T) {
	example, err := os.ReadFile("testdata/contract.json")
	if err != nil {
		t.Fatal(err)
	}
	s := owned()
	s.Flows = s.Flows[:1]
	text := encode(t, "json", Options{}, s)

	want, got := paths(t, string(example)), paths(t, text)
	got = slices.DeleteFunc(got, func(p string) bool { return slices.Contains(additions, p) })
	if !slices.Equal(got, want) {
		t.Errorf("got fields\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	sameTypes(t, "", decode(t, string(example)), decode(t, text))
}

// paths lists the leaves of a JSON text in their order, an array's elements as one.
func paths(t *testing.T, text string) []string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	var out []string
	var walk func(prefix string)
	walk = func(prefix string) {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch token {
		case json.Delim('{'):
			for d.More() {
				key, err := d.Token()
				if err != nil {
					t.Fatal(err)
				}
				walk(strings.TrimPrefix(prefix+"."+key.(string), "."))
			}
			_, _ = d.Token()
		case json.Delim('['):
			for d.More() {
				walk(prefix)
			}
			_, _ = d.Token()
		default:
			if !slices.Contains(out, prefix) {
				out = append(out, prefix)
			}
		}
	}
	walk("")
	return out
}

// sameTypes holds got against the example; null may stand on either side.
func sameTypes(t *testing.T, path string, example, got any) {
	t.Helper()
	switch example := example.(type) {
	case nil:
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s: got %v, want an object", path, got)
			return
		}
		for name, value := range example {
			sameTypes(t, path+"."+name, value, object[name])
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) == 0 {
			t.Errorf("%s: got %v, want a list", path, got)
			return
		}
		sameTypes(t, path, example[0], list[0])
	default:
		if got != nil && jsonType(example) != jsonType(got) {
			t.Errorf("%s: got %v, want something like %v", path, got, example)
		}
	}
}

func jsonType(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case json.Number:
		return "number"
	}
	return "?"
}

// at follows a dotted path; rows are counted from 0: "rows.0.client.pid".
func at(t *testing.T, doc any, path string) any {
	t.Helper()
	for name := range strings.SplitSeq(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
			field, ok := v[name]
			if !ok {
				t.Fatalf("%s: no field %q", path, name)
			}
			doc = field
		case []any:
			doc = v[name[0]-'0']
		default:
			t.Fatalf("%s: no object above %q", path, name)
		}
	}
	if n, ok := doc.(json.Number); ok {
		return n.String()
	}
	return doc
}

func TestJSONValues(t *testing.T) {
	tests := []struct {
		name string
		s    *window
		o    Options
		want map[string]any
	}{
		{"nothing known", usual(), Options{}, map[string]any{
			"start": "2026-03-01T12:00:00.000005000Z", "duration_ns": "1000000000",
			"totals.packets": "98777864", "totals.flows": "6", "source.filter": nil, "stages": nil,
			"device.agrees": true, "attribution.none": "6", "self.bpf_ns_per_packet": "143.5",
			"rows.1.client.port": "51234", "rows.1.client.pid": nil, "rows.1.client.comm": nil,
			"rows.1.client.uid": nil, "rows.1.client.owner_source": nil,
			"rows.1.srtt_ns.client": "41000", "rows.0.srtt_ns.client": nil, "rows.0.family": "ipv6",
			"rows.1.cwnd.server": "124", "rows.0.cwnd.server": nil, "rows.0.to_client.retrans_bytes": "66",
			"rows.2.state": "time-wait", "rows.2.closed": true, "rows.3.state": nil,
			"rows.1.turn.count": "4", "rows.1.turn.sum_ns": "3871000", "rows.1.turn.min_ns": "180000", "rows.1.turn.p50_ns": "253687",
			"rows.1.turn.p90_ns": "3190000", "rows.1.turn.p99_ns": "3190000", "rows.1.turn.max_ns": "3190000",
			"rows.1.response.count": "3", "rows.1.response.max_ns": "4000000", "rows.1.crossed": "2",
			"rows.4.turn.count": "0", "rows.4.turn.sum_ns": "0", "rows.4.turn.min_ns": nil, "rows.4.turn.p50_ns": nil,
			"rows.4.turn.p90_ns": nil, "rows.4.turn.p99_ns": nil, "rows.4.turn.max_ns": nil, "rows.4.response.count": "0",
			"rows.4.response.max_ns": nil, "rows.4.crossed": "0", "rows.1.connect_ns": nil,
			"rows.4.proto": "icmp", "rows.4.client.port": "4711", "rows.4.server.port": "0",
			"rows.5.proto": "47", "rows.5.client.port": nil, "rows.5.server.port": nil,
		}},
		{"owners", owned(), Options{}, map[string]any{
			"attribution.flows": "3", "attribution.both": "2", "attribution.one": "1", "attribution.none": "0",
			"rows.0.client.cmdline": "curl <&> \x1b[2J", "rows.0.client.uid": "1000",
			"rows.0.client.container": "0123456789ab", "rows.0.client.container_name": nil,
			"rows.0.client.pid": "311", "rows.0.client.host_pid": "100311",
			"rows.0.server.uid": "0", "rows.0.server.exe": nil, "rows.0.server.owner_source": "scan",
		}},
		{"services", owned(), Options{By: "service"}, map[string]any{
			"kind": "flows", "totals.flows": "3", "rows.0.service": "nginx", "rows.0.flows": "2", "rows.0.clients": "2",
			"rows.0.server.pid": nil, "rows.0.server.comm": "nginx", "rows.0.to_client.bytes": "770000",
			"rows.0.turn.count": "0",
		}},
		{"service without ports", usual(), Options{By: "service", Sort: "-proto"}, map[string]any{
			"rows.4.service": "47", "rows.4.server.port": nil,
		}},
		{"pairs", crowd(), Options{By: "pair", Sort: "name"}, map[string]any{
			"kind": "flows", "totals.flows": "11", "totals.hidden.flows": "2", "totals.hidden.packets": "8",
			"totals.hidden.bytes": "1249", "device.agrees": true,
			"rows.1.pair": "127.0.0.1 → kernel", "rows.1.client.pid": nil, "rows.1.client.owner_source": nil,
			"rows.1.server.pid": nil, "rows.1.server.host_pid": nil, "rows.1.server.comm": "kernel",
			"rows.1.server.owner_source": "kernel", "rows.1.server.port": nil,
			"rows.2.pair": "? → nginx", "rows.2.flows": "2", "rows.2.server.uid": nil, "rows.2.server.unit": "nginx.service",
			"rows.3.pair": "api → postgres", "rows.3.client.addr": nil, "rows.3.client.port": nil,
			"rows.3.client.pid": nil, "rows.3.client.host_pid": "100000", "rows.3.client.container_name": "shop-api-1",
			"rows.3.server.addr": "127.0.0.1", "rows.3.server.port": "5432", "rows.3.server.owner_source": "scan",
			"rows.4.pair": "curl → nginx", "rows.4.flows": "2", "rows.4.client.pid": "311", "rows.4.server.pid": nil,
			"rows.4.server.uid": "33", "rows.4.to_client.bytes": "1210000", "rows.4.turn.count": "7",
			"rows.4.turn.max_ns": "140000000000", "rows.4.response.sum_ns": "230210000000",
			"rows.5.pair": "curl → nginx", "rows.5.flows": "1", "rows.5.server.pid": "82", "rows.5.response.p50_ns": "5000000",
		}},
		{"processes", crowd(), Options{By: "process", Sort: "name"}, map[string]any{
			"rows.1.process.comm": nil, "rows.1.process.pid": nil, "rows.1.flows": "4", "rows.1.sent.packets": "22",
			"rows.1.received.packets": "21", "rows.2.process.exe": "/srv/api", "rows.2.process.pid": nil,
			"rows.2.process.host_pid": "100000", "rows.2.process.owner_source": "kernel", "rows.2.turn.sum_ns": "1200000000",
			"rows.3.process.pid": "311", "rows.4.process.pid": "311", "rows.3.flows": "2", "rows.4.flows": "1",
		}},
		{"cgroups", crowd(), Options{By: "cgroup", Sort: "name"}, map[string]any{
			"rows.2.cgroup": "/system.slice/nginx.service", "rows.2.unit": "nginx.service", "rows.2.container": nil,
			"rows.2.flows": "6", "rows.2.sent.bytes": "1763000", "rows.2.received.bytes": "346100",
			"rows.2.turn.count": "9", "rows.3.response.count": "8",
			"rows.1.container_name": "shop-api-1", "rows.3.cgroup": nil, "rows.3.unit": nil, "rows.3.flows": "9",
		}},
		{"limited", usual(), Options{Limit: 2}, map[string]any{
			"limited": "4", "totals.flows": "6", "attribution.flows": "6",
		}},
		{"lossy", lossy(), Options{}, map[string]any{
			"device.agrees": false, "device.dropped": "3", "totals.overflow.packets": "12",
			"totals.overflow.by_cause.table_full.bytes": "1000", "stages.missing_packets": "4",
			"stages.ingress.skbs": "6",
		}},
		{"ailing flows", ailing(), Options{}, map[string]any{
			"untold": "1", "slow_lost": "3",
			"slow.0.time": "2026-03-01T12:00:01.000005000Z", "slow.0.turn_ns": "1200000000", "slow.0.client.comm": "nginx",
			"slow.0.server.port": "8080", "slow.0.delivery_ns": nil, "slow.0.wait_ns": nil, "slow.0.think_ns": nil,
			"slow.1.delivery_ns": "150000", "slow.1.wait_ns": "2000000", "slow.1.think_ns": "197850000",
			"slow.2.delivery_ns": nil, "slow.2.wait_ns": "0", "slow.2.proto": "tcp",
			"rows.0.errors": "13", "rows.0.connect_ns": "40000", "rows.0.accept_ns": "90000", "rows.0.first_byte_ns": "2000000",
			"rows.0.health.refused": "12", "rows.0.health.syn_retries": "4", "rows.0.health.synack_retries": "1",
			"rows.0.health.client.resets": "1", "rows.0.health.client.timeouts": "2", "rows.0.health.client.out_of_order": "7",
			"rows.0.health.client.receive_queue_bytes": "1500", "rows.0.health.server.send_queue_bytes": "64000",
			"rows.0.health.server.stalls": "3", "rows.0.health.server.stalled_ns": "120300000", "rows.0.health.server.resets": "0",
			"rows.0.drops.socket_rcvbuff": "12", "rows.0.drops.no_socket": "1",
			"rows.0.breakdown.turns": "4", "rows.0.breakdown.delivered": "3", "rows.0.breakdown.delivery_ns": "400000",
			"rows.0.breakdown.wait_ns": "7000000", "rows.0.breakdown.think_ns": "200600000", "rows.0.breakdown.backs": "2",
			"rows.0.breakdown.back_ns": "30000000",
			"rows.1.errors":            "0", "rows.1.health": nil, "rows.1.breakdown": nil, "rows.1.accept_ns": nil, "rows.1.first_byte_ns": nil,
			"rows.3.breakdown.delivery_ns": nil, "rows.3.breakdown.back_ns": nil, "rows.3.breakdown.backs": "0",
			"rows.5.errors": "2", "rows.5.health.server.zero_windows": "2", "rows.5.health.server.zero_window_ns": "310000000",
			"rows.5.health.client.socket_drops": "2",
		}},
		{"ailing services", ailing(), Options{By: "service"}, map[string]any{
			"rows.0.errors": "13", "rows.0.connect.count": "1", "rows.0.connect.p50_ns": "40000",
			"rows.0.accept_queue.length": "129", "rows.0.accept_queue.limit": "128", "rows.0.accept_queue.overflows": "5",
			"rows.1.accept_queue": nil, "rows.1.connect.p50_ns": nil, "rows.1.breakdown.turns": "1",
		}},
		{"ailing processes", ailing(), Options{By: "process", Sort: "errors"}, map[string]any{
			"rows.0.process.comm": "curl", "rows.0.errors": "13", "rows.0.health.refused": "12",
		}},
		{"nobody asked for slow turns", usual(), Options{}, map[string]any{"slow": nil, "slow_lost": "0", "untold": "0"}},
		{"filtered", filtered(), Options{}, map[string]any{"source.filter": "port:5432", "device": nil}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := decode(t, encode(t, "json", tt.o, tt.s))
			for path, want := range tt.want {
				if got := at(t, doc, path); got != want {
					t.Errorf("%s: got %v, want %v", path, got, want)
				}
			}
		})
	}
}

func TestJSONUnknownIsNull(t *testing.T) {
	doc := decode(t, encode(t, "json", Options{}, &window{Flows: make([]model.Flow, 1)}))
	for _, path := range []string{
		"start", "end", "source.host", "source.kernel", "source.hook", "device", "self.bpf_ns_per_packet",
		"rows.0.role_source", "rows.0.first_seen", "rows.0.last_seen",
	} {
		if got := at(t, doc, path); got != nil {
			t.Errorf("%s: got %v, want null", path, got)
		}
	}
	doc = decode(t, encode(t, "json", Options{}, &window{}))
	if rows, ok := doc["rows"].([]any); !ok || len(rows) != 0 {
		t.Errorf("rows: got %v, want []", doc["rows"])
	}
	if causes, ok := at(t, doc, "totals.overflow.by_cause").(map[string]any); !ok || len(causes) != 0 {
		t.Errorf("by_cause: got %v, want {}", causes)
	}
}

func TestJSONTimesAreRFC3339(t *testing.T) {
	doc := decode(t, encode(t, "json", Options{}, usual()))
	for path, want := range map[string]time.Time{"start": end.Add(-time.Second), "end": end, "rows.0.last_seen": end.Add(-40 * time.Millisecond)} {
		got, err := time.Parse(time.RFC3339Nano, at(t, doc, path).(string))
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, error %v, want %v", path, got, err, want)
		}
	}
}

// --watch promises one document a line, and jsonl one object a line, whatever names contain.
func TestJSONLines(t *testing.T) {
	if text := encode(t, "json", Options{}, crowd()); strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "}\n") {
		t.Errorf("json: want one line, got %q", text)
	}
	for _, by := range Views() {
		lines := strings.SplitAfter(encode(t, "jsonl", Options{By: by}, crowd()), "\n")
		lines = lines[:len(lines)-1] // what follows the last new line
		doc := decode(t, encode(t, "json", Options{By: by}, crowd()))
		rows := doc["rows"].([]any)
		if len(lines) != len(rows)+1 {
			t.Fatalf("by %s: got %d lines for %d rows", by, len(lines), len(rows))
		}
		for i, row := range rows {
			if !strings.HasPrefix(lines[i], `{"kind":"`+by+`",`) {
				t.Errorf("by %s: want kind first in %s", by, lines[i])
			}
			row.(map[string]any)["kind"] = by
			sameJSON(t, lines[i], row)
		}
		delete(doc, "rows")
		doc["kind"] = "summary"
		last := lines[len(lines)-1]
		if !strings.HasPrefix(last, `{"kind":"summary","schema":"lotrace/v1",`) {
			t.Errorf("by %s: want the summary last, got %s", by, last)
		}
		sameJSON(t, last, doc)
	}
}

func sameJSON(t *testing.T, got string, want any) {
	t.Helper()
	a, _ := json.Marshal(decode(t, got))
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
}

// docs/json.md names each field in a table, with its type, and no field that does not exist.
func TestJSONIsDocumented(t *testing.T) {
	documented := readSchema(t)
	everything := lossy()
	bad := ailing()
	everything.Flows = append(everything.Flows, bad.Flows...)
	everything.SlowFrom, everything.Slow = bad.SlowFrom, bad.Slow
	emitted := map[string]bool{}
	show := func(by string, s *window) {
		text := encode(t, "json", Options{By: by}, s)
		documented.check(t, "", decode(t, text))
		for _, path := range paths(t, text) {
			emitted[documentedAs(path)] = true
		}
	}
	show("flow", lossy()) // nobody asked for slow turns
	show("flow", filtered())
	for _, by := range Views() {
		show(by, everything)
	}
	for line := range strings.Lines(encodeTrace(t, "jsonl", TraceOptions{Errors: true})) {
		object := decode(t, line)
		kind := object["kind"].(string)
		if kind == "summary" {
			kind = "trace"
		}
		documented.check(t, kind, object)
		for _, path := range paths(t, line) {
			emitted[documentedAs(kind+"."+path)] = true
		}
	}
	for path := range documented {
		if !emitted[path] {
			t.Errorf("docs/json.md explains %s, which does not exist", path)
		}
	}
}
