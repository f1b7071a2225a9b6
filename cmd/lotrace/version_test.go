package main

import (
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	dirty := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	clean := debug.BuildSetting{Key: "vcs.modified", Value: "false"}
	for _, tt := range []struct {
		name, stamp, module string
		settings            []debug.BuildSetting
		version, commit     string
	}{
		{"nothing known", "devel", "", nil, "devel", ""},
		{"work tree", "devel", "(devel)", []debug.BuildSetting{revision, clean}, "devel", "0123456789ab"},
		{"changed tree", "devel", "(devel)", []debug.BuildSetting{revision, dirty}, "devel", "0123456789ab-dirty"},
		{"go install", "devel", "v1.2.3", nil, "v1.2.3", ""},
		{"release", "1.3.0", "v1.2.4-0.2026", []debug.BuildSetting{revision}, "1.3.0", "0123456789ab"},
	} {
		b := describe(tt.stamp, &debug.BuildInfo{Main: debug.Module{Version: tt.module}, Settings: tt.settings})
		if got := orUnknown(b.Commit, ""); b.Version != tt.version || got != tt.commit {
			t.Errorf("%s: version %q, commit %q", tt.name, b.Version, got)
		}
	}
	if b := describe("1.3.0", nil); b.Version != "1.3.0" || b.Commit != nil {
		t.Errorf("without build info: %+v", b)
	}
}
