package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/machine"
)

// version is stamped by the release build: -ldflags "-X main.version=1.2.3".
var version = "devel"

// build says which lotrace this is and what it runs on.
type build struct {
	Schema  string  `json:"schema"`
	Kind    string  `json:"kind"`
	Version string  `json:"version"`
	Commit  *string `json:"commit"` // nil: unknown; ends in "-dirty" when the tree had changes
	Go      string  `json:"go"`
	OS      string  `json:"os"`
	Arch    string  `json:"arch"`
	Kernel  *string `json:"kernel"` // nil: unknown
}

func versionCommand() *command {
	var output string
	return &command{
		name:     "version",
		synopsis: "print the version, and what it was built with",
		examples: []string{"lotrace version -o json"},
		flags:    func(fs *pflag.FlagSet) { outputFlag(fs, &output, "table", "json") },
		run: func(_ context.Context, inv *invocation) error {
			return printVersion(inv.stdout, output)
		},
	}
}

func printVersion(w io.Writer, format string) error {
	info, _ := debug.ReadBuildInfo()
	b := describe(version, info)
	if kernel := machine.Release(); kernel != "" {
		b.Kernel = &kernel
	}
	if format == "json" {
		return writeJSON(w, b)
	}
	_, err := fmt.Fprintf(w, "lotrace %s (%s, %s, %s/%s, kernel %s)\n", b.Version,
		orUnknown(b.Commit, "commit unknown"), b.Go, b.OS, b.Arch, orUnknown(b.Kernel, "unknown"))
	return err
}

// describe goes by the stamp, or where there is none by what the go command has recorded: the
// module's version for "go install", the commit for "go build" in a work tree.
func describe(stamp string, info *debug.BuildInfo) build {
	b := build{
		Schema:  "lotrace/v1",
		Kind:    "version",
		Version: stamp,
		Go:      runtime.Version(),
		OS:      runtime.GOOS,
		Arch:    runtime.GOARCH,
	}
	if info == nil {
		return b
	}
	if v := info.Main.Version; stamp == "devel" && v != "" && v != "(devel)" {
		b.Version = v
	}
	vcs := map[string]string{}
	for _, s := range info.Settings {
		vcs[s.Key] = s.Value
	}
	if commit := vcs["vcs.revision"]; commit != "" {
		commit = commit[:min(12, len(commit))]
		if vcs["vcs.modified"] == "true" {
			commit += "-dirty"
		}
		b.Commit = &commit
	}
	return b
}

func orUnknown(s *string, unknown string) string {
	if s == nil {
		return unknown
	}
	return *s
}

func writeJSON(w io.Writer, v any) error {
	enc := human.NewJSON(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
