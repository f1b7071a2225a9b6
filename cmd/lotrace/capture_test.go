package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/pcapng"
	"github.com/lotrace/lotrace/internal/reading"
)

// The text of a value parses as the same value.
func TestCaptureFlagValues(t *testing.T) {
	var oneIn uint32
	var room int
	var size int64
	var sample reading.SampleConfig
	var rotation pcapng.Rotation
	for name, flag := range map[string]struct {
		value pflag.Value
		good  []string
		bad   []string
	}{
		"one in": {&oneInValue{&oneIn}, []string{"1/1", "1/4294967295"}, []string{"", "1", "2/3", "1/0", "1/-1", "1/4294967296", "1/x"}},
		"size":   {&sizeValue{&size}, []string{"1", "64KiB", "1.5MB", "100GB"}, []string{"", "0", "-1", "x", "10EiB", "9000000000000000000"}},
		"budget": {&budgetValue{&sample}, []string{"1000", "1000/s", "10MB/s", "5/s,1KiB/s", "1KiB/s,5"}, []string{"", "0", "/s", "10MB", "x/s", "1,,2", "4294967296/s"}},
		"room":   {&roomValue{&room}, []string{"1", "4096", "64MiB", "2GiB", "2097152"}, []string{"", "0", "-1", "1000B", "2097153", "3GiB", "x"}},
		"keep":   {&keepValue{&rotation}, []string{"1", "10", "1MB", "2GiB"}, []string{"", "0", "-1", "999kB", "x"}},
	} {
		for _, text := range flag.good {
			if err := flag.value.Set(text); err != nil {
				t.Errorf("%s %q: %v", name, text, err)
				continue
			}
			said := flag.value.String()
			if err := flag.value.Set(said); err != nil || flag.value.String() != said {
				t.Errorf("%s %q: says %q, and then %q: %v", name, text, said, flag.value, err)
			}
		}
		for _, text := range flag.bad {
			before := flag.value.String()
			if err := flag.value.Set(text); err == nil || flag.value.String() != before {
				t.Errorf("%s %q: error %v, value %q", name, text, err, flag.value)
			}
		}
	}
}

func TestCaptureChoosesSamples(t *testing.T) {
	for args, want := range map[string]reading.SampleConfig{
		"":                           {Policies: reading.SampleAll, Snaplen: lineSnaplen, Buffer: 16 << 20, Ahead: 16 << 20},
		"-w x":                       {Policies: reading.SampleAll, Buffer: 64 << 20, Ahead: 64 << 20},
		"-w x --snaplen 96":          {Policies: reading.SampleAll, Snaplen: 96, Buffer: 16 << 20, Ahead: 16 << 20},
		"-w x --snaplen 65535":       {Policies: reading.SampleAll, Snaplen: 65535, Buffer: 64 << 20, Ahead: 64 << 20},
		"-w x --snaplen 96 -B 3000":  {Policies: reading.SampleAll, Snaplen: 96, Buffer: 1 << 20, Ahead: 3000<<10 - 1<<20},
		"-w x -B 1GiB":               {Policies: reading.SampleAll, Buffer: 512 << 20, Ahead: 512 << 20},
		"--heads --errors":           {Policies: reading.SampleHeads | reading.SampleErrors, Snaplen: lineSnaplen, Buffer: 4 << 20, Ahead: 4 << 20},
		"--sample 1/100 --first 3":   {Policies: reading.SampleRandom | reading.SampleFirst, OneIn: 100, First: 3, Snaplen: lineSnaplen, Buffer: 4 << 20, Ahead: 4 << 20},
		"--flows 1/7 --snaplen 10":   {Policies: reading.SampleFlows, OneIn: 7, Snaplen: 10, Buffer: 4 << 20, Ahead: 4 << 20},
		"--budget 5/s,1MB/s --heads": {Policies: reading.SampleHeads, PerSecond: 5, BytesPerSecond: 1e6, Snaplen: lineSnaplen, Buffer: 4 << 20, Ahead: 4 << 20},
	} {
		var o captureOptions
		fs := newFlagSet(&command{flags: o.register})
		if err := fs.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		o.choose()
		if diff := cmp.Diff(want, o.sample); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}

// Rarer flags take a line together, within the width of a screen.
func TestFlagGroups(t *testing.T) {
	c := &command{
		name: "test",
		groups: []flagGroup{
			{"Others", []string{"one", "two", "three", "four"}},
		},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolP("alone", "a", false, "is explained")
			fs.BoolP("one", "o", false, "x")
			for _, name := range []string{"two", "three", "four"} {
				fs.String(name, "", "takes a `VALUEOFSOMELENGTH`")
			}
		},
	}
	_, flags, _ := strings.Cut(c.help(), "Flags:\n")
	want := `  -a, --alone   is explained
  Others: -o/--one, --two VALUEOFSOMELENGTH, --three VALUEOFSOMELENGTH,
    --four VALUEOFSOMELENGTH
`
	if flags != want {
		t.Errorf("got\n%swant\n%s", flags, want)
	}
}
