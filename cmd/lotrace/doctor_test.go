package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lotrace/lotrace/internal/doctor"
	"github.com/lotrace/lotrace/internal/rights"
)

// sick is a machine with something of everything.
var sick = []doctor.Check{
	{Name: "kernel", Status: doctor.StatusOK, Required: true, Found: "Linux 6.18"},
	{Name: "cap_bpf", Status: doctor.StatusFail, Required: true, Found: "missing", Fix: "run as root"},
	{Name: "cap_perfmon", Status: doctor.StatusFail, Required: true, Found: "missing", Fix: "run as root"},
	{Name: "jit", Status: doctor.StatusWarn, Found: "off", Fix: "switch it on"},
	{Name: "attached", Status: doctor.StatusOK, Found: "clsact egress: \x1b[2Jgotcha"},
	{Name: "tcx", Status: doctor.StatusWarn, Found: "not tried"},
}

func TestWriteChecks(t *testing.T) {
	const want = `ok    kernel       Linux 6.18
fail  cap_bpf      missing
fail  cap_perfmon  missing
                   fix: run as root
warn  jit          off
                   fix: switch it on
ok    attached     clsact egress: �[2Jgotcha
warn  tcx          not tried
`
	var out strings.Builder
	writeChecks(&out, sick, false)
	if got, rest, _ := strings.Cut(out.String(), "\nNot on lo"); got != want || rest == "" {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	// Colour changes nothing else, and is that of the status.
	var colored strings.Builder
	writeChecks(&colored, sick, true)
	if got := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(colored.String(), ""); got != out.String() {
		t.Errorf("without its colours:\n%s", got)
	}
	for _, mark := range []string{"\x1b[32mok  \x1b[0m", "\x1b[33mwarn\x1b[0m", "\x1b[31mfail\x1b[0m"} {
		if !strings.Contains(colored.String(), mark) {
			t.Errorf("no %q", mark)
		}
	}
}

func TestVerdict(t *testing.T) {
	if err := doctor.Verdict(sick); err == nil || !strings.Contains(err.Error(), "cap_bpf, cap_perfmon failed") {
		t.Errorf("%v", err)
	}
	for i := range sick {
		healthy := sick[i].Status != doctor.StatusFail
		if err := doctor.Verdict(sick[i : i+1]); (err == nil) != healthy {
			t.Errorf("%s: %v", sick[i].Name, err)
		}
	}
}

// runDoctor runs the command and decodes what it prints.
func runDoctor(t *testing.T, args ...string) (code int, doc doctorJSON, raw string) {
	t.Helper()
	code, raw, stderr := lotrace(t, nil, append([]string{"doctor", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(raw), &doc); err != nil {
		t.Fatalf("%v: %s%s", err, raw, stderr)
	}
	if doc.OK != (code == exitOK) || doc.OK != (stderr == "") {
		t.Errorf("ok %v, exit code %d, stderr %q", doc.OK, code, stderr)
	}
	return code, doc, raw
}

// Here is wherever the test runs: with the rights it counts, without it says so.
func TestDoctorHere(t *testing.T) {
	missing, err := rights.Missing()
	if err != nil {
		t.Fatal(err)
	}
	code, doc, raw := runDoctor(t)
	if len(missing) > 0 && (code != exitFailed || doc.Reasons != nil) {
		t.Errorf("counts without %v: %s", missing, raw)
	}
	if len(missing) == 0 && (code != exitOK || doc.Reasons["counted"] == 0) {
		t.Error(raw)
	}
}

func TestDoctorNowhere(t *testing.T) {
	code, _, raw := runDoctor(t, "--netns", "no-such-namespace")
	if code != exitFailed || !strings.Contains(raw, `"reasons": null`) {
		t.Errorf("exit code %d: %s", code, raw)
	}
}

// docs/doctor.md explains every check and field, and none that does not exist.
func TestDoctorIsDocumented(t *testing.T) {
	text := document(t, "docs/doctor.md")
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		documented = append(documented, m[1])
	}
	_, doc, raw := runDoctor(t)
	existing := []string{"reasons.REASON"}
	for _, c := range doc.Checks {
		existing = append(existing, c.Name)
	}
	for prefix, object := range map[string]any{"": decodeObject(t, raw), "checks[].": decodeObject(t, raw)["checks"].([]any)[0]} {
		for field := range object.(map[string]any) {
			if field != "checks" && field != "reasons" {
				existing = append(existing, prefix+field)
			}
		}
	}
	slices.Sort(documented)
	slices.Sort(existing)
	if !slices.Equal(documented, existing) {
		t.Errorf("documented\n%s\nexisting\n%s", documented, existing)
	}
}

func decodeObject(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return object
}
