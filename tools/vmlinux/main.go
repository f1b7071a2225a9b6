// Vmlinux cuts a kernel's BTF down to the types named in a list and writes them as a C header for
// CO-RE programs. A full dump is 2.8 MB; what lotrace reads fits a few pages.
//
// It imports cilium/ebpf, as internal/loader, internal/hook and bench do, as a build tool that no
// other package depends on.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cilium/ebpf/btf"
)

const kernelBTF = "/sys/kernel/btf/vmlinux"

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("vmlinux", flag.ContinueOnError)
	flags.SetOutput(stderr)
	btfPath := flags.String("btf", kernelBTF, "kernel BTF to read")
	listPath := flags.String("types", "tools/vmlinux/types.txt", "list of types to keep")
	outPath := flags.String("o", "vmlinux.h", "header to write")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := generate(*btfPath, *listPath, *outPath); err != nil {
		fmt.Fprintln(stderr, "vmlinux:", err)
		return 1
	}
	return 0
}

func generate(btfPath, listPath, outPath string) error {
	list, err := os.Open(listPath)
	if err != nil {
		return fmt.Errorf("open list of types: %w", err)
	}
	defer list.Close()
	entries, err := parseList(list)
	if err != nil {
		return fmt.Errorf("%s:%w", listPath, err)
	}

	spec, err := btf.LoadSpec(btfPath)
	if err != nil {
		return fmt.Errorf("load kernel BTF: %w", err)
	}
	origin, err := originOf(btfPath)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := writeHeader(&out, spec, entries, origin); err != nil {
		return fmt.Errorf("%s:%w", listPath, err)
	}
	return os.WriteFile(outPath, out.Bytes(), 0o644)
}

// originOf says whose types these are, for the header's first comment.
func originOf(btfPath string) (string, error) {
	if btfPath != kernelBTF {
		return btfPath, nil
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", fmt.Errorf("read kernel release: %w", err)
	}
	return "Linux " + strings.TrimSpace(string(release)), nil
}
