package model_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/lotrace/lotrace/"

// An arrow that must not be drawn: packages of this module, named without its prefix, and what they
// may not reach through any chain of imports.
type ban struct {
	from []string
	to   func(dep string) bool
	why  string
}

var (
	engine = []string{"internal/stats", "internal/filter", "internal/owner"}
	faces  = []string{"internal/export", "internal/tui", "internal/pcapng"}
	// How faces put things for people.
	wording = "internal/human"
	// What no policy can hide in, so that everyone may use it.
	leaves = []string{"internal/model", "internal/suggest"}
)

var bans = []ban{
	{leaves, func(dep string) bool { return !standard(dep) }, "leaves use the standard library only"},
	{engine, func(dep string) bool { return ours(dep) && !slices.Contains(leaves, name(dep)) }, "the engine knows the model, not its users"},
	{append(faces, wording), isOneOf(append(faces, "internal/loader")), "a face knows neither another face nor the kernel"},
	{[]string{"internal/trace"}, isOneOf(append(faces, "internal/loader")), "what happens is told to faces and read from a source"},
	{[]string{"internal/loader"}, isOneOf(append(append(faces, wording), engine...)), "the boundary reads the kernel and judges nothing"},
}

// Who may import cilium/ebpf: the boundary, the tool that cuts vmlinux.h, what measures them, and what
// tests put beside them.
var bpfUsers = []string{"internal/loader", "internal/hook", "tools/vmlinux", "bench", "internal/testkit/foreign"}

type goPackage struct {
	ImportPath    string
	Imports, Deps []string
}

// Imports of tests are free: a test may hold one room against another.
func TestArrows(t *testing.T) {
	for _, p := range listPackages(t) {
		from := name(p.ImportPath)
		for _, b := range bans {
			if !slices.Contains(b.from, from) {
				continue
			}
			for _, dep := range p.Deps {
				if b.to(dep) {
					t.Errorf("%s imports %s: %s", from, dep, b.why)
				}
			}
		}
		for _, dep := range p.Imports {
			if strings.HasPrefix(dep, "github.com/cilium/ebpf") && !slices.Contains(bpfUsers, from) {
				t.Errorf("%s imports %s: only %s do", from, dep, strings.Join(bpfUsers, ", "))
			}
		}
	}
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	// Go test caches a result by what the test itself has read, and go list is another process: walk
	// the tree, so that a new import anywhere makes the result stale.
	err := filepath.WalkDir("../..", func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && slices.Contains([]string{".git", "bin", "build"}, entry.Name()) {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	list := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	list.Dir = "../.."
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		packages = append(packages, p)
	}
	if !slices.ContainsFunc(packages, func(p goPackage) bool { return p.ImportPath == module+"internal/model" }) {
		t.Fatalf("go list ./... misses this very package: %d others", len(packages))
	}
	return packages
}

func name(importPath string) string { return strings.TrimPrefix(importPath, module) }
func ours(importPath string) bool   { return strings.HasPrefix(importPath, module) }
func standard(importPath string) bool {
	return !strings.Contains(strings.Split(importPath, "/")[0], ".")
}

func isOneOf(names []string) func(string) bool {
	return func(dep string) bool { return ours(dep) && slices.Contains(names, name(dep)) }
}
