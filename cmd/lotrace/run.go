package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/lotrace/lotrace/internal/human"
	"github.com/lotrace/lotrace/internal/suggest"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the job could not be done
	exitUsage  = 2 // the command line or the environment is wrong
)

// command is one word of the command line. Its constructor makes it anew for every run; the
// variables behind its flags live in the closures.
type command struct {
	name     string
	synopsis string          // one line, no full stop
	long     string          // what --help says beyond the synopsis; may be empty
	operands string          // as the usage line shows them; "" when there are none
	words    func() []string // what an operand may be, for completion; nil when that is open
	examples []string        // command lines, with a remark after two spaces or more
	groups   []flagGroup
	flags    func(*pflag.FlagSet)
	run      func(context.Context, *invocation) error
}

// commands is the registry, in the order of the overview.
func commands() []*command {
	return []*command{
		topCommand(),
		flowsCommand(),
		latCommand(),
		traceCommand(),
		captureCommand(),
		doctorCommand(),
		demoCommand(),
		versionCommand(),
		completionCommand(),
		helpCommand(),
	}
}

// invocation is what a command gets from the outside.
type invocation struct {
	flags  *pflag.FlagSet
	args   []string // operands
	env    map[string]string
	stdin  io.Reader
	stdout io.Writer // for one goroutine; failed writes may go unchecked, run reports them
	stderr io.Writer
	screen *os.File // stdout when it is a terminal, otherwise nil

	// elsewhere is called by a command whose result does not go to stdout, so that the end of the terminal there
	// does not end the command.
	elsewhere func()
}

// isSet reports whether the flag was given, on the command line or in the environment.
func (inv *invocation) isSet(flag string) bool { return inv.flags.Changed(flag) }

// width is that of the terminal behind stdout in columns, 0 when there is none.
func (inv *invocation) width() int {
	if inv.screen == nil {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(inv.screen.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// useColor decides by the value of --color and, for auto, by what the terminal can show.
func (inv *invocation) useColor(when string) bool {
	if when == "auto" {
		return inv.screen != nil && inv.env["NO_COLOR"] == "" && inv.env["TERM"] != "dumb"
	}
	return when == "always"
}

// usageError is a wrong command line or environment: exit code 2.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{msg: fmt.Sprintf(format, args...)}
}

// errNoCommand is answered with the overview.
var errNoCommand = errors.New("no command given")

// run executes one command line and returns the exit code. It ends early, in good order, when ctx
// does, when nobody reads stdout any more or when the terminal there hangs up.
func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &watchedWriter{w: stdout, failed: cancel}
	stderr = plainWriter{stderr}
	inv := &invocation{
		env:       environment(env),
		stdin:     stdin,
		stdout:    out,
		stderr:    stderr,
		screen:    terminal(stdout),
		elsewhere: func() {},
	}
	cmd, rest, err := choose(commands(), args)
	if err == nil {
		if inv.screen != nil {
			inv.elsewhere = inv.untilHangup(inv.screen, cancel)
		}
		defer inv.elsewhere()
		err = cmd.execute(ctx, rest, inv)
	}
	switch {
	case errors.Is(out.err, syscall.EPIPE): // as in "lotrace flows | head": the reader has enough
		return exitOK
	case out.err != nil && (err == nil || errors.Is(err, context.Canceled)):
		err = fmt.Errorf("write standard output: %w", out.err)
	}
	return report(stderr, cmd, err)
}

// report says on stderr what went wrong and returns the exit code for it.
func report(stderr io.Writer, cmd *command, err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errNoCommand):
		fmt.Fprint(stderr, overview())
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %v\nsee %s --help\n",
			strings.ReplaceAll(cmd.title(), " ", ": "), err, cmd.title())
		return exitUsage
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	}
	fmt.Fprintf(stderr, "%s: %v\n", strings.ReplaceAll(cmd.title(), " ", ": "), err)
	return exitFailed
}

// title is the command as one types it. A nil command is lotrace itself.
func (c *command) title() string {
	if c == nil || c.name == "" {
		return "lotrace"
	}
	return "lotrace " + c.name
}

// defaultCommand is what lotrace does without being told, where there is a screen for it.
const defaultCommand = "top"

// choose finds the command that args ask for, and what remains for it to parse. Flags may stand
// before the command, so the first word that is neither a flag nor a flag's value is the command. Flags
// without one are those of defaultCommand.
func choose(known []*command, args []string) (*command, []string, error) {
	root := rootCommand()
	all := newFlagSet(root)
	all.BoolP("help", "h", false, "")
	for _, c := range known {
		newFlagSet(c).VisitAll(func(f *pflag.Flag) {
			if all.Lookup(f.Name) == nil {
				all.AddFlag(f)
			}
		})
	}
	all.SetInterspersed(false)
	ofRoot := newFlagSet(root)
	rootOnly := true // also without any
	err := all.ParseAll(args, func(f *pflag.Flag, _ string) error {
		rootOnly = rootOnly && (f.Name == "help" || ofRoot.Lookup(f.Name) != nil)
		return nil
	})
	if err != nil {
		return root, nil, flagError(all, err)
	}
	at := len(args) - all.NArg()
	switch {
	case all.ArgsLenAtDash() >= 0, all.NArg() == 0 && rootOnly:
		return root, args, nil
	case all.NArg() == 0:
		return lookup(known, defaultCommand), args, nil
	}
	name := args[at]
	if c := lookup(known, name); c != nil {
		return c, append(args[:at:at], args[at+1:]...), nil
	}
	return root, nil, unknownCommand(known, name)
}

func lookup(known []*command, name string) *command {
	for _, c := range known {
		if c.name == name {
			return c
		}
	}
	return nil
}

func unknownCommand(known []*command, name string) error {
	return usagef("unknown command %q%s", name, didYouMean(name, commandNames(known)))
}

func commandNames(known []*command) []string {
	names := make([]string, 0, len(known))
	for _, c := range known {
		names = append(names, c.name)
	}
	return names
}

// didYouMean continues a message about a wrong word, or is "" when nothing known is near it.
func didYouMean(word string, known []string) string {
	if near := suggest.Nearest(word, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// execute parses args and runs the command, or prints its help.
func (c *command) execute(ctx context.Context, args []string, inv *invocation) error {
	fs := newFlagSet(c)
	err := fs.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		_, err := io.WriteString(inv.stdout, c.help())
		return err
	}
	if err != nil {
		return flagError(fs, err)
	}
	if err := setFromEnvironment(fs, inv.env); err != nil {
		return err
	}
	if c.operands == "" && fs.NArg() > 0 {
		return usagef("unexpected argument %q", fs.Arg(0))
	}
	inv.flags, inv.args = fs, fs.Args()
	return c.run(ctx, inv)
}

// rootCommand is lotrace without a command.
func rootCommand() *command {
	var version bool
	return &command{
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVar(&version, "version", false, "print the version")
		},
		run: func(ctx context.Context, inv *invocation) error {
			if version {
				return printVersion(inv.stdout, "table")
			}
			if inv.screen == nil {
				return errNoCommand
			}
			return lookup(commands(), defaultCommand).execute(ctx, nil, inv)
		},
	}
}

// environment makes a map of KEY=value strings.
func environment(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, kv := range env {
		if key, value, ok := strings.Cut(kv, "="); ok {
			m[key] = value
		}
	}
	return m
}

// terminal returns w if that is one, otherwise nil.
func terminal(w io.Writer) *os.File {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return nil
	}
	return f
}

// watchedWriter remembers the first write that failed and tells of it, so that a command ends soon
// after its reader has gone. It is for one goroutine.
type watchedWriter struct {
	w      io.Writer
	failed func()
	err    error
}

func (o *watchedWriter) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	if err != nil {
		o.err = err
		o.failed()
	}
	return n, err
}

// plainWriter is for messages. Some name what others have named, such as a device in their namespace, which
// is not to command the terminal.
type plainWriter struct{ w io.Writer }

func (o plainWriter) Write(p []byte) (int, error) {
	lines := strings.Split(string(p), "\n")
	for i, line := range lines {
		lines[i] = human.Plain(line)
	}
	if _, err := io.WriteString(o.w, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}
