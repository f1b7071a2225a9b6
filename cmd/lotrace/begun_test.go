package main

import (
	"bufio"
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lotrace/lotrace/internal/export"
	"github.com/lotrace/lotrace/internal/hook"
	"github.com/lotrace/lotrace/internal/live"
	"github.com/lotrace/lotrace/internal/loader"
	"github.com/lotrace/lotrace/internal/reading"
	"github.com/lotrace/lotrace/internal/testkit"
	"github.com/lotrace/lotrace/internal/trace"
)

// A run that fails before it counts says nothing of what it counted.
func TestNothingIsSaidOfNothing(t *testing.T) {
	testkit.RequireRoot(t)
	var stdout, stderr bytes.Buffer
	inv := &invocation{stdout: &stdout, stderr: &stderr}
	out := bufio.NewWriter(&stdout)
	for name, run := range map[string]func(*live.Session) error{
		"capture": func(s *live.Session) error { return new(captureOptions).capture(t.Context(), inv, s) },
		"trace": func(s *live.Session) error {
			encoder, err := export.NewTrace("table", export.TraceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return new(traceOptions).follow(t.Context(), s, out, encoder, time.Now())
		},
	} {
		s, err := live.Open(live.Config{
			Kernel:  loader.Config{Netns: testkit.NewNetns(t).Path(), Hook: hook.TCX, MaxFlows: loader.MinFlows},
			Rights:  live.Rights{KeepAll: true},
			Turns:   &trace.Config{},
			Packets: live.Packets{SampleConfig: reading.SampleConfig{Policies: reading.SampleAll}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := run(s); err == nil || s.HasBegun() || stdout.Len()+stderr.Len() > 0 {
			t.Errorf("%s: %v; wrote %q, said %q", name, err, &stdout, &stderr)
		}
	}
}

// The head of lines comes once counting has begun, and what this takes has been given up.
func TestTraceBeginsWithCounting(t *testing.T) {
	ns := testkit.NewNetns(t)
	l := prepare(t, "trace", "-d", "100ms")
	l.Stdout = l.Stderr
	l.start(ns)
	if code, text := l.end(), l.stderr.String(); code != exitOK || !strings.HasPrefix(text, "lotrace: counting") ||
		!strings.Contains(text, "REQUEST") {
		t.Errorf("exit code %d, in this order:\n%s", code, text)
	}
}

// A head that cannot be written ends the run, and is said once.
func TestTraceOutputIsFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	ns := testkit.NewNetns(t)
	l := prepare(t, "trace")
	l.Stdout = full
	l.start(ns)
	if code, text := l.end(), l.stderr.String(); code != exitFailed || strings.Count(text, "no space left") != 1 {
		t.Errorf("exit code %d: %s", code, text)
	}
}
