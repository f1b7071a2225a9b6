package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completions is what every shell offers for a command line.
var completions = []struct {
	line string // the last word is the one to complete
	want string
}{
	{"lotrace d", "demo doctor"},
	{"lotrace --v", "--version"},
	{"lotrace demo --k", "--kinds"},
	{"lotrace demo -q --output ", "json table"},
	{"lotrace demo -o j", "json"},
	{"lotrace demo --kinds u", "udp"},
	{"lotrace demo --rate ", ""},
	{"lotrace completion ", "bash fish zsh"},
	{"lotrace help v", "version"},
}

// script writes the shell's completion script to a file.
func script(t *testing.T, shell string) string {
	t.Helper()
	if _, err := exec.LookPath(shell); err != nil {
		t.Skipf("%s is not installed", shell)
	}
	code, stdout, stderr := lotrace(t, nil, "completion", shell)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	file := filepath.Join(t.TempDir(), "completion."+shell)
	if err := os.WriteFile(file, []byte(stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func shell(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// sorted is the first words of lines, in order: shells sort by their own locales.
func sorted(lines string) string {
	var words []string
	for line := range strings.Lines(lines) {
		if fields := strings.Fields(line); len(fields) > 0 {
			words = append(words, fields[0])
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

func TestBashCompletion(t *testing.T) {
	file := script(t, "bash")
	complete := func(words ...string) string {
		quoted := make([]string, 0, len(words))
		for _, w := range words {
			quoted = append(quoted, fmt.Sprintf("%q", w))
		}
		return sorted(shell(t, "bash", "--norc", "-c", fmt.Sprintf(
			"source %s; COMP_WORDS=(%s); COMP_CWORD=%d; _lotrace; printf '%%s\\n' \"${COMPREPLY[@]}\"",
			file, strings.Join(quoted, " "), len(words)-1)))
	}
	for _, tt := range completions {
		if got := complete(strings.Split(tt.line, " ")...); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
		}
	}
	// As bash cuts "--output=" and "--output=j".
	if got := complete("lotrace", "demo", "--output", "="); got != "json table" {
		t.Errorf("--output=: %q", got)
	}
	if got := complete("lotrace", "demo", "--output", "=", "j"); got != "json" {
		t.Errorf("--output=j: %q", got)
	}
	if got := shell(t, "bash", "--norc", "-c", "source "+file+"; complete -p lotrace"); !strings.Contains(got, "_lotrace") {
		t.Errorf("registered: %q", got)
	}
}

func TestFishCompletion(t *testing.T) {
	file := script(t, "fish")
	for _, tt := range completions {
		got := sorted(shell(t, "fish", "--no-config", "-c",
			fmt.Sprintf("source %s; complete -C %q", file, tt.line)))
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
		}
	}
}

// TestZshCompletion goes as far as a shell without a terminal lets it: the script parses, and
// sourcing it registers the function.
func TestZshCompletion(t *testing.T) {
	file := script(t, "zsh")
	shell(t, "zsh", "-f", "-n", file)
	got := shell(t, "zsh", "-f", "-c", "autoload -U compinit; compinit -D -u; source "+file+"; print $_comps[lotrace]")
	if strings.TrimSpace(got) != "_lotrace" {
		t.Errorf("registered: %q", got)
	}
}

// TestCompletionNamesEverything holds for each shell, whether installed or not.
func TestCompletionNamesEverything(t *testing.T) {
	for name := range completionScripts {
		_, text, _ := lotrace(t, nil, "completion", name)
		for _, c := range commands() {
			if !strings.Contains(text, c.name) {
				t.Errorf("%s: no %s", name, c.name)
			}
			for _, flag := range longFlags(newFlagSet(c)) {
				if !strings.Contains(text, strings.TrimPrefix(flag, "--")) {
					t.Errorf("%s: no %s of %s", name, flag, c.name)
				}
			}
		}
	}
}
