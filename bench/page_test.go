package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tables of the page are made from results, not by hand.
func TestPageIsMadeFromResults(t *testing.T) {
	page, err := os.ReadFile("../" + pagePath)
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(resultsDir + `/[^)]+`).FindString(block.FindString(string(page)))
	report, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	want, err := withBlock(string(page), path, string(report))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(page)); diff != "" {
		t.Errorf("go run ./bench -page %s (-made +found):\n%s", path, diff)
	}
}

// wantBlock is what the page has of the tables of TestPageBlock.
const wantBlock = `
Goals, and how they are met:

| of | what |
| --- | --- |
| this | that |

How much slower services are while somebody watches; beside nothing is the noise:

| beside | ping-pong | wrk |
| --- | --- | --- |
| nothing | 0.0 % | 0.1 % |
| lotrace | 1.5 % |  |

Nanoseconds per packet, above an empty program, by the number of flows that live:

| walk | 10 | 100,000 |
| --- | --- | --- |
| round | 90 | 120 |

The same, to the reference on the same walk:

| walk | 10 | 100,000 |
| --- | --- | --- |
| round | 0.50 | 0.80 |

` + "`lotrace flows --watch 1s`" + ` itself:

| what there is | CPU | memory |
| --- | --- | --- |
| 1,000 flows | 1.2 % | 50 MB |
| 50,000 connections/s (made: 20,000 connections/s) | 80.0 % | 300 MB |
<!-- bench:end -->
below
`

func TestPageBlock(t *testing.T) {
	us := watcher{name: everything, args: []string{"lotrace"}, ours: true}
	tables := []table{
		{title: goalsTitle, head: []string{"of", "what"}, rows: [][]string{{"this", "that"}}},
		lossTable([]loss{
			{workload: workloads[0], watcher: nobody, slower: spread{-0.04, -1, 1}},
			{workload: workloads[1], watcher: nobody, slower: spread{0.1, -1, 1}},
			{workload: workloads[0], watcher: us, slower: spread{1.52, 1, 2}},
		}),
		growthTable([]growth{{
			walk: walk{name: "round"}, flows: []int{10, 100_000},
			run: make([]spread, 2), above: []spread{{90, 80, 99}, {120, 110, 130}}, reference: make([]spread, 2),
			ratio: []spread{{0.5, 0.4, 0.6}, {0.8, 0.7, 0.9}},
		}}),
		watchingTable([]watched{
			{what: "1,000 flows", made: "990 packets/s", all: 1.25, rss: 50e6},
			{what: "50,000 connections/s", made: "20,000 connections/s", all: 80, rss: 300e6},
		}),
	}
	var text strings.Builder
	if err := (report{tables: tables}).print(&text, true); err != nil {
		t.Fatal(err)
	}
	page := "above\n<!-- bench:begin: x -->\nold\n<!-- bench:end -->\nbelow\n"
	got, err := withBlock(page, resultsDir+"/x.md", text.String())
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ = strings.Cut(got, "(../bench/results/x.md)).\n")
	if diff := cmp.Diff(wantBlock, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := withBlock("no block", "x", text.String()); err == nil {
		t.Error("a page without a block is written")
	}
	if _, err := withBlock(page, "x", "no results"); err == nil {
		t.Error("a block is made of nothing")
	}
}
