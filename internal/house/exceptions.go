package house

// Reasons that several have.
const (
	idea     = "tests of one idea, which share what they set up; the next one that is added begins a second file"
	cases    = "a table of cases, or cases one after the other: split, each part would need what the others set up"
	measured = "one path of one measurement, in the order in which things happen"
)

// The exceptions. Each says how large it may be; where it became smaller, it is taken out.
var exceptions = []exception{
	{"internal/stats.Source", 11, "one value is all that the engine reads; it is made of interfaces by what they are of, and none of those is over four"},

	{"internal/export.flowRow", 21, "a row of JSON is as wide as its schema, with docs/json.md beside it"},
	{"internal/tui.Model", 41, "a program of Bubble Tea is one value, and all that a key may change is in it"},

	{"cmd/lotrace.TestTraceTellsEveryTurn", 73, measured},
	{"internal/export.TestGolden", 77, cases},
	{"internal/export.TestJSONValues", 117, cases},

	{"cmd/lotrace/live_strike_test.go", 408, idea},
	{"cmd/lotrace/live_test.go", 402, idea},
	{"cmd/lotrace/live_trace_test.go", 413, idea},
}
