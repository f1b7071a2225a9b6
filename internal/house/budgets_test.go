package house

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBudgets(t *testing.T) {
	sizes, err := measure(root)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for _, s := range sizes {
		seen[s.budget.name]++
	}
	for _, b := range []budget{fileLines, functionLines, structFields, methods, parameters} {
		if seen[b.name] < 10 {
			t.Errorf("%d of %s measured", seen[b.name], b.name)
		}
	}
	for _, fault := range judge(sizes, exceptions) {
		t.Error(fault)
	}
}

// testdata/large has one of each thing that is too large, and one that is just not.
func TestLargeIsSeen(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/large")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"long.go":  "package long\n" + strings.Repeat("\n", 400),
		"short.go": "package short\n" + strings.Repeat("\n", 399),
		"script":   "#!/bin/sh\n" + strings.Repeat(":\n", 400),
		"prose.md": strings.Repeat("\n", 401),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sizes, err := measure(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bpf/room.bpf.h lt_behind: 6 parameters, at most 5 for a C function",
		"bpf/room.bpf.h lt_declared: 7 parameters, at most 5 for a C function",
		"bpf/room.bpf.h lt_many: 6 parameters, at most 5 for a C function",
		"bpf/room.bpf.h lt_program: 6 parameters, at most 5 for a C function",
		"internal/room.(*pair).long: 61 lines, at most 60 for a function",
		"internal/room.nested: 21 fields, at most 20 for a struct",
		"internal/room.sum: 5 methods, at most 4 for an interface",
		"internal/room.wide: 21 fields, at most 20 for a struct",
		"long.go: 401 lines, at most 400 for a file",
		"script: 401 lines, at most 400 for a file",
	}
	got := judge(sizes, nil)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, fits := range []size{
		{parameters, "bpf/room.bpf.h lt_five", 5},
		{parameters, "bpf/room.bpf.h lt_none", 0},
		{functionLines, "internal/room.justShort", 60},
		{methods, "internal/room.four", 4},
		{structFields, "internal/room.fits", 20},
		{fileLines, "short.go", 400},
	} {
		if !slices.Contains(sizes, fits) {
			t.Errorf("%+v was not measured so", fits)
		}
	}
}

func TestExceptions(t *testing.T) {
	sizes := []size{{fileLines, "a.go", 450}, {fileLines, "b.go", 400}}
	for _, c := range []struct {
		name       string
		exceptions []exception
		want       []string
	}{
		{"as large as it may be", []exception{{"a.go", 450, "old"}}, nil},
		{"larger still", []exception{{"a.go", 449, "old"}}, []string{"a.go: 450 lines, at most 449 for a file"}},
		{"not needed", []exception{{"a.go", 450, "old"}, {"b.go", 450, "old"}},
			[]string{"b.go is no exception any more: take it out of exceptions.go"}},
		{"gone", []exception{{"a.go", 450, "old"}, {"c.go", 450, "old"}},
			[]string{"c.go is no exception any more: take it out of exceptions.go"}},
		{"no reason", []exception{{"a.go", 450, ""}}, []string{"a.go is an exception twice, or without a reason"}},
		{"twice", []exception{{"a.go", 450, "old"}, {"a.go", 500, "old"}}, []string{"a.go is an exception twice, or without a reason"}},
	} {
		if got := judge(sizes, c.exceptions); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
