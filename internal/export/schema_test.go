package export

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// schema is what docs/json.md promises: by path, a field's type, and behind a blank its unit.
type schema map[string]string

var documentedField = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]*)\\|")

func readSchema(tb testing.TB) schema {
	tb.Helper()
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		tb.Fatal(err)
	}
	s := schema{}
	for _, m := range documentedField.FindAllStringSubmatch(string(text), -1) {
		s[m[1]] = m[2] + " " + strings.TrimSpace(m[3])
	}
	return s
}

var (
	sharedObject = regexp.MustCompile(`^rows\.(client|server|process|to_server|to_client|sent|received|turn|response|connect|health\.client|health\.server)\.|^(?:slow|turn|conn)\.(client|server)\.`)
	sharedKinds  = map[string]string{
		"client": "endpoint", "server": "endpoint", "process": "endpoint",
		"to_server": "direction", "to_client": "direction", "sent": "direction", "received": "direction",
		"turn": "latency", "response": "latency", "connect": "latency",
		"health.client": "end", "health.server": "end",
	}
	// The last line of a trace shares these with a document.
	traceHead = regexp.MustCompile(`^trace\.((?:kind|schema|start|end)$|source\.)`)

	ownWord = regexp.MustCompile(`\b(by_cause|drops)\.[^.]+`)
	ownKind = map[string]string{"by_cause": "by_cause.CAUSE", "drops": "drops.REASON"}
)

// documentedAs is where docs/json.md explains a field of a document: once for all objects of one kind.
func documentedAs(path string) string {
	path = ownWord.ReplaceAllStringFunc(path, func(s string) string {
		object, _, _ := strings.Cut(s, ".")
		return ownKind[object]
	})
	if m := sharedObject.FindStringSubmatch(path); m != nil {
		path = sharedKinds[m[1]+m[2]] + "." + strings.TrimPrefix(path, m[0])
	}
	return strings.TrimPrefix(traceHead.ReplaceAllString(path, "$1"), "rows.")
}

// nullObjects have no line of their own; docs/json.md says of one of their fields when they are null.
var nullObjects = []string{"device", "stages"}

// check holds a document, or a part of it, against the schema.
func (s schema) check(tb testing.TB, path string, value any) {
	tb.Helper()
	if object, ok := value.(map[string]any); ok {
		for name, field := range object {
			s.check(tb, strings.TrimPrefix(path+"."+name, "."), field)
		}
		return
	}
	if list, ok := value.([]any); ok {
		for _, element := range list {
			s.check(tb, path, element)
		}
		return
	}
	want, ok := s[documentedAs(path)]
	if value == nil && slices.Contains(nullObjects, path) {
		return
	}
	if !ok {
		tb.Errorf("docs/json.md does not explain %s", path)
		return
	}
	kind, unit, _ := strings.Cut(strings.Replace(want, " or null", "|null", 1), " ")
	kind, nullable := strings.CutSuffix(kind, "|null")
	if value == nil && nullable {
		return
	}
	if !isOf(value, kind, unit) {
		tb.Errorf("%s: got %v, want %s", path, value, want)
	}
}

func isOf(value any, kind, unit string) bool {
	switch v := value.(type) {
	case string:
		if unit == "time" {
			_, err := time.Parse(time.RFC3339Nano, v)
			return kind == "string" && err == nil
		}
		return kind == "string"
	case bool:
		return kind == "boolean"
	case json.Number:
		return kind == "number" || kind == "integer" && !strings.ContainsAny(v.String(), ".e")
	}
	return false
}
