package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// helpWidth is the width help is wrapped to: that of the smallest usual terminal.
const helpWidth = 80

func helpCommand() *command {
	return &command{
		name:     "help",
		synopsis: "explain a command",
		operands: "[COMMAND]",
		words:    func() []string { return commandNames(commands()) },
		examples: []string{"lotrace help flows"},
		run: func(_ context.Context, inv *invocation) error {
			text, err := helpFor(inv.args)
			if err != nil {
				return err
			}
			_, err = io.WriteString(inv.stdout, text)
			return err
		},
	}
}

func helpFor(words []string) (string, error) {
	switch len(words) {
	case 0:
		return overview(), nil
	case 1:
		known := commands()
		if c := lookup(known, words[0]); c != nil {
			return c.help(), nil
		}
		return "", unknownCommand(known, words[0])
	}
	return "", usagef("unexpected argument %q", words[1])
}

// overview is the help for lotrace as a whole.
func overview() string {
	var b strings.Builder
	b.WriteString("lotrace shows what the services on this machine say to each other over lo.\n\n" +
		"Usage: lotrace [COMMAND] [flags]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-12s%s\n", c.name, c.synopsis)
	}
	b.WriteString(`
Examples:
  sudo lotrace                   what goes on, live
  lotrace doctor                 can it work here, and if not, what helps
  sudo lotrace flows -d 10       who talked to whom within ten seconds
  lotrace demo -d 60 &           something to look at on an idle machine

"lotrace help COMMAND" says more. Every long flag can be set in the environment,
as in LOTRACE_MAX_FLOWS=1000 for --max-flows 1000; the command line goes first.
`)
	return b.String()
}

// help is one screen about the command.
func (c *command) help() string {
	if c.name == "" {
		return overview()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s - %s\n\nUsage: %s", c.title(), c.synopsis, c.title())
	flags := newFlagSet(c)
	if flags.HasFlags() {
		b.WriteString(" [flags]")
	}
	if c.operands != "" {
		b.WriteString(" " + c.operands)
	}
	b.WriteString("\n")
	if c.long != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(c.long))
	}
	writeFlags(&b, flags, c.groups)
	if len(c.examples) > 0 {
		fmt.Fprintf(&b, "\nExamples:\n  %s\n", strings.Join(c.examples, "\n  "))
	}
	return b.String()
}

// flagGroup is flags that help only lists, behind a few words.
type flagGroup struct {
	words string
	flags []string
}

func writeFlags(w io.Writer, fs *pflag.FlagSet, groups []flagGroup) {
	if !fs.HasFlags() {
		return
	}
	var listed strings.Builder
	for _, g := range groups {
		line := "  " + g.words + ":"
		for i, name := range g.flags {
			f := fs.Lookup(name)
			f.Hidden = true
			if i > 0 {
				line += ","
			}
			word := " " + flagWord(f)
			if len(line)+len(word) >= helpWidth {
				listed.WriteString(line + "\n")
				line = "   "
			}
			line += word
		}
		listed.WriteString(line + "\n")
	}
	fmt.Fprintf(w, "\nFlags:\n%s%s", fs.FlagUsagesWrapped(helpWidth), &listed)
}

// flagWord is a flag with what it takes.
func flagWord(f *pflag.Flag) string {
	word := "--" + f.Name
	if f.Shorthand != "" {
		word = "-" + f.Shorthand + "/" + word
	}
	if arg, _ := pflag.UnquoteUsage(f); arg != "" {
		word += " " + arg
	}
	return word
}
