package owner

import (
	"strings"
	"testing"
)

// FuzzProcess: what a process, or who named its mounts, units and containers, has written makes nothing up.
func FuzzProcess(f *testing.F) {
	f.Add("sh\x00-c\x00x y\x00", "Name:\tsh\nUid:\t1000\t0\t0\t0\n", `/mnt/a\040b\134`, `systemd\x2dnspawn\`)
	f.Add("\x00 \x00", "Name:\ta\\nUid:\t0\nUid:\t7\t7\t7\t7\n", `\999\04`, `\xzz\x4`)
	f.Fuzz(func(t *testing.T, cmdline, status, mount, unit string) {
		if line := parseCmdline([]byte(cmdline)); strings.Contains(line, "\x00") || !strings.HasPrefix(strings.ReplaceAll(cmdline, "\x00", " "), line) {
			t.Errorf("command line %q of %q", line, cmdline)
		}
		if uid, ok := parseUID([]byte(status)); ok && !strings.Contains(status, "\nUid:\t") {
			t.Errorf("user %d of %q", uid, status)
		}
		for _, tt := range []struct{ of, is string }{{mount, unescapeMount(mount)}, {unit, unescapeUnit(unit)}} {
			if len(tt.is) > len(tt.of) || !strings.Contains(tt.of, `\`) && tt.is != tt.of {
				t.Errorf("%q reads as %q", tt.of, tt.is)
			}
		}
	})
}

// FuzzContainers: an engine's answer, whoever gave it, names containers by one word each or not at all.
func FuzzContainers(f *testing.F) {
	f.Add(`[{"Id":"4f66","Names":["/a/b","/shop"]},{"Id":"","Names":null}]`)
	f.Add(`[{"Id":"x","Names":["/\u001b[2J"]}`)
	f.Fuzz(func(t *testing.T, answer string) {
		names, err := parseContainers(strings.NewReader(answer))
		if err != nil && len(names) > 0 {
			t.Errorf("%v, and yet %q", err, names)
		}
		for id, name := range names {
			if name == "" || strings.Contains(name, "/") {
				t.Errorf("%q is named %q", id, name)
			}
		}
	})
}
