package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/export"
)

// These are the values that the common flags can have, in all commands together. The first is
// the default, unless the flag says otherwise.
var (
	outputFormats = []string{"table", "wide", "json", "jsonl", "csv", "markdown"}
	views         = []string{"pair", "service", "flow", "process", "cgroup"}
	hooks         = []string{"auto", "tcx", "clsact", "xdp"}
	colors        = []string{"auto", "always", "never"}
)

// limitUnset is --limit when nobody has set it: rowLimit then goes by the output format.
const limitUnset = -1

// The functions below each register one common flag, so that it has one name, one meaning and one
// help text wherever it appears. They set *dst to the default.

// outputFlag registers --output with the formats that the command has, the default first.
func outputFlag(fs *pflag.FlagSet, dst *string, formats ...string) {
	v := &enumValue{dst: dst, arg: "FORMAT", values: formats, elsewhere: outputFormats}
	v.register(fs, "output", "o", "")
}

// byFlag registers --by with the views that the command has. The default is "", which export takes
// for what suits the output format.
func byFlag(fs *pflag.FlagSet, dst *string, has ...string) {
	v := &enumValue{dst: dst, arg: "WHAT", values: has, elsewhere: views}
	*dst = ""
	fs.VarP(v, "by", "b", "a row per "+oneOf(has)+" (default pair; json, csv: flow)")
}

// sortFlag registers --sort with the fields that rows can be sorted by, the default first. A value
// may begin with "-" for the reverse order. Help names only the first few, or it would be no screen.
func sortFlag(fs *pflag.FlagSet, dst *string, fields ...string) {
	v := &enumValue{dst: dst, arg: "FIELD", values: fields, reversible: true}
	*dst = fields[0]
	named := oneOf(fields)
	if few := 2; len(fields) > few {
		named = fmt.Sprintf("%s and %d more", strings.Join(fields[:few], ", "), len(fields)-few)
	}
	fs.VarP(v, "sort", "s", named+", or -FIELD")
}

// limitFlag registers --limit; rowLimit says what its value means.
func limitFlag(fs *pflag.FlagSet, dst *int) {
	intVar(fs, dst, "limit", "n", limitUnset, 0, math.MaxInt32,
		"at most `N` rows, 0 for all (default 20; json, csv: all)")
	fs.Lookup("limit").DefValue = "" // said in the text
}

// rowLimit is how many rows to print in the format, 0 for all.
func rowLimit(limit int, format string) int {
	if limit != limitUnset {
		return limit
	}
	return export.DefaultLimit(format)
}

// durationFlag registers --duration, zero or more; usage says what goes on for so long.
func durationFlag(fs *pflag.FlagSet, dst *time.Duration, def time.Duration, usage string) {
	*dst = def
	fs.VarP(&durationValue{dst: dst, zero: true}, "duration", "d", usage)
}

func intervalFlag(fs *pflag.FlagSet, dst *time.Duration, def time.Duration) {
	durationVar(fs, dst, "interval", "i", def, "time between two readings")
}

// durationVar registers a flag that takes a duration above zero. A default of zero stands for not
// given.
func durationVar(fs *pflag.FlagSet, dst *time.Duration, name, short string, def time.Duration, usage string) {
	*dst = def
	fs.VarP(&durationValue{dst: dst}, name, short, usage)
	if def == 0 {
		fs.Lookup(name).DefValue = ""
	}
}

func filterFlag(fs *pflag.FlagSet, dst *string) {
	fs.StringVarP(dst, "filter", "f", "", "count what matches `EXPR`, as 'port:5432 proto:tcp'")
}

func netnsFlag(fs *pflag.FlagSet, dst *string) {
	fs.StringVar(dst, "netns", "self", "network namespace `NAME`, path or pid")
}

func hookFlag(fs *pflag.FlagSet, dst *string) {
	v := &enumValue{dst: dst, arg: "HOOK", values: hooks}
	v.register(fs, "hook", "", "where to count: ")
}

func maxFlowsFlag(fs *pflag.FlagSet, dst *int, def, least, most int) {
	intVar(fs, dst, "max-flows", "", def, least, most, "hold at most `N` flows at once")
}

func colorFlag(fs *pflag.FlagSet, dst *string) {
	v := &enumValue{dst: dst, arg: "WHEN", values: colors}
	v.register(fs, "color", "", "use colour: ")
}

func quietFlag(fs *pflag.FlagSet, dst *bool) {
	fs.BoolVarP(dst, "quiet", "q", false, "say nothing on stderr unless it fails")
}

func verboseFlag(fs *pflag.FlagSet, dst *bool) {
	fs.BoolVarP(dst, "verbose", "v", false, "say more on stderr")
}

// intVar registers a flag that takes a whole number from least to most.
func intVar(fs *pflag.FlagSet, dst *int, name, short string, def, least, most int, usage string) {
	*dst = def
	fs.VarP(&intValue{dst: dst, min: least, max: most}, name, short, usage)
}

// enumValue is a flag with a fixed set of values.
type enumValue struct {
	dst        *string
	arg        string // what help calls the value
	values     []string
	elsewhere  []string // what the flag of this name can be in other commands
	reversible bool     // "-value" is good, too
}

func (v *enumValue) register(fs *pflag.FlagSet, name, short, usage string) {
	*v.dst = v.values[0]
	fs.VarP(v, name, short, usage+oneOf(v.values))
}

func (v *enumValue) String() string { return *v.dst }
func (v *enumValue) Type() string   { return v.arg }

func (v *enumValue) Set(s string) error {
	word := s
	if v.reversible {
		word = strings.TrimPrefix(s, "-")
	}
	if err := checkWord(word, v.values); err != nil {
		return err
	}
	*v.dst = s
	return nil
}

// enumListValue is a flag that takes several of a fixed set of values, separated by commas.
type enumListValue struct {
	dst    *[]string
	values []string
}

func (v *enumListValue) String() string { return strings.Join(*v.dst, ",") }
func (v *enumListValue) Type() string   { return "LIST" }

func (v *enumListValue) Set(s string) error {
	words := strings.Split(s, ",")
	for _, w := range words {
		if err := checkWord(w, v.values); err != nil {
			return err
		}
	}
	*v.dst = words
	return nil
}

func checkWord(word string, allowed []string) error {
	if slices.Contains(allowed, word) {
		return nil
	}
	return fmt.Errorf("want %s%s", oneOf(allowed), didYouMean(word, allowed))
}

// oneOf writes words as a sentence does: "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// intValue is a whole number between min and max.
type intValue struct {
	dst      *int
	min, max int
}

func (v *intValue) String() string { return strconv.Itoa(*v.dst) }
func (v *intValue) Type() string   { return "N" }

func (v *intValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("want a whole number from %d to %d", v.min, v.max)
	}
	*v.dst = n
	return nil
}

// durationValue is a duration in Go's notation, or in seconds when it is a bare number.
type durationValue struct {
	dst  *time.Duration
	zero bool // is good, too
}

func (v *durationValue) String() string { return v.dst.String() }
func (v *durationValue) Type() string   { return "D" }

func (v *durationValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if seconds, numErr := strconv.ParseFloat(s, 64); numErr == nil {
		// Beyond the range of a Duration the conversion is undefined; the test also fails for NaN.
		if !(math.Abs(seconds) < math.MaxInt64/float64(time.Second)) {
			return errors.New("want less than 292 years")
		}
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	switch {
	case err != nil:
		return errors.New("want a duration, as 500ms, 10s or 2m; a bare number means seconds")
	case d < 0:
		return errors.New("want no less than zero")
	case d == 0 && !v.zero:
		return errors.New("want more than zero")
	}
	*v.dst = d
	return nil
}

// newFlagSet returns the command's flags at their defaults.
func newFlagSet(c *command) *pflag.FlagSet {
	fs := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {} // help is execute's to print
	if c.flags != nil {
		c.flags(fs)
	}
	return fs
}

// envName is the environment variable that sets the flag.
func envName(flag string) string {
	return "LOTRACE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// setFromEnvironment sets the flags that the command line has not. An empty variable counts as
// unset.
func setFromEnvironment(fs *pflag.FlagSet, env map[string]string) error {
	var first error
	fs.VisitAll(func(f *pflag.Flag) {
		value := env[envName(f.Name)]
		// --version is a question, not a setting, and its variable likely somebody's own.
		if first != nil || f.Changed || value == "" || f.Name == "version" {
			return
		}
		// The environment speaks to all commands at once: LOTRACE_OUTPUT=wide is no reason for
		// "lotrace version", which has no such format, to refuse.
		if v, ok := f.Value.(*enumValue); ok && slices.Contains(v.elsewhere, value) &&
			!slices.Contains(v.values, value) {
			return
		}
		if err := fs.Set(f.Name, value); err != nil {
			first = usagef("invalid %s=%s: %s", envName(f.Name), value, reason(f, err))
		}
	})
	return first
}

// flagError turns what pflag says about a command line into a usage error.
func flagError(fs *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var bare *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		if unknown.GetSpecifiedShortnames() != "" {
			return usagef("unknown flag -%s", unknown.GetSpecifiedName())
		}
		name := unknown.GetSpecifiedName()
		return usagef("unknown flag --%s%s", name, didYouMean("--"+name, longFlags(fs)))
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return usagef("invalid --%s %q: %s", f.Name, invalid.GetValue(), reason(f, err))
	case errors.As(err, &bare):
		return usagef("--%s needs a value", bare.GetFlag().Name)
	}
	return usagef("%v", err)
}

// reason is why the flag did not take a value.
func reason(f *pflag.Flag, err error) string {
	if f.Value.Type() == "bool" {
		return "want true or false"
	}
	if cause := errors.Unwrap(err); cause != nil {
		return cause.Error()
	}
	return err.Error()
}

func longFlags(fs *pflag.FlagSet) []string {
	names := []string{"--help"}
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return names
}
