// Command dependencies lists the modules that lotrace is built from and tested with, their versions and
// their licences, for docs/dependencies.md:
//
//	go run ./tools/dependencies >docs/dependencies.md
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if err := list(os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "dependencies: %v\n", err)
		os.Exit(1)
	}
}

// module is one that is not ours.
type module struct{ path, version, dir string }

// list writes the document. Its two tables have no module in common.
func list(w io.Writer) error {
	built, err := modules("./cmd/lotrace")
	if err != nil {
		return err
	}
	tested, err := modules("-test", "./...")
	if err != nil {
		return err
	}
	tested = slices.DeleteFunc(tested, func(m module) bool { return slices.Contains(built, m) })
	fmt.Fprint(w, `# Dependencies

Made by `+"`go run ./tools/dependencies`"+`; a test holds it current. Why each direct one is there says
[architecture.md](architecture.md). `+"`make audit`"+` holds the modules against their checksums, and
against what is known of their vulnerabilities.

## In the binary

`)
	if err := table(w, built); err != nil {
		return err
	}
	fmt.Fprint(w, `
Beside them it holds Go's standard library (BSD-3-Clause) and the programs compiled from `+"`bpf/`"+`
(GPL-2.0-only OR BSD-2-Clause).

## In tests and generators only

`)
	return table(w, tested)
}

// modules are those with a package that these need on Linux.
func modules(packages ...string) ([]module, error) {
	args := []string{"list", "-buildvcs=false", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}"}
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list modules: %w", err)
	}
	var all []module
	for line := range strings.Lines(string(out)) {
		if field := strings.Fields(line); len(field) == 3 {
			all = append(all, module{field[0], field[1], field[2]})
		}
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.path, b.path) })
	return slices.Compact(all), nil
}

func table(w io.Writer, all []module) error {
	fmt.Fprint(w, "| module | version | licence |\n|---|---|---|\n")
	for _, m := range all {
		licence, err := m.licence()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", m.path, m.version, licence)
	}
	return nil
}

// licence is the SPDX name of what the module's own file says.
func (m module) licence() (string, error) {
	files, err := filepath.Glob(filepath.Join(m.dir, "L[Ii][Cc][Ee][Nn][Ss][Ee]*"))
	if err != nil {
		return "", fmt.Errorf("licence of %s: %w", m.path, err)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("licence of %s: no file LICENSE", m.path)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return "", fmt.Errorf("licence of %s: %w", m.path, err)
	}
	if name := recognise(string(text)); name != "" {
		return name, nil
	}
	return "", fmt.Errorf("licence of %s: unknown; read %s and teach recognise", m.path, files[0])
}

// recognise knows the licences that go with ours, by what is in each and in no other; "" is none of them.
func recognise(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only"):
		return "BSD-3-Clause OR GPL-2.0-only"
	case has("Apache License Version 2.0"):
		return "Apache-2.0"
	case has("Permission is hereby granted, free of charge"):
		return "MIT"
	case has("Redistribution and use in source and binary forms") && has("Neither the name"):
		return "BSD-3-Clause"
	case has("Redistribution and use in source and binary forms"):
		return "BSD-2-Clause"
	}
	return ""
}
