package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDependenciesAreListed(t *testing.T) {
	t.Chdir("../..")
	want, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := list(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("run: go run ./tools/dependencies >docs/dependencies.md\n%s", diff)
	}
}

func TestStrangersAreNoticed(t *testing.T) {
	for text, want := range map[string]string{
		"GNU GENERAL PUBLIC LICENSE Version 3":                            "",
		"All rights reserved.":                                            "",
		"Permission is hereby granted, free\n   of charge, to any person": "MIT",
	} {
		if got := recognise(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
