package loader

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/lotrace/lotrace/internal/model"
	"github.com/lotrace/lotrace/internal/reading"
)

// contract is the header that both sides are held to.
func contract(t *testing.T) string {
	t.Helper()
	return header(t, "lotrace.h")
}

// header is one of bpf/. Test binaries may run away from the tree, as they do in a virtual machine.
func header(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "bpf", name))
	if os.IsNotExist(err) {
		t.Skip("not in the source tree")
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// enumerators are the names of one C enum in order. The compiler leaves enums that only inlined
// code uses out of BTF, so the header itself is read.
func enumerators(t *testing.T, header, name string) []string {
	t.Helper()
	body := regexp.MustCompile(`(?s)enum ` + name + ` \{(.*?)\n\};`).FindStringSubmatch(header)
	if body == nil {
		t.Fatalf("no enum %s in the header", name)
	}
	code := regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(body[1], "")
	return regexp.MustCompile(`LT_\w+`).FindAllString(code, -1)
}

func TestEnumsHaveGoNames(t *testing.T) {
	header := contract(t)
	for enum, want := range map[string]map[string]int{
		"lt_reason": {
			"LT_COUNTED": int(reading.ReasonCounted), "LT_FILTERED": int(reading.ReasonFiltered),
			"LT_TABLE_FULL": int(reading.ReasonTableFull), "LT_INDEX_FULL": int(reading.ReasonIndexFull),
			"LT_INDEX_RACE": int(reading.ReasonIndexRace), "LT_NOT_IP": int(reading.ReasonNotIP),
			"LT_TRUNCATED": int(reading.ReasonTruncated), "LT_MALFORMED": int(reading.ReasonMalformed),
			"LT_HEADER_CHAIN": int(reading.ReasonHeaderChain), "LT_REASON_COUNT": int(reading.ReasonCount),
		},
		"lt_role": {
			"LT_ROLE_NONE": int(reading.SlotRoleNone), "LT_ROLE_SYN": int(reading.SlotRoleSYN),
			"LT_ROLE_FIRST": int(reading.SlotRoleFirst), "LT_ROLE_TOLD": int(reading.SlotRoleTold),
		},
		"lt_slot_state": {
			"LT_SLOT_FREE": int(reading.SlotFree), "LT_SLOT_LIVE": int(reading.SlotLive),
			"LT_SLOT_ORPHAN": int(reading.SlotOrphan), "LT_SLOT_RETIRING": int(reading.SlotRetiring),
		},
		"lt_sample_result": {
			"LT_SAMPLE_TAKEN": sampleTaken, "LT_SAMPLE_BUDGET": sampleBudget,
			"LT_SAMPLE_FULL": sampleFull, "LT_SAMPLE_FAILED": sampleFailed, "LT_SAMPLE_RESULTS": sampleResults,
		},
		"lt_test": {
			"LT_TEST_PROTO": int(reading.TestProto), "LT_TEST_FAMILY": int(reading.TestFamily),
			"LT_TEST_PORT": int(reading.TestPort), "LT_TEST_ADDR": int(reading.TestAddr),
			"LT_TEST_COUNT": int(reading.TestAddr) + 1,
		},
	} {
		names := enumerators(t, header, enum)
		if len(names) != len(want) {
			t.Errorf("enum %s has %d names, Go knows %d", enum, len(names), len(want))
		}
		for value, name := range names {
			if got, ok := want[name]; !ok || got != value {
				t.Errorf("%s is %d in C and %d in Go (known: %v)", name, value, got, ok)
			}
		}
	}
}

func TestSamplePoliciesHaveGoNames(t *testing.T) {
	names := enumerators(t, contract(t), "lt_why")
	want := map[string]reading.SamplePolicy{
		"LT_WHY_ALL": reading.SampleAll, "LT_WHY_RANDOM": reading.SampleRandom, "LT_WHY_FLOWS": reading.SampleFlows,
		"LT_WHY_FIRST": reading.SampleFirst, "LT_WHY_HEADS": reading.SampleHeads, "LT_WHY_ERRORS": reading.SampleErrors,
		"LT_WHY_CONNS": reading.SampleConns,
	}
	if len(names) != len(want) {
		t.Errorf("enum lt_why has %d names, Go knows %d", len(names), len(want))
	}
	for i, name := range names { // each is a bit
		if got, ok := want[name]; !ok || got != 1<<i {
			t.Errorf("%s is %#x in C and %#x in Go (known: %v)", name, 1<<i, got, ok)
		}
	}
}

func TestReasonsAreNamedAlike(t *testing.T) {
	for value, name := range enumerators(t, contract(t), "lt_reason") {
		if reason := reading.Reason(value); reason != reading.ReasonCount && "LT_"+strings.ToUpper(reason.String()) != name {
			t.Errorf("%s is called %q", name, reason)
		}
	}
}

func TestLimitsAgree(t *testing.T) {
	header := contract(t)
	for name, want := range map[string]int{
		"LT_HIST_BUCKETS":     model.HistogramBuckets,
		"LT_MAX_SNAPLEN":      MaxSnaplen,
		"LT_MAX_FILTER_TERMS": reading.MaxFilterTerms,
		"LT_FILTER_REJECT":    reading.FilterReject,
		"LT_FILTER_ACCEPT":    reading.FilterAccept,
	} {
		match := regexp.MustCompile(name + ` = (\d+)`).FindStringSubmatch(header)
		if match == nil {
			t.Errorf("no %s in the header", name)
		} else if got, err := strconv.Atoi(match[1]); err != nil || got != want {
			t.Errorf("%s is %s in C and %d in Go", name, match[1], want)
		}
	}
}

// The kernel's iterator over TCP sockets can break connections: docs/decisions/0018.
func TestNoWalkOverTCPSockets(t *testing.T) {
	spec, err := loadLotrace()
	if err != nil {
		t.Fatal(err)
	}
	for name, program := range spec.Programs {
		if program.AttachType == ebpf.AttachTraceIter && program.AttachTo == "tcp" {
			t.Errorf("%s walks over all TCP sockets", name)
		}
	}
}
