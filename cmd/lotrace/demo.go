package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/lotrace/lotrace/internal/demo"
)

func demoCommand() *command {
	cfg := demo.Config{Kinds: demo.Kinds()}
	var output string
	var quiet bool
	return &command{
		name:     "demo",
		synopsis: "make bounded local traffic, to see the tool on an idle machine",
		long: `
Runs servers on 127.0.0.1 and ::1, each on a free port, and clients that call
them: HTTP, a TCP echo that takes its time (echo), one-way TCP (bulk), a new TCP
connection per request (connect), UDP, and TCP over IPv6 (ipv6). The rate is
shared evenly; connect stops at 200 a second. At the end stdout says what was
sent: bytes are those above TCP and UDP, both ways together.`,
		examples: []string{
			"lotrace demo -d 60 & sudo lotrace flows -d 5",
			"lotrace demo --kinds echo,udp --rate 2000",
		},
		flags: func(fs *pflag.FlagSet) {
			durationVar(fs, &cfg.Duration, "duration", "d", 30*time.Second, "how long")
			intVar(fs, &cfg.Rate, "rate", "", 200, 1, demo.MaxRate, "about `N` requests per second in all")
			fs.Var(&enumListValue{dst: &cfg.Kinds, values: demo.Kinds()}, "kinds", "what to make")
			outputFlag(fs, &output, "table", "json")
			quietFlag(fs, &quiet)
		},
		run: func(ctx context.Context, inv *invocation) error {
			if !quiet {
				cfg.Notice = func(msg string) { fmt.Fprintf(inv.stderr, "lotrace: demo: %s\n", msg) }
			}
			report, err := demo.Run(ctx, cfg)
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(inv.stdout, demoDocument(report))
			}
			return writeDemoLine(inv.stdout, report)
		},
	}
}

func writeDemoLine(w io.Writer, r demo.Report) error {
	var total demo.Traffic
	var kinds []string
	for _, t := range r.Traffic {
		total.Requests += t.Requests
		total.Sent += t.Sent
		total.Received += t.Received
		kind := fmt.Sprintf("%s %d requests %d bytes", t.Kind, t.Requests, t.Sent+t.Received)
		if t.Failed > 0 {
			kind += fmt.Sprintf(" %d failed", t.Failed)
		}
		kinds = append(kinds, kind)
	}
	_, err := fmt.Fprintf(w, "%d requests, %d bytes in %s: %s\n", total.Requests,
		total.Sent+total.Received, r.Duration.Round(time.Millisecond), strings.Join(kinds, ", "))
	return err
}

type demoJSON struct {
	Schema     string    `json:"schema"`
	Kind       string    `json:"kind"`
	DurationNS int64     `json:"duration_ns"`
	Rows       []demoRow `json:"rows"`
}

type demoRow struct {
	Kind     string `json:"kind"`
	Addr     string `json:"addr"`
	Port     uint16 `json:"port"`
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
	Sent     uint64 `json:"sent_bytes"`
	Received uint64 `json:"received_bytes"`
}

func demoDocument(r demo.Report) demoJSON {
	doc := demoJSON{Schema: "lotrace/v1", Kind: "demo", DurationNS: r.Duration.Nanoseconds()}
	for _, t := range r.Traffic {
		doc.Rows = append(doc.Rows, demoRow{
			Kind:     t.Kind,
			Addr:     t.Server.Addr().String(),
			Port:     t.Server.Port(),
			Requests: t.Requests,
			Failed:   t.Failed,
			Sent:     t.Sent,
			Received: t.Received,
		})
	}
	return doc
}
